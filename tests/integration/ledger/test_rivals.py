"""Several processes on one Postgres: lanes, fences, locks, and commits whose answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.faults import AFTER_COMMIT, BEFORE_COMMIT
from hushnet.coordinator.ledger.model import (
    Already,
    AlreadyOther,
    Busy,
    Closed,
    Code,
    Fact,
    Held,
    Insufficient,
    Leg,
    Phase,
    Posted,
)
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.store import UnavailableError
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.ids import AccountId
from support.ledger import CONSUMER, MINUTE_MS, PROVIDER, OpenLedger, open_ledger, post
from support.postgres import fresh_database


@pytest.fixture
def url() -> Iterator[str]:
    with fresh_database() as url:
        yield url


class Trouble:
    """A fault hook that raises an error at the next pass of a point, or lets the server kill our connection."""

    def __init__(self) -> None:
        self.point = ""

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.point = ""
            raise UnavailableError("the answer was lost")


async def kill_connections(database: Database) -> None:
    """Have the server end every connection of a ledger's writer."""
    statement = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hushnet-ledger'")
    await database.write(lambda connection: connection.execute(statement) and None)


@pytest.mark.parametrize("point", [BEFORE_COMMIT, AFTER_COMMIT])
async def test_an_unknown_commit_is_resolved_by_resubmitting(url: str, point: str) -> None:
    trouble = Trouble()
    async with open_ledger(url, reach=trouble) as books:
        await books.give(CONSUMER, promo=100)
        trouble.point = point
        hold, held = await books.held(60)
        trouble.point = point
        closed = await books.ledger.close(post(hold, held, 25))

        assert closed == (Closed(25) if point == BEFORE_COMMIT else Already(25))
        assert (await books.ledger.balance(CONSUMER)).spendable == 75
        assert await books.findings() == []


async def test_a_connection_that_the_server_ended_is_replaced(url: str) -> None:
    async with open_ledger(url) as books:
        await books.give(CONSUMER, promo=100)
        assert books.database is not None
        await kill_connections(books.database)

        _, outcome = await books.hold(60)

        assert outcome == Held(60, 0, 0)
        assert await books.findings() == []


async def test_processes_have_lanes_of_their_own_and_one_given_back_is_taken_again(url: str) -> None:
    async with open_ledger(url) as first, open_ledger(url) as second:
        assert (first.ledger.lane, second.ledger.lane) == (0, 1)
        await first.give(CONSUMER, promo=10)
        await second.give(CONSUMER, promo=10)
        assert await first.findings() == []
    async with open_ledger(url) as third:
        assert third.ledger.lane == 0
        await third.give(CONSUMER, promo=10)
        assert (await third.ledger.balance(CONSUMER)).promo == 30
        assert await third.findings() == []


async def test_a_stolen_lane_is_fenced(url: str) -> None:
    clock = ManualClock()
    async with open_ledger(url, clock=clock) as sleeper:
        await sleeper.give(CONSUMER, promo=100)
        hold, held = await sleeper.held(60)
        late = sleeper.new_hold(1)
        leg = Leg(operator_account(Kind.PROMO_EXPENSE), user_account(CONSUMER, Kind.PROMO), 1)
        fact = Fact("test:late", Code.ADJUSTMENT, (leg,), actor="test", id=sleeper.ledger.next_request_id())
        clock.advance(91)  # its lease ended a minute ago while it slept
        async with open_ledger(url, clock=clock) as thief:
            assert thief.ledger.lane == sleeper.ledger.lane
            await thief.give(CONSUMER, promo=1)

            assert await sleeper.ledger.hold(late) == Busy()
            assert await sleeper.ledger.close(post(hold, held, 25)) == AlreadyOther(Phase.EXPIRED, 0)
            assert await sleeper.ledger.fact(fact) == Posted()

            assert thief.ledger.lane != sleeper.ledger.lane
            assert isinstance((await sleeper.hold(1, owner=PROVIDER))[1], Insufficient)
            assert (await thief.ledger.balance(CONSUMER)).spendable == 102
            assert await thief.findings() == []


async def test_a_lapsed_lease_that_nobody_took_is_still_ours(url: str) -> None:
    async with open_ledger(url) as books:
        await books.give(CONSUMER, promo=100)
        hold, held = await books.held(60)
        await books.advance(80)

        assert await books.ledger.sweep() == 0
        assert await books.ledger.close(post(hold, held, 25)) == Closed(25)
        assert await books.findings() == []


async def test_holds_of_the_living_are_left_alone_and_of_the_dead_finalised_once(url: str) -> None:
    clock = ManualClock()
    async with open_ledger(url, clock=clock) as living, open_ledger(url, clock=clock) as dead:
        await living.give(CONSUMER, promo=100)
        mine, theirs = await living.held(10), await dead.held(10)
        clock.advance(91)
        await living.ledger.renew()

        assert await living.ledger.sweep() == 1

        assert await dead.ledger.close(post(*theirs, 5)) == AlreadyOther(Phase.EXPIRED, 0)
        assert await living.ledger.close(post(*mine, 5)) == Closed(5)
        assert await living.findings() == []


async def test_two_closers_of_one_hold_in_two_processes_finalise_once(url: str) -> None:
    async with open_ledger(url) as first, open_ledger(url) as second:
        await first.give(CONSUMER, promo=1000)
        pairs = [await first.held(10) for _ in range(20)]

        outcomes = await asyncio.gather(
            *(first.ledger.close(post(hold, held, 5)) for hold, held in pairs),
            *(second.ledger.close(post(hold, held, 6)) for hold, held in pairs),
        )

        assert sum(isinstance(outcome, Closed) for outcome in outcomes) == len(pairs)
        assert sum(isinstance(outcome, AlreadyOther) for outcome in outcomes) == len(pairs)
        assert await first.findings() == []


async def test_eight_writers_on_one_account_never_deadlock(url: str) -> None:
    providers = [AccountId(80_000 + n) for n in range(3)]

    async def work(books: OpenLedger, number: int) -> int:
        refused = 0
        for turn in range(6):
            holds = [books.new_hold(10) for _ in range(10)]
            parts = await asyncio.gather(*map(books.ledger.hold, holds))
            pairs = [(hold, held) for hold, held in zip(holds, parts, strict=True) if isinstance(held, Held)]
            refused += sum(isinstance(held, Insufficient) for held in parts)
            closed = await asyncio.gather(
                *(
                    books.ledger.close(post(hold, held, 4, 1, provider=providers[(n + turn + number) % 3]))
                    for n, (hold, held) in enumerate(pairs)
                )
            )
            assert closed == [Closed(5)] * len(pairs)
        return refused

    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(open_ledger(url)) for _ in range(8)]
        await writers[0].give(CONSUMER, promo=1500)

        refused = await asyncio.gather(*(work(books, number) for number, books in enumerate(writers)))

        assert (await writers[0].ledger.balance(CONSUMER)).promo == 1500 - 5 * (480 - sum(refused))
        assert await writers[0].findings() == []


async def test_a_process_whose_clock_is_wrong_does_not_start_and_leaves_no_lane_taken(url: str) -> None:
    database = await Database.open(url)
    try:
        with pytest.raises(ConfigurationError, match="clock"):
            await Ledger.open(open_ledger_store(database), ManualClock(), settings=LedgerSettings())
    finally:
        await database.aclose()
    async with open_ledger(url, clock=ManualClock(1_700_000_000_000 + MINUTE_MS)) as books:
        assert books.ledger.lane == 0
