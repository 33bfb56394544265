"""Stripe's events about payouts: believed only where they fit the row that they name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hushnet.coordinator.payments.model import EventState, InboxEvent
from hushnet.coordinator.payments.payouts.model import Payout, PayoutState
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent
from support.ledger import PROVIDER
from support.payout_desk import EARNED, USD, Desk

S = PayoutState


async def in_transit(desk: Desk) -> tuple[Payout, str]:
    """A payout at Stripe, and the connected account."""
    method = await desk.provider()
    payout = await desk.ask()
    await desk.settle()
    return await desk.now(payout), method.address


def told(payout: Payout, at: str, kind: str = "payout.paid", **changes: Any) -> dict[str, Any]:
    """An event that says what Stripe would, but for the changes."""
    thing = {
        "id": payout.payout,
        "object": "payout",
        "amount": payout.net // 10_000,
        "currency": "usd",
        "metadata": {"hush_payout": str(payout.id)},
        "status": "paid",
    }
    place = {"account": changes.pop("account", at)}
    return {"id": f"evt_{kind}_{len(str(changes))}", "type": kind, **place, "data": {"object": {**thing, **changes}}}


async def state_of(desk: Desk, event: dict[str, Any]) -> InboxEvent:
    (row,) = [one for one in await desk.money.all_of(InboxEvent) if one.event == event["id"]]
    return row


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 1},
        {"currency": "eur"},
        {"account": "acct_other"},
        {"id": "po_other"},
    ],
    ids=["amount", "currency", "account", "id"],
)
async def test_an_event_that_does_not_fit_its_payout_moves_nothing_and_is_a_finding(
    desk: Desk, changes: dict[str, Any]
) -> None:
    payout, account = await in_transit(desk)
    event = told(payout, account, **changes)
    await desk.receive(event)
    await desk.settle()
    assert (await state_of(desk, event)).state is EventState.IGNORED
    assert (await desk.now(payout)).state is S.IN_TRANSIT
    assert "payout_mismatch" in await desk.findings()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metadata": {}, "id": "po_owners_own"}, "not_ours"),
        ({"metadata": {"hush_payout": "12345678"}}, "not_ours"),
        ({"metadata": {"hush_payout": "9" * 19}}, "not_ours"),
        ({"metadata": {"hush_payout": "x" * 30}, "id": "po_x"}, "not_ours"),
    ],
)
async def test_somebody_elses_payout_is_ignored(desk: Desk, changes: dict[str, Any], reason: str) -> None:
    payout, account = await in_transit(desk)
    event = told(payout, account, **changes)
    await desk.receive(event)
    await desk.settle()
    row = await state_of(desk, event)
    assert (row.state, row.error) == (EventState.IGNORED, reason)
    assert (await desk.now(payout)).state is S.IN_TRANSIT
    assert await desk.findings() == []


async def test_a_payout_is_known_by_stripes_id_where_metadata_is_missing(desk: Desk) -> None:
    payout, account = await in_transit(desk)
    await desk.receive(told(payout, account, metadata={}))
    await desk.settle()
    assert (await desk.now(payout)).state is S.PAID
    desk.stripe.end_payout(str(payout.payout), "paid")


async def test_other_kinds_of_events_are_ignored(desk: Desk) -> None:
    payout, account = await in_transit(desk)
    event = told(payout, account, kind="payout.reconciliation_completed")
    await desk.receive(event)
    await desk.settle()
    assert (await state_of(desk, event)).error == "other_kind"


async def test_what_came_of_a_transfer_waits_until_the_transfer_is_known(desk: Desk) -> None:
    """The transfer's answer is lost and its events come before `transfer.created`: they are applied after it."""
    method = await desk.provider()
    payout = await desk.ask()
    await desk.worker.send_requested()
    body = {"amount": 2500, "currency": "usd", "destination": method.address}
    group = {"transfer_group": f"payout:{payout.id}", "metadata": {"hush_payout": str(payout.id)}}
    await desk.connect.transfer({**body, **group}, idem_key=f"hush-transfer-{payout.id}-1")
    (transfer,) = desk.stripe.world.objects["transfers"]
    desk.stripe.reverse(transfer)
    created, reversed_ = desk.stripe.pending()
    await desk.receive(reversed_)
    await desk.inbox.step()
    assert (await state_of(desk, reversed_)).state is EventState.WAITING
    assert (await desk.now(payout)).state is S.SENDING
    await desk.receive(created)
    await desk.inbox.step()
    await desk.money.books.advance(5)
    await desk.inbox.step()
    assert (await desk.now(payout)).state is S.STUCK
    assert (await desk.balances())["connect"] == 0


async def test_a_part_of_a_transfer_that_is_reversed_is_a_finding(desk: Desk) -> None:
    payout, _ = await in_transit(desk)
    desk.stripe.end_payout(str(payout.payout), "canceled")
    canceled = desk.stripe.pending()
    with desk.stripe.lock:
        transfer = desk.stripe.thing("transfers", str(payout.transfer))
        transfer["amount_reversed"] = 100
        desk.stripe.world.emit("transfer.reversed", transfer)
    (part,) = [event for event in desk.stripe.pending() if event not in canceled]
    await desk.receive(part)
    await desk.inbox.step()
    assert await desk.findings() == ["payout_mismatch"]
    assert (await desk.now(payout)).state is S.IN_TRANSIT
    transfer["amount_reversed"] = 0


async def test_an_event_that_fails_is_fetched_from_the_sixth_try(desk: Desk) -> None:
    """What an old event says is checked against Stripe: it says paid, and Stripe says failed."""
    payout, account = await in_transit(desk)
    desk.stripe.end_payout(str(payout.payout), "failed")
    event = told(payout, account)
    await desk.receive(event)
    (row,) = [one for one in await desk.money.all_of(InboxEvent) if one.event == event["id"]]
    worn = await desk.money.store.transact(lambda tx: tx.rows(InboxEvent).get(row.source, row.event))
    assert worn is not None
    await desk.money.store.transact(lambda tx: tx.rows(InboxEvent).save(replace(worn, attempts=5)))
    await desk.inbox.step()
    assert (await desk.now(payout)).state is S.REVERSING
    await desk.settle()
    assert await desk.is_whole()


async def test_money_that_moves_behind_the_books_is_a_finding(desk: Desk) -> None:
    """A cancelled payout of which Stripe tells a transfer; a payout that is paid after it was refused."""
    method = await desk.provider()
    payout = await desk.ask()
    await desk.payouts.cancel(PROVIDER, payout.id)
    transfer = {"id": "tr_9", "object": "transfer", "amount": 2500, "currency": "usd", "destination": method.address}
    named = {"transfer_group": f"payout:{payout.id}", "metadata": {"hush_payout": str(payout.id)}, "amount_reversed": 0}
    await desk.receive({"id": "evt_9", "type": "transfer.created", "data": {"object": {**transfer, **named}}})
    await desk.settle()
    assert await desk.findings() == ["payout_contradiction"]
    assert (await desk.balances())["earnings"] == EARNED
    (puzzle,) = await desk.payouts.puzzles()
    assert PayoutEvent.TRANSFER_MADE in puzzle.findings[0].detail


async def test_a_transfer_that_the_books_have_not_is_not_ours(desk: Desk) -> None:
    """Until its answer is seen; and one that was made at Stripe's dashboard never is."""
    method = await desk.provider()
    payout = await desk.ask()
    await desk.worker.send_requested()
    body = {"amount": 2500, "currency": "usd", "destination": method.address}
    group = {"transfer_group": f"payout:{payout.id}", "metadata": {"hush_payout": str(payout.id)}}
    await desk.connect.transfer({**body, **group}, idem_key=f"hush-transfer-{payout.id}-1")
    assert await desk.unknown_at_stripe() == ["transfer"]
    await desk.settle()
    assert await desk.unknown_at_stripe() == []
    await desk.connect.transfer({**body, "transfer_group": "other"}, idem_key="by hand")
    await desk.settle()
    assert await desk.unknown_at_stripe() == ["transfer"]
    foreign = next(one["id"] for one in desk.stripe.world.find("transfers", transfer_group="other"))
    desk.stripe.reverse(foreign)
    assert await desk.unknown_at_stripe() == ["transfer_refund", "transfer"]


async def test_accounts_and_payouts_are_compared(desk: Desk) -> None:
    """A payout whose row was changed behind the ledger's back is found (B11)."""
    await desk.provider()
    payout = await desk.ask(10 * USD)
    await desk.settle()
    row = await desk.now(payout)
    broken = replace(row, state=S.PAID)
    await desk.money.store.transact(lambda tx: tx.rows(Payout).save(broken))
    assert len(await desk.worker.compare()) == 2
    assert await desk.findings() == ["payout_balance", "payout_balance"]
    await desk.money.store.transact(lambda tx: tx.rows(Payout).save(row))
    assert await desk.worker.compare() == []
