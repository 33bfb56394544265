"""Closed days on both databases: complete, repeatable, equal to a recomputation from nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection, text

from hushnet.coordinator.ledger.books.closing import closed, gather, last_due
from hushnet.coordinator.ledger.books.days import DAY_MS, DayBalance, DayRow, day_of, day_text, parse_day
from hushnet.coordinator.ledger.books.keeper import ASKING_MAX, BookKeeper, BookKeys
from hushnet.coordinator.ledger.books.liabilities import day_secret, tree_of
from hushnet.coordinator.ledger.books.published import proof_document
from hushnet.coordinator.ledger.books.recomputing import recomputed
from hushnet.coordinator.ledger.chart import SPENDABLE, Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Held
from hushnet.coordinator.storage.books import days
from hushnet.coordinator.storage.books.days import SqlDayStore
from hushnet.coordinator.storage.books.keys import KEY_FILE, MASTER_FILE, load_book_keys
from hushnet.coordinator.storage.database import Database
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import CapacityError, ConfigurationError, RequestError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret
from hushnet.identity.keys import IdentityKey
from hushnet.sdk.proofs import verify_proof, verify_root
from support.ledger import CONSUMER, PROVIDER, OpenLedger, database_url, expire, open_ledger, post, void

DAY = 20_400
KEYS = BookKeys(IdentityKey.generate(), Secret("ab" * 32))
OWNERS = [AccountId(CONSUMER + index) for index in range(4)]


@pytest.fixture(params=["sqlite", "postgresql"])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenLedger]:
    """A ledger that opens two hours into a day; its accounts are empty."""
    with database_url(request.param, tmp_path) as url:
        async with open_ledger(url, clock=ManualClock(DAY * DAY_MS + 7_200_000)) as opened:
            yield opened
            assert await opened.findings() == []


def keeper_of(books: OpenLedger, keys: BookKeys = KEYS) -> BookKeeper:
    assert books.database is not None
    return BookKeeper(SqlDayStore(books.database), keys, books.clock, network="net")


def store_of(books: OpenLedger) -> SqlDayStore:
    assert books.database is not None
    return SqlDayStore(books.database)


async def trade(books: OpenLedger, random_: random.Random, *, requests: int) -> list[tuple[object, Held]]:
    """Settle some requests, void and expire others, leave the rest open; return these."""
    left = []
    for _ in range(requests):
        hold, parts = await books.held(random_.randrange(1, 50), owner=random_.choice(OWNERS))
        match random_.randrange(4):
            case 0:
                await books.ledger.close(post(hold, parts, 1 + (parts.total - 1) // 2))
            case 1:
                await books.ledger.close(void(hold, parts))
            case 2:
                await books.ledger.close(expire(hold, parts))
            case _:
                left.append((hold, parts))
    return left


async def stored(books: OpenLedger) -> list[tuple[DayRow, list[DayBalance]]]:
    """Return every closed day with its balances."""
    store = store_of(books)
    newest = await store.day(None)
    assert newest is not None
    first = day_of(DAY * DAY_MS)
    found = [await store.day(day) for day in range(first, newest.day + 1)]
    rows = [day for day in found if day is not None]
    assert len(rows) == len(found)
    return [(row, await store.inspect_days(lambda view, day=row.day: list(view.balances(day)))) for row in rows]


async def next_day(books: OpenLedger, *, days: int = 1, seconds: int = 600) -> None:
    """Go to some minutes after the midnight that is `days` ahead."""
    now_ms = books.clock.now_ms()
    await books.advance(((day_of(now_ms) + days) * DAY_MS - now_ms) / 1000 + seconds)


@pytest.mark.parametrize("seed", range(3))
async def test_day_close_equals_full_recomputation(books: OpenLedger, seed: int) -> None:
    random_ = random.Random(seed)
    keeper = keeper_of(books)
    for owner in OWNERS:
        await books.give(owner, promo=random_.randrange(1000), paid=20_000)
    left: list[tuple[object, Held]] = []
    for _ in range(4):
        still = [item for item in left if random_.random() < 0.5]
        for hold, parts in still:
            await books.ledger.close(post(hold, parts, parts.total))  # type: ignore[arg-type] - a hold
        left = [item for item in left if item not in still] + await trade(books, random_, requests=40)
        await next_day(books)
        await trade(books, random_, requests=5)
        await keeper.close_due()
    found = await stored(books)
    assert [row.findings for row, _ in found] == [()] * 4
    again = await books.store.inspect(lambda view: list(recomputed([row for row, _ in found], view.transfers())))
    assert again == found
    for row, balances in found:
        assert row.root == tree_of(balances, day_secret(bytes.fromhex("ab" * 32), row.day)).root.hash
        assert sum(each.balance for each in balances) == 0
        assert row.liabilities == sum(each.balance for each in balances if each.account >= 1 << 20)


async def test_a_day_ends_at_its_midnight_and_the_next_request_is_not_in_it(books: OpenLedger) -> None:
    keeper = keeper_of(books)
    await books.give(CONSUMER, paid=100)
    hold, parts = await books.held(60)
    await next_day(books)
    await books.ledger.close(post(hold, parts, 50))
    (row,) = await keeper.close_due()
    assert await store_of(books).balances_of(row.day, CONSUMER) == [
        DayBalance(user_account(CONSUMER, Kind.PAID), 100, 0, 60)
    ]
    assert row.oldest_open == hold.id
    await next_day(books)
    (after,) = await keeper.close_due()
    assert await store_of(books).balances_of(after.day, CONSUMER) == [
        DayBalance(user_account(CONSUMER, Kind.PAID), 100, 50, 0)
    ]
    assert after.oldest_open is None


async def test_a_day_is_closed_once_and_not_before_five_past_midnight(books: OpenLedger) -> None:
    keeper = keeper_of(books)
    await books.give(CONSUMER, paid=100)
    assert await keeper.close_due() == []
    await next_day(books, seconds=299)
    assert await keeper.close_due() == []
    await books.advance(1)
    rows = await asyncio.gather(keeper.close_due(), keeper_of(books).close_due())
    assert sorted(len(each) for each in rows) == [0, 1]
    before = await store_of(books).day(None)
    assert await keeper.close_due() == []
    assert await store_of(books).day(None) == before


async def test_missed_days_are_closed_as_they_were(books: OpenLedger) -> None:
    keeper = keeper_of(books)
    await books.give(CONSUMER, paid=1000)
    late = keeper_of(books)
    first = await store_of(books).inspect_days(lambda view: gather(view, now_ms=books.clock.now_ms() + DAY_MS))
    assert first is not None
    expected, _ = closed(first, secret=KEYS.secret_of(first.day), at_ms=0)
    for amount in (10, 20, 30):
        await next_day(books)
        await books.ledger.close(post(*await books.held(amount), amount))
    rows = await late.close_due()
    assert [row.day for row in rows] == [DAY, DAY + 1, DAY + 2]
    assert replace(rows[0], at_ms=0) == expected
    paid = user_account(CONSUMER, Kind.PAID)
    closing = [(await store_of(books).balances_of(row.day, CONSUMER))[0].balance for row in rows]
    assert closing == [1000, 990, 970]
    assert (await store_of(books).balances_of(DAY + 2, CONSUMER))[0].account == paid
    assert await keeper.close_due() == []


class Dying:
    """A database whose writer dies at a write, having committed those before it."""

    def __init__(self, database: Database, *, at: int) -> None:
        self._database = database
        self._left = at
        self.dialect = database.dialect
        self.read = database.read

    async def write(self, work: Callable[[Connection], bool]) -> bool:
        self._left -= 1
        if self._left == 0:
            raise _Killed
        return await self._database.write(work)


class _Killed(BaseException):
    """The process is gone."""


async def test_a_day_that_was_written_by_half_is_no_day_and_is_closed_whole(
    books: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days, "_ROWS_AT_ONCE", 2)
    assert books.database is not None
    for owner in OWNERS:
        await books.give(owner, promo=3, paid=100)
    await next_day(books)
    gathered = await store_of(books).inspect_days(lambda view: gather(view, now_ms=books.clock.now_ms()))
    assert gathered is not None
    expected, whole = closed(gathered, secret=KEYS.secret_of(DAY), at_ms=books.clock.now_ms())
    deaths = 0
    for at in range(1, 20):
        dying = SqlDayStore(cast(Database, Dying(books.database, at=at)))
        keeper = BookKeeper(dying, KEYS, books.clock, network="net")
        try:
            made = await keeper.close_due()
        except _Killed:
            deaths += 1
            assert await store_of(books).day(None) is None
            with pytest.raises(RequestError):
                await keeper_of(books).root()
        else:
            break
    assert deaths == (6 if books.database.dialect == "sqlite" else 1)
    ((row, balances),) = await stored(books)
    assert (made, row, balances) == ([row], expected, whole)
    assert row.findings == ()


async def test_what_an_earlier_try_left_of_a_day_is_written_over(books: OpenLedger) -> None:
    assert books.database is not None
    await books.give(CONSUMER, paid=100)
    await next_day(books)
    if books.database.dialect == "sqlite":  # where a day is written in parts
        left = "INSERT INTO ledger_day_balances VALUES (:day, :account, 1, 0, 0)"
        values = {"day": DAY, "account": user_account(CONSUMER, Kind.PAID)}
        await books.database.write(lambda connection: connection.execute(text(left), values))
    (row,) = await keeper_of(books).close_due()
    assert row.findings == ()
    assert await store_of(books).balances_of(DAY, CONSUMER) == [
        DayBalance(user_account(CONSUMER, Kind.PAID), 100, 0, 0)
    ]


async def test_requests_are_taken_while_a_day_is_being_written(
    books: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days, "_ROWS_AT_ONCE", 2)
    assert books.database is not None
    for owner in OWNERS:
        await books.give(owner, paid=100)
    await next_day(books)
    store, database = store_of(books), books.database
    held: list[Held] = []

    class Between:
        """Takes a request before each write."""

        dialect, read = database.dialect, database.read

        async def write(self, work: Callable[[Connection], bool]) -> bool:
            held.append((await books.held(1))[1])
            assert await store.day(None) is None
            return await database.write(work)

    keeper = BookKeeper(SqlDayStore(cast(Database, Between())), KEYS, books.clock, network="net")
    (row,) = await keeper.close_due()
    assert row.findings == ()
    assert len(held) == (4 if database.dialect == "sqlite" else 1)
    await next_day(books)
    (after,) = await keeper_of(books).close_due()
    assert after.findings == ()


async def test_empty_books_have_no_days(books: OpenLedger) -> None:
    await next_day(books, days=3)
    keeper = keeper_of(books)
    assert await keeper.close_due() == []
    with pytest.raises(RequestError) as raised:
        await keeper.root()
    assert raised.value.error_code == "day_not_closed"


async def test_an_account_that_its_transfers_do_not_explain_is_a_finding_of_the_day(books: OpenLedger) -> None:
    assert books.database is not None
    await books.give(CONSUMER, paid=100)
    change = text("UPDATE ledger_accounts SET credits = credits + :more WHERE id = :id")
    paid = user_account(CONSUMER, Kind.PAID)
    await books.database.write(lambda c: c.execute(change, {"more": 7, "id": paid}) and None)
    await next_day(books)
    (row,) = await keeper_of(books).close_due()
    assert len(row.findings) == 1
    assert f"account {paid}" in row.findings[0]
    await books.database.write(lambda c: c.execute(change, {"more": -7, "id": paid}) and None)


async def test_an_owner_finds_its_part_in_the_published_root(books: OpenLedger) -> None:
    keeper = keeper_of(books)
    for owner in OWNERS:
        await books.give(owner, promo=5, paid=owner - CONSUMER + 1)
    await books.ledger.close(post(*await books.held(6), 6))
    await next_day(books)
    await keeper.close_due()
    says = verify_root(await keeper.root(), public_key=KEYS.identity.public_key.hex())
    assert says["day"] == day_text(DAY)
    assert parse_day(says["day"]) == DAY
    assert says["sum"] == 4 * 5 + (1 + 2 + 3 + 4)
    row = await keeper.day(DAY)
    proved = {}
    for owner in (*OWNERS, PROVIDER, AccountId(99_999)):
        for proof in await keeper.proofs(row, owner):
            proved[owner, proof.asset] = verify_proof(proof_document(proof), owner=owner, root=says)
    assert sum(proved.values()) == says["sum"]
    assert len(proved) == says["leaves"]
    assert proved[PROVIDER, "USD"] == 6
    with pytest.raises(ConfigurationError, match="secret"):
        await keeper_of(books, replace(KEYS, master=Secret("cd" * 32))).proofs(row, CONSUMER)


async def test_those_who_ask_for_proofs_wait_in_a_queue_of_bounded_length(books: OpenLedger) -> None:
    keeper = keeper_of(books)
    await books.give(CONSUMER, paid=5)
    await next_day(books)
    (row,) = await keeper.close_due()
    asked = [keeper.proofs(row, CONSUMER) for _ in range(ASKING_MAX + 3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, CapacityError)]
    assert len(refused) == 3
    assert all(error.error_code == "busy" for error in refused)
    assert len(await keeper.proofs(row, CONSUMER)) == 1


def test_the_two_files_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    made = load_book_keys(tmp_path)
    again = load_book_keys(tmp_path)
    assert made.identity.public_key == again.identity.public_key
    assert made.secret_of(DAY) == again.secret_of(DAY) != made.secret_of(DAY + 1)
    for name in (KEY_FILE, MASTER_FILE):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert made.master.reveal() not in repr(made)
    (tmp_path / MASTER_FILE).chmod(0o640)
    with pytest.raises(ConfigurationError, match="others"):
        load_book_keys(tmp_path)


def test_a_day_is_due_five_minutes_after_its_end() -> None:
    assert last_due(DAY * DAY_MS + 299_999) == DAY - 2
    assert last_due(DAY * DAY_MS + 300_000) == DAY - 1


def test_the_operators_accounts_are_no_liabilities() -> None:
    assert user_account(CONSUMER, SPENDABLE[0]) > 1 << 20 > operator_account(Kind.UNCLAIMED, 255)
