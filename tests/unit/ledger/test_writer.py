"""What the writer does when the store cannot: again, one by one, on another lane, later, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from hushnet.coordinator.ledger.books.check import check
from hushnet.coordinator.ledger.faults import AFTER_COMMIT, BEFORE_COMMIT
from hushnet.coordinator.ledger.model import Busy, Closed, Held, Posted
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.store import ContentionError, Lease, Reads, Snapshot, UnavailableError, Writes
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import ConfigurationError, StorageError
from support.ledger import CONSUMER, PROVIDER, SETTINGS, OpenLedger, post
from support.ledger_memory import MemoryLedgerStore


class TroubledStore(MemoryLedgerStore):
    """A store whose next commits raise what the script says, at the point it says."""

    def __init__(self) -> None:
        super().__init__(self._stumble)
        self.script: list[tuple[str, StorageError]] = []
        self.is_silent = False
        self.was_silent = asyncio.Event()

    async def transact(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        if self.is_silent:
            self.was_silent.set()
            raise UnavailableError("gone")
        await super().transact(reads, decide)

    def _stumble(self, point: str) -> None:
        if self.script and self.script[0][0] == point:
            raise self.script.pop(0)[1]


class Stage:
    """A ledger on a troubled store."""

    def __init__(self, store: TroubledStore, ledger: Ledger, clock: ManualClock) -> None:
        self.store = store
        self.ledger = ledger
        self.clock = clock
        self.books = OpenLedger(ledger, store, None, clock)


@pytest.fixture
async def stage() -> Stage:
    store, clock = TroubledStore(), ManualClock()
    stage = Stage(store, await Ledger.open(store, clock, settings=SETTINGS), clock)
    await stage.books.give(CONSUMER, promo=1000)
    return stage


async def settle_down(stage: Stage) -> None:
    await stage.ledger.aclose()
    assert await check(stage.store) == []


async def test_contention_is_planned_again(stage: Stage) -> None:
    stage.store.script = [(BEFORE_COMMIT, ContentionError("rival"))] * 2

    _, outcome = await stage.books.hold(10)

    assert outcome == Held(10, 0, 0)
    await settle_down(stage)


async def test_contention_that_does_not_end_fails_the_operation_and_no_other(stage: Stage) -> None:
    stage.store.script = [(BEFORE_COMMIT, ContentionError("rival"))] * 3

    with pytest.raises(StorageError) as caught:
        await stage.books.hold(10)

    assert caught.value.error_code == "ledger_contention"
    assert caught.value.is_retryable
    _, outcome = await stage.books.hold(10)
    assert outcome == Held(10, 0, 0)
    await settle_down(stage)


async def test_an_unknown_commit_is_resolved_by_resubmitting(stage: Stage) -> None:
    stage.store.script = [(AFTER_COMMIT, UnavailableError("lost")), (BEFORE_COMMIT, UnavailableError("lost"))]
    holds = [stage.books.new_hold(10) for _ in range(3)]

    outcomes = await asyncio.gather(*map(stage.ledger.hold, holds))

    assert outcomes == [Held(10, 0, 0)] * 3
    assert (await stage.ledger.balance(CONSUMER)).held == 30
    await settle_down(stage)


async def test_an_unknown_close_that_had_been_committed_is_told_so(stage: Stage) -> None:
    hold, held = await stage.books.held(10)
    stage.store.script = [(AFTER_COMMIT, UnavailableError("lost"))]

    outcome = await stage.ledger.close(post(hold, held, 7))

    assert outcome.posted == 7  # type: ignore[union-attr]
    assert (await stage.ledger.balance(PROVIDER)).earnings == 7
    await settle_down(stage)


async def test_while_the_database_is_gone_nothing_is_held_and_afterwards_all_goes_on(stage: Stage) -> None:
    stage.store.is_silent = True
    in_flight = asyncio.create_task(stage.ledger.hold(stage.books.new_hold(10)))
    await stage.store.was_silent.wait()
    assert (await stage.books.hold(1))[1] == Busy()

    stage.store.is_silent = False

    assert await in_flight == Held(10, 0, 0)
    assert (await stage.books.hold(1))[1] == Held(1, 0, 0)
    await settle_down(stage)


async def test_what_is_queued_when_the_database_goes_is_busy(stage: Stage) -> None:
    stage.store.is_silent = True
    first, *others = [asyncio.create_task(stage.ledger.hold(stage.books.new_hold(1))) for _ in range(300)]
    await stage.store.was_silent.wait()
    stage.store.is_silent = False

    outcomes = await asyncio.gather(first, *others)

    assert outcomes == [Held(1, 0, 0)] * SETTINGS.batch_max + [Busy()] * (300 - SETTINGS.batch_max)
    await settle_down(stage)


async def test_an_outage_too_long_fails_what_was_in_flight_and_the_next_renewal_ends_it(stage: Stage) -> None:
    stage.store.is_silent = True
    in_flight = asyncio.create_task(stage.ledger.hold(stage.books.new_hold(10)))
    await stage.store.was_silent.wait()
    stage.clock.advance(SETTINGS.outage_s_max + 1)

    with pytest.raises(StorageError) as caught:
        await in_flight
    assert caught.value.error_code == "ledger_unavailable"
    assert (await stage.books.hold(1))[1] == Busy()

    stage.store.is_silent = False
    await stage.ledger.renew()

    assert (await stage.books.hold(1))[1] == Held(1, 0, 0)
    await settle_down(stage)


async def test_a_stolen_lane_is_fenced(stage: Stage) -> None:
    hold, held = await stage.books.held(10)
    thief = await stage.store.claim_lane(now_ms=stage.clock.now_ms(), lease_ms=30_000)

    outcome = await stage.ledger.close(post(hold, held, 7))

    # The chain went on under a new claim; nothing was written under the old one.
    assert outcome == Closed(7)
    assert stage.store.lanes[0][0] > thief.origin
    await settle_down(stage)


async def test_a_lane_found_stolen_by_the_renewal_is_replaced_before_holds_are_taken(stage: Stage) -> None:
    await stage.store.claim_lane(now_ms=stage.clock.now_ms(), lease_ms=30_000)
    await stage.ledger.renew()
    assert (await stage.books.hold(1))[1] == Busy()
    for _ in range(5):
        await asyncio.sleep(0)

    assert (await stage.books.hold(1))[1] == Held(1, 0, 0)
    await settle_down(stage)


async def test_a_full_queue_is_busy_and_a_settlement_tries_again() -> None:
    store, clock = TroubledStore(), ManualClock()
    ledger = await Ledger.open(store, clock, settings=replace(SETTINGS, queue_max=2))
    books = OpenLedger(ledger, store, None, clock)
    await books.give(CONSUMER, promo=1000)
    hold, held = await books.held(10)

    *holds, closed = await asyncio.gather(
        *(ledger.hold(books.new_hold(1)) for _ in range(3)), ledger.close(post(hold, held, 5))
    )

    assert holds == [Held(1, 0, 0), Held(1, 0, 0), Busy()]
    assert closed == Closed(5)
    await ledger.aclose()
    assert await check(store) == []


async def test_closing_commits_what_is_queued_and_takes_nothing_more(stage: Stage) -> None:
    grants = [
        asyncio.create_task(stage.ledger.grant_promo(PROVIDER, 1, grant_id=f"g{n}", actor="test")) for n in range(5)
    ]
    await asyncio.sleep(0)

    await settle_down(stage)

    assert [await grant for grant in grants] == [Posted()] * 5
    assert (await stage.books.hold(1))[1] == Busy()


async def test_a_process_whose_clock_is_wrong_does_not_start() -> None:
    class WrongClockStore(MemoryLedgerStore):
        async def claim_lane(self, *, now_ms: int, lease_ms: int) -> Lease:
            return replace(await super().claim_lane(now_ms=now_ms, lease_ms=lease_ms), database_ms=now_ms + 5001)

    with pytest.raises(ConfigurationError, match="clock"):
        await Ledger.open(WrongClockStore(), ManualClock(), settings=LedgerSettings())


async def test_a_clock_that_goes_wrong_lets_the_lease_run_out() -> None:
    class DriftingStore(MemoryLedgerStore):
        async def claim_lane(self, *, now_ms: int, lease_ms: int) -> Lease:
            return replace(await super().claim_lane(now_ms=now_ms, lease_ms=lease_ms), lease_ms=now_ms + lease_ms)

        async def renew_lane(self, lease: Lease, *, until_ms: int) -> Lease | None:
            renewed = await super().renew_lane(lease, until_ms=until_ms)
            return renewed and replace(renewed, lease_ms=until_ms, database_ms=0)

    clock = ManualClock()
    ledger = await Ledger.open(DriftingStore(), clock, settings=LedgerSettings())
    books = OpenLedger(ledger, ledger._store, None, clock)
    await books.give(CONSUMER, promo=10)
    hold = books.new_hold(1)
    clock.advance(31)
    await ledger.renew()

    assert await ledger.hold(hold) == Busy()
    await ledger.aclose()
