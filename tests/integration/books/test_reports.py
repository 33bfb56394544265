"""What owners read of the books, on both databases: complete, bounded, and equal to what was posted."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from hushnet.coordinator.ledger.books.days import DAY_MS, day_of
from hushnet.coordinator.ledger.books.keeper import BookKeeper, BookKeys
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.ids import ID_MAX
from hushnet.coordinator.ledger.model import Code, Fact, Leg, UsageRecord
from hushnet.coordinator.ledger.reports.model import BUCKETS, Part, Scope, Side
from hushnet.coordinator.ledger.reports.statement import StatementMovedError, statement_csv, usd
from hushnet.coordinator.storage.books.days import SqlDayStore
from hushnet.coordinator.storage.books.reports import SqlReportStore, page_of
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, RequestId
from hushnet.foundation.redaction import Secret
from hushnet.identity.keys import IdentityKey
from support.ledger import CONSUMER, KEY, MODEL, PROVIDER, OpenLedger, database_url, open_ledger, post, usage, void

DAY = 20_400
OTHER = AccountId(CONSUMER + 1)


@pytest.fixture(params=["sqlite", "postgresql"])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenLedger]:
    """A ledger that opens two hours into a day."""
    with database_url(request.param, tmp_path) as url:
        async with open_ledger(url, clock=ManualClock(DAY * DAY_MS + 7_200_000)) as opened:
            yield opened


def store_of(books: OpenLedger) -> SqlReportStore:
    assert books.database is not None
    return SqlReportStore(books.database)


async def settle(books: OpenLedger, *amounts: int, owner: AccountId = CONSUMER, model: str = MODEL) -> UsageRecord:
    """Settle one request and return its record."""
    hold, parts = await books.held(sum(amounts) + 1, owner=owner)
    close = post(hold, parts, *amounts)
    await books.ledger.close(structs.replace(close, usage=structs.replace(close.usage, model=ModelId(model))))
    record = await books.ledger.usage_record(hold.id)
    assert record is not None
    return record


def free_record(books: OpenLedger, owner: AccountId) -> UsageRecord:
    id_ = books.ledger.next_request_id()
    return UsageRecord(id_, owner, usage(), 0, 0, 0, 0, 0, books.clock.now_ms())


async def pages(store: SqlReportStore, scope: Scope, *, limit: int) -> list[list[RequestId]]:
    found: list[list[RequestId]] = []
    before = ID_MAX
    while page := await store.usage(scope, before=before, limit=limit):
        found.append([record.id for record in page])
        before = page[-1].id
    return found


async def test_usage_is_paged_from_the_database_only(books: OpenLedger) -> None:
    assert books.database is not None
    mine = [free_record(books, CONSUMER) for _ in range(230)]
    others = [free_record(books, OTHER) for _ in range(20)]
    for record in mine + others:  # behind the ledger's back: nothing in memory has seen them
        await books.put_usage(record)
    found = await pages(store_of(books), Scope(CONSUMER), limit=100)
    assert [len(page) for page in found] == [100, 100, 30]
    assert [id_ for page in found for id_ in page] == [record.id for record in reversed(mine)]
    await books.drop_usage(mine[0].id)
    assert await pages(store_of(books), Scope(CONSUMER), limit=300) == [[record.id for record in reversed(mine[1:])]]


async def test_filters_and_sums_agree_with_the_rows(books: OpenLedger) -> None:
    store = store_of(books)
    await books.give(CONSUMER, paid=10_000)
    await books.give(OTHER, paid=10_000)
    records = []
    for day in range(3):
        for amount in range(1, 5):
            records.append(await settle(books, amount, 1, model=f"model-{amount % 2}"))
            await settle(books, 50, owner=OTHER)
        if day < 2:
            await books.advance(DAY_MS / 1000)
    whole = Scope(CONSUMER)
    (total,) = await store.groups(whole, (), limit=1)
    assert (total.requests, total.amount) == (len(records), sum(record.cost for record in records))
    by_both = await store.groups(whole, (Part.DAY, Part.MODEL), limit=100)
    expected = Counter[tuple[int | str, ...]]()
    for record in records:
        expected[day_of(record.at_ms), record.usage.model] += record.cost
    assert {group.parts: group.amount for group in by_both} == expected
    assert [group.parts for group in by_both] == sorted(expected)
    for scope in (
        replace(whole, model=ModelId("model-1")),
        replace(whole, from_ms=(DAY + 1) * DAY_MS, to_ms=(DAY + 2) * DAY_MS),
        replace(whole, from_ms=records[5].at_ms, to_ms=records[5].at_ms + 1),
        replace(whole, key=KEY),
        replace(whole, key=ApiKeyId(KEY + 1)),
    ):
        wanted = [
            record
            for record in records
            if scope.from_ms <= record.at_ms < scope.to_ms
            and scope.model in (None, record.usage.model)
            and scope.key in (None, record.usage.api_key)
        ]
        got = await store.usage(scope, before=ID_MAX, limit=100)
        assert [record.id for record in reversed(got)] == [record.id for record in wanted]
        sums = await store.groups(scope, (), limit=1)
        assert [group.amount for group in sums] == ([sum(record.cost for record in wanted)] if wanted else [])
    assert len(await store.groups(whole, (Part.DAY,), limit=2)) == 2


async def test_earnings_show_what_was_earned(books: OpenLedger) -> None:
    store = store_of(books)
    await books.give(CONSUMER, paid=10_000)
    await settle(books, 70, 7, 3)
    await settle(books, 40, model="other")
    await books.ledger.close(void(*await books.held(20)))
    reward = Leg(operator_account(Kind.REWARD_EXPENSE), user_account(PROVIDER, Kind.EARNINGS), 25)
    await books.ledger.fact(Fact("reward:test", Code.ADJUSTMENT, (reward,), actor="test", owner=PROVIDER))
    moved = Leg(user_account(PROVIDER, Kind.EARNINGS), user_account(PROVIDER, Kind.IN_TRANSIT), 10)
    back = Leg(user_account(PROVIDER, Kind.IN_TRANSIT), user_account(PROVIDER, Kind.EARNINGS), 10)
    await books.ledger.fact(Fact("payout:1", Code.ADJUSTMENT, (moved,), actor="test", owner=PROVIDER))
    await books.ledger.fact(Fact("payout:1:back", Code.ADJUSTMENT, (back,), actor="test", owner=PROVIDER))
    scope = Scope(PROVIDER, Side.PROVIDER)
    (total,) = await store.groups(scope, (), limit=1)
    assert (total.requests, total.amount) == (3, 110)
    by_model = await store.groups(scope, (Part.MODEL,), limit=9)
    assert {group.parts: group.amount for group in by_model} == {(MODEL,): 70, ("other",): 40}
    (machine,) = await store.groups(scope, (Part.MACHINE, Part.DAY), limit=9)
    assert (machine.parts, machine.amount) == (("ab" * 32, DAY), 110)
    assert [each[1:] for each in await store.income(scope)] == [(DAY, 25)]
    assert (await books.ledger.balance(PROVIDER)).earnings == 110 + 25
    assert await store.groups(Scope(PROVIDER), (), limit=1) == []


async def test_a_request_tells_from_which_buckets_it_was_paid(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=30, paid=100)
    record = await settle(books, 35, 5)
    assert await store_of(books).spent_from(record.id) == {Kind.PROMO: 30, Kind.PAID: 10}


async def statement(books: OpenLedger, scope: Scope) -> list[dict[str, str]]:
    text = "".join([piece async for piece in statement_csv(store_of(books), scope)])
    return list(csv.DictReader(io.StringIO(text)))


def micros(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    dollars, decimals = text.removeprefix("-").split(".")
    assert len(decimals) == 6
    return sign * (int(dollars) * 1_000_000 + int(decimals))


@pytest.mark.parametrize("seed", range(2))
async def test_a_statement_adds_up_and_opens_with_the_closed_days_balance(books: OpenLedger, seed: int) -> None:
    assert books.database is not None
    random_ = random.Random(seed)
    keeper = BookKeeper(
        SqlDayStore(books.database), BookKeys(IdentityKey.generate(), Secret("ab" * 32)), books.clock, network="net"
    )
    for owner in (CONSUMER, OTHER, PROVIDER):
        await books.give(owner, promo=random_.randrange(1, 500), paid=9_000_000)
    for _ in range(4):
        left = [await books.held(7)]
        for _ in range(15):
            owner = random_.choice((CONSUMER, OTHER, PROVIDER))
            provider = random_.choice([each for each in (PROVIDER, CONSUMER) if each != owner])
            hold, parts = await books.held(random_.randrange(2, 100_000), owner=owner)
            amount = random_.randrange(1, parts.total)
            await books.ledger.close(post(hold, parts, amount, 1, provider=provider))
        await books.give(CONSUMER, earnings=random_.randrange(1, 99))
        await books.advance(DAY_MS / 1000)
        await books.ledger.close(post(*left[0], 3))
    await books.advance(600)
    await keeper.close_due()
    for owner in (CONSUMER, OTHER, PROVIDER):
        for first, last in ((DAY, DAY + 1), (DAY + 1, DAY + 1), (DAY + 1, DAY + 3), (DAY + 5, DAY + 6)):
            scope = Scope(owner, from_ms=first * DAY_MS, to_ms=(last + 1) * DAY_MS)
            lines = await statement(books, scope)
            assert (lines[0]["type"], lines[-1]["type"]) == ("opening balance", "closing balance")
            for kind in BUCKETS:
                column = [micros(line[kind.name.lower()]) for line in lines]
                assert sum(column[:-1]) == column[-1]
            for day, line in ((first - 1, lines[0]), (last, lines[-1])):
                closed = await SqlDayStore(books.database).balances_of(day, owner)
                if closed:
                    known = {Kind(row.account & 0xF): row.balance for row in closed}
                    assert {kind: micros(line[kind.name.lower()]) for kind in BUCKETS} == {
                        kind: known.get(kind, 0) for kind in BUCKETS
                    }
    everything = await statement(books, Scope(CONSUMER, from_ms=0, to_ms=books.clock.now_ms() + 1))
    assert {"request", "request served", "adjustment"} <= {line["type"] for line in everything}
    assert all(micros(everything[0][kind.name.lower()]) == 0 for kind in BUCKETS)
    balance = await books.ledger.balance(CONSUMER)
    assert micros(everything[-1]["earnings"]) == balance.earnings


async def test_a_statement_of_many_pages_repeats_nothing(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=1_000_000)
    records = [await settle(books, 1) for _ in range(23)]
    store = store_of(books)
    after: int | None = 0
    found = []
    while after is not None:
        page, after = await store.movements(Scope(CONSUMER), after=after, limit=5)
        found += page
    assert [each.reference for each in found][1:] == [str(record.id) for record in records]
    assert [each.fact for each in found] == sorted({each.fact for each in found})


async def test_a_statement_that_was_overtaken_does_not_close(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=100)
    pieces = statement_csv(store_of(books), Scope(CONSUMER, from_ms=0, to_ms=books.clock.now_ms() + 1))
    text = [await anext(pieces), await anext(pieces)]
    await settle(books, 5)
    with pytest.raises(StatementMovedError):
        await anext(pieces)
    assert "closing" not in "".join(text)


async def test_a_name_that_looks_like_a_formula_stays_a_name(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=100)
    await settle(books, 5, model="=1+1")
    lines = await statement(books, Scope(CONSUMER, from_ms=0, to_ms=books.clock.now_ms() + 1))
    assert lines[-2]["detail"] == "'=1+1"


@pytest.mark.parametrize("scope", [Scope(CONSUMER, from_ms=1), Scope(CONSUMER), Scope(PROVIDER, Side.PROVIDER)])
async def test_a_page_is_read_along_an_index(tmp_path: Path, scope: Scope) -> None:
    statement = page_of(scope, before=ID_MAX, limit=9).compile(compile_kwargs={"literal_binds": True})
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as books:
        assert books.database is not None
        explain = f"EXPLAIN QUERY PLAN {statement}"
        plan = await books.database.read(lambda connection: str(connection.exec_driver_sql(explain).all()))
    assert f"usage_{'owner' if scope.side is Side.CONSUMER else 'provider'}" in plan
    assert "TEMP B-TREE" not in plan


def test_dollars_have_six_decimals() -> None:
    assert [usd(amount) for amount in (0, 1, -1, 1_500_000, -2_000_001)] == [
        "0.000000",
        "0.000001",
        "-0.000001",
        "1.500000",
        "-2.000001",
    ]
