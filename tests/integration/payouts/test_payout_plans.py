"""Payouts that nobody asks for: once a date, everything, when it is enough."""

from __future__ import annotations

import pytest

from hushnet.coordinator.payments.payouts.fees import PayoutTooSmallError
from hushnet.coordinator.payments.payouts.methods import UnknownMethodError
from hushnet.coordinator.payments.payouts.model import Period
from hushnet.coordinator.payments.payouts.plans import ask_planned
from support.ledger import CONSUMER, PROVIDER
from support.payout_desk import DAY_S, EARNED, TERMS, USD, Desk


async def pass_date(desk: Desk) -> None:
    """Go to the plan's next date."""
    plan = await desk.payouts.plan(PROVIDER)
    assert plan is not None
    await desk.money.books.advance((plan.next_ms - desk.clock.now_ms()) // 1000 + 1)


async def test_a_plan_asks_once_a_date_for_everything(desk: Desk) -> None:
    await desk.provider()
    made = await desk.payouts.set_plan(PROVIDER, Period.WEEKLY, threshold=10 * USD, method=None)
    assert await desk.worker.ask_planned() == 0
    await pass_date(desk)
    assert await desk.worker.ask_planned() == 1
    assert await desk.worker.ask_planned() == 0
    (payout,) = await desk.payouts.payouts(PROVIDER)
    assert (payout.gross, payout.client) == (EARNED, f"plan-{made.next_ms}")
    plan = await desk.payouts.plan(PROVIDER)
    assert plan is not None
    assert (plan.next_ms - made.next_ms, plan.reason) == (7 * DAY_S * 1000, "")


async def test_a_date_whose_end_was_not_noted_finds_the_same_payout(desk: Desk) -> None:
    """The process died after the request and before the plan moved on."""
    await desk.provider()
    made = await desk.payouts.set_plan(PROVIDER, Period.MONTHLY, threshold=USD, method=None)
    await pass_date(desk)
    store, now_ms = desk.money.store, desk.clock.now_ms()
    await ask_planned(store, TERMS, now_ms=now_ms)
    await store.transact(lambda tx: tx.rows(type(made)).save(made))
    await ask_planned(store, TERMS, now_ms=now_ms)
    assert len(await desk.payouts.payouts(PROVIDER)) == 1


@pytest.mark.parametrize(("threshold", "open_first"), [(41 * USD, False), (USD, True)])
async def test_what_stands_in_the_way_is_noted_and_the_next_date_awaited(
    desk: Desk, threshold: int, open_first: bool
) -> None:
    await desk.provider()
    if open_first:
        await desk.ask(5 * USD)
    made = await desk.payouts.set_plan(PROVIDER, Period.WEEKLY, threshold=threshold, method=None)
    before = await desk.payouts.payouts(PROVIDER)
    await pass_date(desk)
    await desk.worker.ask_planned()
    assert await desk.payouts.payouts(PROVIDER) == before
    plan = await desk.payouts.plan(PROVIDER)
    assert plan is not None
    assert plan.reason == ("payout_open" if open_first else "insufficient_withdrawable")
    assert plan.next_ms > made.next_ms


async def test_a_plan_is_ones_own_and_can_be_dropped(desk: Desk) -> None:
    method = await desk.provider()
    with pytest.raises(UnknownMethodError):
        await desk.payouts.set_plan(CONSUMER, Period.WEEKLY, threshold=USD, method=method.id)
    with pytest.raises(PayoutTooSmallError):
        await desk.payouts.set_plan(PROVIDER, Period.WEEKLY, threshold=USD - 10_000, method=None)
    await desk.payouts.set_plan(PROVIDER, Period.WEEKLY, threshold=USD, method=method.id)
    changed = await desk.payouts.set_plan(PROVIDER, Period.MONTHLY, threshold=2 * USD, method=None)
    assert await desk.payouts.plan(PROVIDER) == changed
    assert await desk.payouts.plan(CONSUMER) is None
    await pass_date(desk)
    assert await desk.payouts.drop_plan(PROVIDER)
    assert not await desk.payouts.drop_plan(PROVIDER)
    assert await desk.worker.ask_planned() == 0
