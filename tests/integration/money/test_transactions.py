"""Rows and facts in one transaction: both or neither, on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Held, Hold, Leg, Overdrawn, Posted
from hushnet.coordinator.ledger.transaction import PostingRefusedError, Transaction
from hushnet.coordinator.payments.model import Cursor, EventState, Finding, InboxEvent, note_finding
from hushnet.foundation.errors import StorageError
from support.ledger import CONSUMER, database_url, void
from support.money import OpenMoney, open_money

PAID = user_account(CONSUMER, Kind.PAID)
STRIPE = operator_account(Kind.STRIPE)
BODY = b"\x00\xff{}"


def deposit(key: str, amount: int) -> Fact:
    return Fact(key, Code.DEPOSIT, (Leg(STRIPE, PAID, amount),), actor="test", owner=CONSUMER)


def withdrawal(key: str, amount: int) -> Fact:
    return Fact(key, Code.ADJUSTMENT, (Leg(PAID, STRIPE, amount),), actor="test", owner=CONSUMER)


def event(name: str, received_ms: int = 1, **columns: object) -> InboxEvent:
    plain = InboxEvent(
        source="s", event=name, kind="k", subject="o", body=BODY, next_ms=received_ms, received_ms=received_ms
    )
    return replace(plain, **columns)  # type: ignore[arg-type] - a test names its columns


async def test_a_row_comes_back_as_it_was_written(money: OpenMoney) -> None:
    await money.store.transact(lambda tx: tx.rows(InboxEvent).add(event("e1", state=EventState.WAITING)))
    found = await money.store.read(lambda view: view.rows(InboxEvent).get("s", "e1"))
    assert found == event("e1", state=EventState.WAITING)
    assert isinstance(found.state, EventState)
    assert isinstance(found.body, bytes)


async def test_rows_are_added_once_changed_found_and_removed(money: OpenMoney) -> None:
    def work(tx: Transaction) -> None:
        rows = tx.rows(InboxEvent)
        assert [rows.add(event(name, n)) for n, name in enumerate("abc")] == [True, True, True]
        assert not rows.add(event("a", 9))
        rows.save(event("b", 1, state=EventState.APPLIED))
        assert rows.remove("s", "c")
        assert not rows.remove("s", "c")
        assert rows.get("s", "c") is None

    await money.store.transact(work)
    view = money.store.read
    assert [row.event for row in await money.all_of(InboxEvent)] == ["a", "b"]
    assert [r.event for r in await view(lambda v: v.rows(InboxEvent).find(state=[EventState.APPLIED]))] == ["b"]
    assert [r.event for r in await view(lambda v: v.rows(InboxEvent).find(at_most=("received_ms", 0)))] == ["a"]
    newest = await view(lambda v: v.rows(InboxEvent).find(order_by="received_ms", descending=True, limit=1))
    assert [row.event for row in newest] == ["b"]


async def test_a_row_that_is_not_there_cannot_be_saved(money: OpenMoney) -> None:
    with pytest.raises(StorageError):
        await money.store.transact(lambda tx: tx.rows(InboxEvent).save(event("never")))


async def test_a_view_cannot_write(money: OpenMoney) -> None:
    with pytest.raises(StorageError):
        await money.store.read(lambda view: view.rows(InboxEvent).add(event("e")))
    assert await money.all_of(InboxEvent) == []


async def test_a_fact_and_its_row_are_committed_together(money: OpenMoney) -> None:
    def work(tx: Transaction) -> object:
        tx.rows(Cursor).add(Cursor(name="c", value="1", at_ms=tx.now_ms))
        return tx.post(deposit("stripe:pi:1", 500))

    (outcome,) = await money.store.transact(work)  # type: ignore[misc] - one outcome
    assert isinstance(outcome, Posted)
    assert (await money.ledger.balance(CONSUMER)).paid == 500
    assert len(await money.all_of(Cursor)) == 1


async def test_a_refused_fact_takes_the_row_back(money: OpenMoney) -> None:
    def work(tx: Transaction) -> None:
        tx.rows(Cursor).add(Cursor(name="c", value="1", at_ms=tx.now_ms))
        tx.post(deposit("in:1", 10), withdrawal("out:1", 11))

    with pytest.raises(PostingRefusedError) as caught:
        await money.store.transact(work)
    assert caught.value.outcome == Overdrawn(PAID)
    assert await money.all_of(Cursor) == []
    assert (await money.ledger.balance(CONSUMER)).paid == 0


async def test_what_the_work_raises_takes_everything_back(money: OpenMoney) -> None:
    def work(tx: Transaction) -> None:
        tx.post(deposit("in:1", 10))
        raise LookupError

    with pytest.raises(LookupError):
        await money.store.transact(work)
    assert (await money.ledger.balance(CONSUMER)).paid == 0


async def test_the_same_fact_again_moves_nothing(money: OpenMoney) -> None:
    for _ in range(3):
        await money.store.transact(lambda tx: tx.post(deposit("stripe:pi:1", 500)))
    assert (await money.ledger.balance(CONSUMER)).paid == 500


async def test_a_deposit_and_the_hold_that_it_pays_are_one_transaction(money: OpenMoney) -> None:
    def work(tx: Transaction) -> tuple[Hold, Held]:
        hold = Hold(money.ledger.next_request_id(), CONSUMER, 400, tx.now_ms + 60_000)
        _, outcome = tx.post(deposit("x402:1", 500), hold)
        assert isinstance(outcome, Held)
        return hold, outcome

    hold, held = await money.store.transact(work)
    assert held == Held(0, 400, 0)
    assert (await money.ledger.balance(CONSUMER)).held == 400
    await money.ledger.close(void(hold, held))
    assert (await money.ledger.balance(CONSUMER)).held == 0


async def test_transactions_beside_the_hot_path_lose_nothing(money: OpenMoney) -> None:
    """Forty facts of each path at once, on one account: every one counts, and both lanes' chains hold."""
    await asyncio.gather(
        *(money.store.transact(lambda tx, n=n: tx.post(deposit(f"cold:{n}", 1))) for n in range(40)),  # type: ignore[misc]
        *(money.ledger.fact(deposit(f"hot:{n}", 1)) for n in range(40)),
    )
    assert (await money.ledger.balance(CONSUMER)).paid == 80


async def test_two_transactions_on_one_row_follow_each_other(money: OpenMoney) -> None:
    await money.store.transact(lambda tx: tx.rows(Cursor).add(Cursor(name="n", value="0", at_ms=0)))

    def add_one(tx: Transaction) -> None:
        row = tx.rows(Cursor).get("n")
        assert row is not None
        tx.rows(Cursor).save(replace(row, value=str(int(row.value) + 1)))

    await asyncio.gather(*(money.store.transact(add_one) for _ in range(20)))
    assert [row.value for row in await money.all_of(Cursor)] == ["20"]


async def test_an_open_finding_is_written_once(money: OpenMoney) -> None:
    for _ in range(2):
        await money.store.transact(lambda tx: note_finding(tx, "odd", "deposit:1", "x" * 900))
    (found,) = await money.all_of(Finding)
    assert len(found.detail) == 500
    await money.store.transact(lambda tx: tx.rows(Finding).save(replace(found, resolved_ms=tx.now_ms)))
    await money.store.transact(lambda tx: note_finding(tx, "odd", "deposit:1"))
    assert len(await money.all_of(Finding)) == 2


async def test_a_transaction_has_a_bounded_number_of_ids(money: OpenMoney) -> None:
    def work(tx: Transaction) -> list[int]:
        return [tx.next_id() for _ in range(65)]

    with pytest.raises(StorageError):
        await money.store.transact(work)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_reopened_database_goes_on_with_the_chain(kind: str, tmp_path: Path) -> None:
    with database_url(kind, tmp_path) as url:
        for key, amount in (("one", 1), ("two", 2)):
            async with open_money(url) as opened:
                await opened.store.transact(lambda tx, key=key, n=amount: tx.post(deposit(key, n)))  # type: ignore[misc]
        async with open_money(url) as opened:
            assert (await opened.ledger.balance(CONSUMER)).paid == 3
