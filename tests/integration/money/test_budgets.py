"""Budgets on both databases: what is set acts on the next hold of every process, and no crowd of holds passes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from hushnet.coordinator.budgets import Budget, BudgetBook, CapScope, CapWindow, Period
from hushnet.coordinator.budgets.rules import DAY_MS
from hushnet.coordinator.ledger.model import Capped, Closed, Held, Hold, HoldOutcome, Insufficient
from hushnet.coordinator.ledger.transaction import View
from hushnet.coordinator.settings import BudgetSettings
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import ApiKeyId
from hushnet.foundation.money import AmountError
from support.ledger import CONSUMER, KEY, database_url, post, void
from support.money import OpenMoney, open_money

T = TypeVar("T")
OTHER_KEY = ApiKeyId(8)
MIDNIGHT_MS = 1_763_769_600_000
SCOPES = [(CapScope.KEY, KEY), (CapScope.ACCOUNT, CONSUMER), (CapScope.OPERATOR, CONSUMER)]


def book_of(money: OpenMoney) -> BudgetBook:
    """Another process's book on the same database."""
    return BudgetBook(money.store, money.clock, settings=BudgetSettings(cache_s=10))


async def asked(money: OpenMoney, book: BudgetBook, amount: int, key: ApiKeyId = KEY) -> tuple[Hold, HoldOutcome]:
    """Hold as a request through a key does."""
    allowance = await book.allowance(CONSUMER, key)
    hold = money.books.new_hold(amount, caps=allowance.caps)
    return hold, await money.ledger.hold(hold)


def told(budgets: Sequence[Budget]) -> list[tuple[Period, int, int, int]]:
    return [(budget.cap.period, budget.spent, budget.held, budget.left) for budget in budgets]


@pytest.mark.parametrize(("scope", "subject"), SCOPES)
async def test_two_hundred_concurrent_holds_do_not_pass_the_cap(
    money: OpenMoney, scope: CapScope, subject: int
) -> None:
    await money.books.give(CONSUMER, promo=10_000)
    books = [book_of(money) for _ in range(4)]
    await books[0].put(CONSUMER, scope, subject, {Period.DAY: 95})

    outcomes = await asyncio.gather(*(asked(money, books[number % 4], 10) for number in range(200)))

    held = [(hold, outcome) for hold, outcome in outcomes if isinstance(outcome, Held)]
    assert len(held) == 9
    assert {outcome.left for _, outcome in outcomes if isinstance(outcome, Capped)} == {5}
    for hold, outcome in held[:4]:
        assert await money.ledger.close(post(hold, outcome, 10)) == Closed(10)
    assert told(await books[3].budgets_of((scope, subject))) == [(Period.DAY, 40, 50, 5)]


async def test_the_tightest_of_several_budgets_bounds_a_key_and_each_counts(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, promo=10_000)
    book = book_of(money)
    await book.put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: 50, Period.LIFE: 1000})
    await book.put(CONSUMER, CapScope.ACCOUNT, CONSUMER, {Period.WEEK: 70})
    every = {Period.LIFE: 10_000, Period.DAY: 10_000, Period.WEEK: 10_000, Period.MONTH: 10_000}
    await book.put(CONSUMER, CapScope.OPERATOR, CONSUMER, every)

    assert isinstance((await asked(money, book, 50))[1], Held)
    refusal = (await asked(money, book, 1))[1]
    assert isinstance(refusal, Capped)
    assert "this key's budget of $0.00005 a day has $0.00 left" in (book.words(KEY, refusal) or "")
    assert isinstance((await asked(money, book, 20, OTHER_KEY))[1], Held)
    refusal = (await asked(money, book, 1, OTHER_KEY))[1]
    assert isinstance(refusal, Capped)
    assert "this account's budget of $0.00007 a week" in (book.words(OTHER_KEY, refusal) or "")
    assert told(await book.budgets_of(*SCOPES)) == [
        (Period.LIFE, 0, 50, 950),
        (Period.DAY, 0, 50, 0),
        (Period.WEEK, 0, 70, 0),
        *((period, 0, 70, 9930) for period in (Period.LIFE, Period.DAY, Period.WEEK, Period.MONTH)),
    ]


async def test_every_budget_that_there_can_be_fits_into_one_hold(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, promo=100)
    book = book_of(money)
    for scope, subject in SCOPES:
        await book.put(CONSUMER, scope, subject, dict.fromkeys(Period, 1000))

    allowance = await book.allowance(CONSUMER, KEY)

    assert (len(allowance.caps), allowance.request_max) == (12, 1000)
    assert isinstance((await asked(money, book, 100))[1], Held)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_hold_settles_into_its_own_window_after_midnight(kind: str, tmp_path: Path) -> None:
    with database_url(kind, tmp_path) as url:
        async with open_money(url, clock=ManualClock(MIDNIGHT_MS - 10_000)) as money:
            book = book_of(money)
            await money.books.give(CONSUMER, promo=10_000)
            await book.put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: 100})
            hold, held = await asked(money, book, 60)
            assert isinstance(held, Held)
            assert told(await book.budgets_of((CapScope.KEY, KEY))) == [(Period.DAY, 0, 60, 40)]
            await money.books.advance(10)

            assert isinstance((await asked(money, book, 100))[1], Held)
            assert await money.ledger.close(post(hold, held, 45)) == Closed(45)

            (today,) = await book.budgets_of((CapScope.KEY, KEY))
            assert (today.start_ms, today.spent, today.held) == (MIDNIGHT_MS, 0, 100)
            windows = {window.start_ms: (window.spent, window.held) for window in await money.all_of(CapWindow)}
            assert windows == {MIDNIGHT_MS - DAY_MS: (45, 0), MIDNIGHT_MS: (0, 100)}


async def test_lowering_a_cap_stops_only_new_holds(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, promo=10_000)
    here, elsewhere = book_of(money), book_of(money)
    await here.put(CONSUMER, CapScope.ACCOUNT, CONSUMER, {Period.MONTH: 100})
    hold, held = await asked(money, elsewhere, 90)
    assert isinstance(held, Held)

    await here.put(CONSUMER, CapScope.ACCOUNT, CONSUMER, {Period.MONTH: 10})

    # `elsewhere` remembers the cap; its ceiling is read by the ledger under the lock.
    assert isinstance((await asked(money, elsewhere, 1))[1], Capped)
    assert told(await elsewhere.budgets_of((CapScope.ACCOUNT, CONSUMER))) == [(Period.MONTH, 0, 90, 0)]
    assert await money.ledger.close(post(hold, held, 90)) == Closed(90)
    await here.put(CONSUMER, CapScope.ACCOUNT, CONSUMER, {Period.MONTH: 100})
    assert isinstance((await asked(money, elsewhere, 10))[1], Held)


async def test_a_new_budget_acts_here_at_once_and_elsewhere_once_it_is_read_again(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, promo=10_000)
    here, elsewhere = book_of(money), book_of(money)
    for book in (here, elsewhere):
        assert isinstance((await asked(money, book, 10))[1], Held)

    await here.put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: 5})

    assert isinstance((await asked(money, here, 10))[1], Capped)
    assert isinstance((await asked(money, elsewhere, 10))[1], Held)
    elsewhere.changed(CONSUMER)  # as the bus has it
    assert isinstance((await asked(money, elsewhere, 10))[1], Capped)
    third = book_of(money)
    assert isinstance((await asked(money, third, 5))[1], Held)
    await here.put(CONSUMER, CapScope.KEY, KEY, {Period.WEEK: 5})
    await money.books.advance(10)
    assert len((await third.allowance(CONSUMER, KEY)).caps) == 2


async def test_a_removed_budget_bounds_nothing_and_open_holds_of_it_settle(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, promo=10_000)
    here, elsewhere = book_of(money), book_of(money)
    await here.put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: 50})
    hold, held = await asked(money, elsewhere, 50)
    assert isinstance(held, Held)

    assert await here.remove(CONSUMER, CapScope.KEY, KEY, Period.DAY)
    assert not await here.remove(CONSUMER, CapScope.KEY, KEY, Period.DAY)

    assert await here.budgets_of((CapScope.KEY, KEY)) == []
    late, late_held = await asked(money, elsewhere, 60)  # still names the cap
    assert isinstance(late_held, Held)
    assert isinstance((await asked(money, here, 70))[1], Held)
    assert await money.ledger.close(post(hold, held, 30)) == Closed(30)
    assert await money.ledger.close(void(late, late_held)) == Closed(0)
    (again,) = await here.put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: 100})
    assert (again.spent, again.held) == (30, 0)


async def test_the_same_budget_set_by_many_at_once_is_one_cap(money: OpenMoney) -> None:
    ceilings = list(range(10, 20))
    await asyncio.gather(
        *(book_of(money).put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: ceiling}) for ceiling in ceilings)
    )

    (budget,) = await book_of(money).budgets_of((CapScope.KEY, KEY))
    assert budget.cap.ceiling in ceilings


async def test_what_was_read_while_a_budget_was_set_is_not_remembered(money: OpenMoney) -> None:
    held_up, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        transact = money.store.transact

        async def read(self, work: Callable[[View], T]) -> T:
            found = await money.store.read(work)
            held_up.set()
            await go_on.wait()
            return found

    book = BudgetBook(Slow(), money.clock)
    early = asyncio.create_task(book.allowance(CONSUMER, KEY))
    await held_up.wait()
    await book.put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: 5})
    go_on.set()

    assert (await early).caps == ()
    assert len((await book.allowance(CONSUMER, KEY)).caps) == 1


async def test_no_more_keys_are_remembered_than_there_is_room_for_and_those_asked_for_last_stay(
    money: OpenMoney,
) -> None:
    reads = 0

    class Counted:
        transact = money.store.transact

        async def read(self, work: Callable[[View], T]) -> T:
            nonlocal reads
            reads += 1
            return await money.store.read(work)

    book = BudgetBook(Counted(), money.clock, settings=BudgetSettings(keys_cached_max=16))
    for number in range(1, 101):
        await book.allowance(CONSUMER, ApiKeyId(number))
    for number in range(85, 101):
        await book.allowance(CONSUMER, ApiKeyId(number))
    assert reads == 100
    await book.allowance(CONSUMER, ApiKeyId(84))
    assert reads == 101


async def test_a_key_whose_budgets_can_not_be_read_has_no_allowance(money: OpenMoney) -> None:
    book = book_of(money)
    assert money.books.database is not None
    await money.books.database.write(_without_caps)
    try:
        with pytest.raises(StorageError):
            await book.allowance(CONSUMER, KEY)
    finally:
        await money.books.database.write(_with_caps)


def _without_caps(connection) -> None:  # type: ignore[no-untyped-def]
    connection.exec_driver_sql("ALTER TABLE ledger_caps RENAME TO ledger_caps_away")


def _with_caps(connection) -> None:  # type: ignore[no-untyped-def]
    connection.exec_driver_sql("ALTER TABLE ledger_caps_away RENAME TO ledger_caps")


@pytest.mark.parametrize("amount", [-1, 10**15 + 1, True])
async def test_an_amount_outside_the_ledgers_bounds_is_refused(money: OpenMoney, amount: int) -> None:
    with pytest.raises(AmountError):
        await book_of(money).put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: amount})


async def test_a_budget_comes_after_the_balance(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, promo=5)
    book = book_of(money)
    await book.put(CONSUMER, CapScope.KEY, KEY, {Period.DAY: 3})

    assert (await asked(money, book, 10))[1] == Insufficient(5)
