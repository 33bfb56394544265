"""A request waits for its own hold: not for closes, not for a settlement that is stuck, not for one that is poison."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from hushnet.coordinator.ledger.check import check
from hushnet.coordinator.ledger.model import Busy, Closed, Held, LedgerSettings
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.store import Reads, Snapshot, Writes
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import StorageError
from support.exchange import until
from support.ledger import CONSUMER, SETTINGS, OpenLedger, post
from support.ledger_memory import MemoryLedgerStore

NEVER = replace(SETTINGS, close_wait_s=3600.0)


class GatedStore(MemoryLedgerStore):
    """A store whose commits wait until a test lets them through; it knows what was in each, and can find one poisonous."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Reads] = []
        self.poison = 0
        self.tries_with_poison = 0
        self._gate = asyncio.Event()
        self._gate.set()

    def shut(self) -> None:
        self._gate.clear()

    def batch_of(self, id_: int, *, times: int = 1) -> int:
        """Return the number, from 1, of the batch that had this id for the `times`-th time; 0 when none had."""
        found = [number for number, reads in enumerate(self.asked, 1) if id_ in reads.ids]
        return found[times - 1] if len(found) >= times else 0

    def let_through(self) -> None:
        self._gate.set()

    async def transact(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        self.asked.append(reads)
        await self._gate.wait()
        if self.poison in reads.ids:
            self.tries_with_poison += 1
            raise StorageError("the driver will not have it")
        await super().transact(reads, decide)


class Stage:
    def __init__(self, store: GatedStore, ledger: Ledger, clock: ManualClock) -> None:
        self.store = store
        self.ledger = ledger
        self.books = OpenLedger(ledger, store, None, clock)

    async def holds(self, count: int) -> list[asyncio.Task[object]]:
        """Hold so often, and return what will close each, not started."""
        held = [await self.books.held(1) for _ in range(count)]
        return [asyncio.create_task(self.ledger.close(post(hold, parts, 1))) for hold, parts in held]


async def opened(settings: LedgerSettings) -> Stage:
    store, clock = GatedStore(), ManualClock()
    stage = Stage(store, await Ledger.open(store, clock, settings=settings), clock)
    await stage.books.give(CONSUMER, promo=100_000)
    return stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = await opened(replace(SETTINGS, batch_max=16))
    yield stage
    stage.store.let_through()
    await stage.ledger.aclose()
    assert await check(stage.store) == []


async def test_a_hold_goes_with_the_batch_after_the_one_in_flight_whatever_waits_before_it(stage: Stage) -> None:
    parts = [await stage.books.held(1) for _ in range(200)]
    first, late = stage.books.new_hold(1), stage.books.new_hold(1)
    stage.store.shut()
    in_flight = asyncio.create_task(stage.ledger.hold(first))
    await until(lambda: stage.store.batch_of(first.id))
    closes = [asyncio.create_task(stage.ledger.close(post(hold, held, 1))) for hold, held in parts]
    await asyncio.sleep(0)
    holding = asyncio.create_task(stage.ledger.hold(late))
    await asyncio.sleep(0)
    stage.store.let_through()

    assert await asyncio.gather(in_flight, holding) == [Held(1, 0, 0)] * 2
    assert await asyncio.gather(*closes) == [Closed(1)] * 200
    assert stage.store.batch_of(late.id) == stage.store.batch_of(first.id) + 1


async def test_a_flood_of_holds_does_not_starve_closes(stage: Stage) -> None:
    hold, held = await stage.books.held(1)
    first, *others = [stage.books.new_hold(1) for _ in range(301)]
    stage.store.shut()
    tasks = [asyncio.create_task(stage.ledger.hold(first))]
    await until(lambda: stage.store.batch_of(first.id))
    tasks += [asyncio.create_task(stage.ledger.hold(each)) for each in others[:100]]
    await asyncio.sleep(0)
    closing = asyncio.create_task(stage.ledger.close(post(hold, held, 1)))
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(stage.ledger.hold(each)) for each in others[100:]]
    await asyncio.sleep(0)
    stage.store.let_through()

    assert await closing == Closed(1)
    await asyncio.gather(*tasks)
    # Nobody who came after it and is not in one of the batches that its elders fill goes before it.
    closed_in = stage.store.batch_of(hold.id, times=2)
    assert closed_in <= stage.store.batch_of(first.id) + 100 // 4 + 1
    assert closed_in < stage.store.batch_of(others[-1].id)


async def test_poison_is_found_by_halves_and_delays_no_hold_by_more_than_one_of_them(stage: Stage) -> None:
    parts = [await stage.books.held(1) for _ in range(16)]
    stage.store.poison = parts[5][0].id
    stage.store.shut()
    closes = [asyncio.create_task(stage.ledger.close(post(hold, held, 1))) for hold, held in parts]
    await until(lambda: len(stage.store.asked[-1].ids) == 16)
    refused = len(stage.store.asked)
    late = stage.books.new_hold(1)
    holding = asyncio.create_task(stage.ledger.hold(late))
    await asyncio.sleep(0)
    stage.store.let_through()

    assert await holding == Held(1, 0, 0)
    assert stage.store.batch_of(late.id) <= refused + 2
    outcomes = await asyncio.gather(*closes, return_exceptions=True)

    assert [outcome for n, outcome in enumerate(outcomes) if n != 5] == [Closed(1)] * 15
    assert isinstance(outcomes[5], StorageError)
    assert stage.store.tries_with_poison == 5  # 16, 8, 4, 2, 1
    stage.store.poison = 0
    assert await stage.ledger.close(post(*parts[5], 1)) == Closed(1)


async def test_a_hold_that_overtook_the_close_that_frees_its_money_is_not_refused() -> None:
    stage = await opened(replace(SETTINGS, batch_max=4))
    parts = [await stage.books.held(10_000) for _ in range(10)]
    stage.store.shut()
    first = asyncio.create_task(stage.ledger.close(post(*parts[0], 1)))
    await until(lambda: stage.store.asked[-1].ids == (parts[0][0].id,))
    closes = [asyncio.create_task(stage.ledger.close(post(hold, held, 1))) for hold, held in parts[1:]]
    await asyncio.sleep(0)
    # The last close alone frees enough for it.
    holding = asyncio.create_task(stage.ledger.hold(stage.books.new_hold(95_000)))
    await asyncio.sleep(0)

    stage.store.let_through()

    assert await holding == Held(95_000, 0, 0)
    assert await asyncio.gather(first, *closes) == [Closed(1)] * 10
    await stage.ledger.aclose()


async def test_a_close_waits_a_moment_for_a_hold_to_go_with() -> None:
    stage = await opened(NEVER)
    (closing,) = await stage.holds(1)
    await asyncio.sleep(0)
    committed = len(stage.store.asked)

    hold, outcome = await stage.books.hold(1)

    assert outcome == Held(1, 0, 0)
    assert await closing == Closed(1)
    assert len(stage.store.asked) == committed + 1
    assert hold.id in stage.store.asked[-1].ids
    await stage.ledger.aclose()


async def test_a_close_without_company_goes_alone(stage: Stage) -> None:
    (closing,) = await stage.holds(1)

    assert await asyncio.wait_for(closing, 60) == Closed(1)


async def test_closing_the_ledger_commits_the_closes_that_wait() -> None:
    stage = await opened(NEVER)
    (closing,) = await stage.holds(1)
    await asyncio.sleep(0)

    await stage.ledger.aclose()

    assert await closing == Closed(1)
    assert await check(stage.store) == []


class UnsyncedStore(GatedStore):
    """A store whose commits last only after a `persist`, which waits for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.persist = self.sync
        self.syncs = 0
        self.disk = asyncio.Event()

    async def sync(self) -> None:
        self.syncs += 1
        await self.disk.wait()


async def test_closes_of_many_batches_wait_for_the_disk_together_and_holds_for_none(stage: Stage) -> None:
    store, clock = UnsyncedStore(), ManualClock()
    stage = Stage(store, await Ledger.open(store, clock, settings=replace(SETTINGS, queue_max=8)), clock)
    giving = asyncio.create_task(stage.books.give(CONSUMER, promo=1000))
    await until(lambda: store.syncs == 1)
    store.disk.set()
    await giving
    held = [await stage.books.held(1) for _ in range(8)]
    store.disk.clear()
    closes = []
    for hold, parts in held:
        closes.append(asyncio.create_task(stage.ledger.close(post(hold, parts, 1))))
        await until(lambda: hold.id not in store.holds)  # noqa: B023 - committed, each in a batch of its own
    assert not any(close.done() for close in closes)
    assert isinstance((await stage.books.hold(1))[1], Busy)  # what waits for the disk counts as queued

    store.disk.set()
    assert await asyncio.gather(*closes) == [Closed(1)] * 8
    assert store.syncs == 3  # of the first, and of all that were committed while it waited
    await stage.books.held(1)
    await stage.ledger.aclose()


async def test_a_ledger_that_closes_answers_what_waits_for_the_disk(stage: Stage) -> None:
    store, clock = UnsyncedStore(), ManualClock()
    store.disk.set()
    stage = Stage(store, await Ledger.open(store, clock, settings=SETTINGS), clock)
    await stage.books.give(CONSUMER, promo=1000)
    hold, parts = await stage.books.held(1)
    store.disk.clear()
    closing = asyncio.create_task(stage.ledger.close(post(hold, parts, 1)))
    await until(lambda: hold.id not in store.holds)
    ending = asyncio.create_task(stage.ledger.aclose())
    await asyncio.sleep(0)
    assert not ending.done()
    store.disk.set()
    await ending
    assert await closing == Closed(1)
