"""Stripe's own books beside ours: what a lost webhook left behind is put right, and what does not fit is found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.payments.deposits import facts
from hushnet.coordinator.payments.deposits.model import DepositState
from hushnet.foundation.errors import CapacityError
from support.card_money import CENT, CardBench, card_bench
from support.ledger import CONSUMER
from support.money import OpenMoney
from support.stripe_fake import FakeStripe, Fault, payments, running_stripe


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
async def bench(money: OpenMoney, served: FakeStripe) -> AsyncIterator[CardBench]:
    async with card_bench(money, served) as made:
        yield made


async def hours_later(bench: CardBench, hours: int = 2) -> None:
    for _ in range(hours):
        await bench.money.books.advance(3600)


async def test_a_payment_whose_webhooks_are_lost_is_credited(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "")
    bench.events()
    await hours_later(bench)
    await bench.rail.reconciliation.step()
    assert (await bench.deposit(deposit.id)).state is DepositState.PAID
    assert await bench.user() == {"paid": 2000 * CENT}


@pytest.mark.parametrize("is_paid", [True, False])
async def test_a_bank_debit_whose_end_is_lost_is_fetched(bench: CardBench, is_paid: bool) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "", is_async=True)
    await bench.tell()
    bench.stripe.settle(deposit.checkout or "", is_paid=is_paid)
    bench.events()
    await hours_later(bench)
    await bench.rail.reconciliation.step()
    assert (await bench.deposit(deposit.id)).state is (DepositState.PAID if is_paid else DepositState.FAILED)


async def test_a_checkout_that_expired_unheard_is_expired(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.expire(deposit.checkout or "")
    bench.events()
    await bench.rail.reconciliation.step()
    assert (await bench.deposit(deposit.id)).state is DepositState.OPEN  # webhooks still have time
    await hours_later(bench)
    await bench.rail.reconciliation.step()
    assert (await bench.deposit(deposit.id)).state is DepositState.EXPIRED


async def test_fees_are_posted_once_and_the_balances_agree(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    dispute = bench.stripe.dispute(deposit.intent or "", 500)
    bench.stripe.end_dispute(dispute, "won")
    bench.stripe.fund(10_000)
    await bench.tell()
    for _ in range(3):
        await bench.rail.reconciliation.step()
        await hours_later(bench)
    assert (await bench.operator())["processor_fees"] == -(88 + 1500) * CENT
    assert (await bench.operator())["stripe"] == -bench.stripe.world.balances[""] * CENT
    assert await bench.findings() == []


async def test_fees_that_stripe_gives_back_are_posted_once(bench: CardBench) -> None:
    deposit, other = await bench.paid(2000), await bench.paid(2000)
    dispute = bench.stripe.dispute(deposit.intent or "", 500)
    bench.stripe.end_dispute(dispute, "won", fee_back=True)
    bench.stripe.refund(other.intent or "", 300)
    with bench.stripe.lock:
        (refunded,) = bench.stripe.world.find("balance_transactions", type="refund")
        refunded |= {"fee": -9, "net": refunded["amount"] + 9}
        bench.stripe.world.balances[""] += 9
    await bench.tell()
    for _ in range(3):
        await bench.rail.reconciliation.step()
        await hours_later(bench)
    assert (await bench.operator())["processor_fees"] == -(2 * 88 - 9) * CENT
    assert (await bench.operator())["stripe"] == -bench.stripe.world.balances[""] * CENT
    assert await bench.findings() == []


@pytest.mark.parametrize("amount", [700, -700])
async def test_what_is_of_an_unknown_type_keeps_the_balance_right_and_is_found(bench: CardBench, amount: int) -> None:
    with bench.stripe.lock:
        bench.stripe.world.book("climate_something", amount, "x_1", fee=30)
        bench.stripe.world.book("adjustment", 20, "")
        bench.stripe.world.book("payout", -100, "po_1", fee=5)
    for _ in range(3):
        await bench.rail.reconciliation.step()
        await hours_later(bench)
    operator = await bench.operator()
    assert operator["stripe"] == -bench.stripe.world.balances[""] * CENT
    assert (operator["suspense"], operator["processor_fees"]) == ((amount + 20) * CENT, -35 * CENT)
    assert await bench.findings() == ["stripe_type_unknown", "stripe_type_unknown"]


async def test_one_row_that_cannot_be_done_blocks_nobody_and_is_found(bench: CardBench) -> None:
    """Its fact's key is taken by another fact: the ledger refuses it, pass after pass."""
    asked = [await bench.ask(2000 + place) for place in range(3)]
    for deposit in asked:
        bench.stripe.pay(deposit.checkout or "")
    bench.events()
    intent = bench.stripe.thing("sessions", asked[1].checkout or "")["payment_intent"]
    taken = Leg(facts.STRIPE, facts.SUSPENSE, 1)
    await bench.money.ledger.fact(Fact(facts.paid_key(intent), Code.ADJUSTMENT, (taken,), actor="test"))
    await hours_later(bench)
    for _ in range(2):
        await bench.rail.reconciliation.step()
    states = [(await bench.deposit(deposit.id)).state for deposit in asked]
    assert states == [DepositState.PAID, DepositState.OPEN, DepositState.PAID]
    assert await bench.findings() == ["deposit_not_applied"]


async def test_a_deposit_about_which_stripe_is_silent_blocks_nobody(bench: CardBench) -> None:
    asked = [await bench.ask(2000) for _ in range(3)]
    for deposit in asked:
        bench.stripe.pay(deposit.checkout or "")
    bench.events()
    await hours_later(bench, 25)
    bench.stripe.fail(f"GET /v1/checkout/sessions/{asked[1].checkout}", Fault.UNAVAILABLE)
    await bench.rail.reconciliation._fetch_unfinished()
    states = [(await bench.deposit(deposit.id)).state for deposit in asked]
    assert states == [DepositState.PAID, DepositState.OPEN, DepositState.PAID]
    assert await bench.findings() == ["deposit_not_applied"]


async def test_a_pass_ends_while_stripe_is_down(bench: CardBench) -> None:
    for _ in range(5):
        await bench.ask(2000)
    await hours_later(bench, 2)
    bench.stripe.fail("GET /v1/checkout/sessions/.*", Fault.UNAVAILABLE, times=100)
    with pytest.raises(CapacityError):
        await bench.rail.reconciliation.step()
    assert len([name for name, _, _ in bench.stripe.requests if name.startswith("GET /v1/checkout/sessions/")]) == 3
    assert await bench.findings() == []


async def test_a_transaction_that_cannot_be_looked_into_is_looked_into_again(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "")
    await bench.tell()
    bench.stripe.fund(100)
    bench.stripe.fail("GET /v1/charges/.*", Fault.UNAVAILABLE)
    with pytest.raises(CapacityError):
        await bench.rail.reconciliation.step()
    assert (await bench.operator())["bank"] == 100 * CENT
    await bench.rail.reconciliation.step()
    assert (await bench.operator())["processor_fees"] == -88 * CENT


async def test_a_refund_and_its_failure_are_known(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    bench.stripe.refund(deposit.intent or "", 300)
    await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r", actor="key:a")
    await bench.settle()
    for reversal in await bench.reversals():
        bench.stripe.end_refund(reversal.object or "", is_paid=False)
    await bench.tell()
    await hours_later(bench, 3)
    await bench.rail.reconciliation.step()
    assert await bench.findings() == []


async def test_what_moved_at_stripe_without_us_is_found_once(bench: CardBench) -> None:
    with bench.stripe.lock:
        world = bench.stripe.world
        payments.succeed_intent(
            world, payments.new_intent(world, 900, "usd", customer=None, method=None, metadata={"order": "1"})
        )
    bench.events()
    await bench.rail.reconciliation.step()
    assert await bench.findings() == []  # a webhook may still be on its way
    for _ in range(3):
        await hours_later(bench, 1)
        await bench.rail.reconciliation.step()
    assert await bench.findings() == ["stripe_balance_differs", "stripe_moved_unknown"]
    assert await bench.balances() == {}


async def test_what_moved_before_the_account_was_ours_is_left_alone(bench: CardBench) -> None:
    bench.stripe.fund(100)
    await hours_later(bench, 7)
    await bench.rail.reconciliation.step()
    assert "bank" not in await bench.operator()


async def test_a_lost_refund_webhook_is_found(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    bench.stripe.refund(deposit.intent or "", 300)
    bench.events()
    await hours_later(bench, 2)
    await bench.rail.reconciliation.step()
    assert await bench.findings() == ["stripe_moved_unknown"]


async def test_a_fact_that_stripe_knows_nothing_of_shows_in_the_balance(bench: CardBench) -> None:
    leg = Leg(facts.STRIPE, facts.SUSPENSE, 700)
    await bench.money.ledger.fact(Fact("made:up", Code.ADJUSTMENT, (leg,), actor="test"))
    await bench.rail.reconciliation.step()
    assert await bench.findings() == []
    await hours_later(bench, 1)
    await bench.rail.reconciliation.step()
    assert await bench.findings() == ["stripe_balance_differs"]


async def test_two_workers_that_look_at_once_take_nothing_under_way_for_a_difference(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "")
    await bench.rail.reconciliation._compare_balance()
    await bench.money.books.advance(2)
    await bench.rail.reconciliation._compare_balance()
    await bench.tell()
    assert await bench.findings() == []


async def test_more_than_one_page_is_read_to_its_end(bench: CardBench) -> None:
    with bench.stripe.lock:
        for _ in range(230):
            bench.stripe.world.book("stripe_fee", -1, "")
    await bench.rail.reconciliation.step()
    assert (await bench.operator())["processor_fees"] == -230 * CENT
    assert bench.stripe.asked("GET /v1/balance_transactions") == 3


async def test_a_pass_that_breaks_off_is_made_up_for(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "")
    bench.events()
    await hours_later(bench)
    bench.stripe.fail("GET /v1/balance_transactions", Fault.UNAVAILABLE)
    with pytest.raises(CapacityError):
        await bench.rail.reconciliation.step()
    await bench.rail.reconciliation.step()
    assert (await bench.user(CONSUMER))["paid"] == 2000 * CENT
    assert (await bench.operator())["processor_fees"] == -88 * CENT


async def test_a_deposit_that_stripe_does_not_know_is_found(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    with bench.stripe.lock:
        del bench.stripe.world.objects["sessions"][deposit.checkout or ""]
    await hours_later(bench)
    await bench.rail.reconciliation.step()
    assert await bench.findings() == ["deposit_unknown_at_stripe"]
