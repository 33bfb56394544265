"""Deposits by card, from the Checkout to the books: what Stripe tells, in any order, is applied once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from hushnet.coordinator.ledger.chart import Kind, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Held, Leg
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.calls import Refused, Sent, Unknown
from hushnet.coordinator.payments.deposits.callers import CheckoutCall
from hushnet.coordinator.payments.deposits.model import Deposit, DepositState, ReversalState
from hushnet.coordinator.payments.deposits.service import OPEN_MAX
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import Call, CallState, EventState, InboxEvent
from hushnet.coordinator.payments.stripe.events import ACCOUNT, StripeEvents
from hushnet.foundation.errors import AccessError, RequestError
from support.card_money import CENT, CardBench, card_bench
from support.ledger import CONSUMER, PROVIDER
from support.money import OpenMoney
from support.stripe_fake import FakeStripe, Fault, payments, running_stripe
from support.stripe_fake.webhooks import body_of


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
async def bench(money: OpenMoney, served: FakeStripe) -> AsyncIterator[CardBench]:
    async with card_bench(money, served) as made:
        yield made


async def spend(bench: CardBench, amount: int) -> None:
    """Let the consumer use up some of its money."""
    used = Leg(user_account(CONSUMER, Kind.PAID), user_account(PROVIDER, Kind.EARNINGS), amount)
    await bench.money.ledger.fact(Fact(f"spent:{amount}", Code.ADJUSTMENT, (used,), actor="test", owner=CONSUMER))


async def test_a_paid_checkout_is_credited_once(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    assert deposit.state is DepositState.OPEN
    assert deposit.url.startswith("https://")
    assert await bench.user() == {}
    bench.stripe.pay(deposit.checkout or "")
    await bench.tell()
    after = await bench.deposit(deposit.id)
    assert (after.state, after.reason) == (DepositState.PAID, "")
    assert await bench.user() == {"paid": 2000 * CENT}
    assert await bench.operator() == {"stripe": -2000 * CENT}


async def test_two_deliveries_of_one_payment_credit_once(bench: CardBench) -> None:
    deposit = await bench.ask(700)
    bench.stripe.pay(deposit.checkout or "")
    await bench.tell(times=3, shuffled=random.Random(1))
    assert await bench.user() == {"paid": 700 * CENT}


async def test_workers_that_apply_one_event_at_once_apply_it_once(bench: CardBench) -> None:
    deposit = await bench.ask(700)
    intent = bench.stripe.pay(deposit.checkout or "")
    bench.stripe.dispute(intent, 300)
    await bench.receive(bench.events())
    store, clock = bench.money.store, bench.money.clock
    others = [Inbox(store, clock, {ACCOUNT: StripeEvents(bench.rail.handlers)}) for _ in range(3)]
    await asyncio.gather(*(inbox.step() for inbox in (bench.inbox, *others)))
    await bench.settle()
    assert await bench.user() == {"paid": 400 * CENT, "frozen": 300 * CENT}


async def test_unpaid_deposits_of_one_owner_are_bounded(bench: CardBench) -> None:
    for _ in range(OPEN_MAX):
        await bench.ask(700)
    with pytest.raises(RequestError) as caught:
        await bench.ask(700)
    assert caught.value.error_code == "too_many_deposits"
    assert len(bench.stripe.world.objects["sessions"]) == OPEN_MAX


async def test_money_is_money_even_after_expired(bench: CardBench) -> None:
    deposit = await bench.ask(700)
    bench.stripe.pay(deposit.checkout or "", is_async=True)
    events = bench.events()
    bench.stripe.settle(deposit.checkout or "", is_paid=False)
    await bench.tell()
    assert (await bench.deposit(deposit.id)).state is DepositState.FAILED
    bench.stripe.settle(deposit.checkout or "", is_paid=True)
    await bench.receive(events)
    await bench.tell()
    assert (await bench.deposit(deposit.id)).state is DepositState.PAID
    assert await bench.user() == {"paid": 700 * CENT}


async def test_a_checkout_that_expires_leaves_nothing(bench: CardBench) -> None:
    deposit = await bench.ask()
    bench.stripe.expire(deposit.checkout or "")
    await bench.tell()
    assert (await bench.deposit(deposit.id)).state is DepositState.EXPIRED
    assert await bench.balances() == {}


@pytest.mark.parametrize(
    ("currency", "cents", "reason"),
    [("eur", 0, "wrong_currency"), ("", 1999, "wrong_amount"), ("", 2001, "wrong_amount")],
)
async def test_wrong_currency_or_amount_goes_to_suspense(
    bench: CardBench, currency: str, cents: int, reason: str
) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "", currency=currency, cents=cents)
    await bench.tell(times=2)
    after = await bench.deposit(deposit.id)
    assert (after.state, after.reason) == (DepositState.HELD, reason)
    amount = (cents or 2000) * CENT
    assert await bench.balances() == {(0, "stripe"): -amount, (0, "suspense"): amount}
    assert await bench.findings() == ["deposit_in_suspense"]


@pytest.mark.parametrize("is_held", [False, True])
async def test_very_many_refunds_that_one_event_tells_of_are_all_applied(bench: CardBench, is_held: bool) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "", cents=1999 if is_held else 0)
    await bench.tell()
    deposit = await bench.deposit(deposit.id)
    for _ in range(130):
        bench.stripe.refund(deposit.intent or "", 10)
    told = [event for event in bench.events() if event["type"] == "charge.refunded"]
    await bench.receive(told[-1:])
    await bench.settle()
    assert {event.state for event in await bench.money.all_of(InboxEvent)} <= {EventState.APPLIED, EventState.IGNORED}
    left = ((1999 if is_held else 2000) - 1300) * CENT
    place = (0, "suspense") if is_held else (CONSUMER, "paid")
    assert await bench.balances() == {place: left, (0, "stripe"): -left}
    assert (await bench.deposit(deposit.id)).refunded == (0 if is_held else 1300 * CENT)


async def test_refunds_of_a_payment_that_comes_while_they_are_applied_are_all_applied(
    bench: CardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part finds no payment yet, and another process applies it before the last."""
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "")
    for _ in range(20):
        bench.stripe.refund(bench.stripe.thing("sessions", deposit.checkout or "")["payment_intent"], 10)
    events = bench.events()
    await bench.receive([event for event in events if event["type"] == "charge.refunded"][-1:])
    (paid,) = (event for event in events if event["type"] == "checkout.session.completed")
    store, transact = bench.money.store, bench.money.store.transact

    async def then_paid(work: Callable[[Transaction], Any]) -> Any:
        monkeypatch.setattr(store, "transact", transact)
        verdict = await transact(work)
        handler, id_ = StripeEvents(bench.rail.handlers), paid["data"]["object"]["id"]
        row = InboxEvent(
            source=ACCOUNT,
            event=paid["id"],
            kind=paid["type"],
            subject=id_,
            body=body_of(paid),
            next_ms=0,
            received_ms=0,
        )
        prepared = await handler.prepare(row)
        await transact(lambda tx: handler.apply(tx, row, prepared))
        return verdict

    monkeypatch.setattr(store, "transact", then_paid)
    await bench.settle()
    assert (await bench.deposit(deposit.id)).refunded == 200 * CENT
    assert await bench.user() == {"paid": 1800 * CENT}


def unbook(bench: CardBench, intent: str) -> tuple[dict[str, Any], str]:
    """Let a charge have no balance transaction yet; return the charge, and the transaction that it will have."""
    charge = bench.stripe.thing("charges", bench.stripe.thing("payment_intents", intent)["latest_charge"])
    booked, charge["balance_transaction"] = charge["balance_transaction"], None
    return charge, booked


async def test_a_payment_in_another_currency_waits_until_its_amount_is_known(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "", currency="eur", cents=1900)
    charge, booked = unbook(bench, bench.stripe.thing("sessions", deposit.checkout or "")["payment_intent"])
    await bench.receive(bench.events())
    for _ in range(7):
        await bench.inbox.step()
        await bench.money.books.advance(600)
    assert await bench.balances() == {}
    assert (await bench.deposit(deposit.id)).state is DepositState.OPEN
    assert "amount_not_known_yet" in {event.error for event in await bench.money.all_of(InboxEvent)}
    charge["balance_transaction"] = booked
    bench.stripe.thing("balance_transactions", booked)["amount"] = 2090
    await bench.settle()
    assert (await bench.deposit(deposit.id)).state is DepositState.HELD
    assert await bench.operator() == {"stripe": -2090 * CENT, "suspense": 2090 * CENT}
    assert await bench.findings() == ["deposit_in_suspense"]


async def test_a_payment_that_is_kept_in_another_currency_is_a_finding_and_no_dollars(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "", currency="eur", cents=1900)
    charge, booked = unbook(bench, bench.stripe.thing("sessions", deposit.checkout or "")["payment_intent"])
    charge["balance_transaction"] = booked
    bench.stripe.thing("balance_transactions", booked)["currency"] = "eur"
    await bench.tell()
    assert (await bench.deposit(deposit.id)).state is DepositState.HELD
    assert await bench.balances() == {}
    assert await bench.findings() == ["deposit_in_suspense"]


async def test_a_dispute_of_a_payment_whose_amount_is_not_known_waits_too(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    bench.stripe.pay(deposit.checkout or "", currency="eur", cents=1900)
    intent = bench.stripe.thing("sessions", deposit.checkout or "")["payment_intent"]
    charge, booked = unbook(bench, intent)
    bench.events()  # what tells of the payment is lost
    bench.stripe.dispute(intent, 500)
    await bench.receive(bench.events())
    for _ in range(8):
        await bench.inbox.step()
        await bench.money.books.advance(600)
    assert await bench.balances() == {}
    charge["balance_transaction"] = booked
    await bench.settle()
    assert (await bench.deposit(deposit.id)).state is DepositState.HELD
    assert (await bench.operator())["suspense"] > 0


async def test_a_payment_for_another_owner_goes_to_suspense(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    session = bench.stripe.thing("sessions", deposit.checkout or "")
    session["metadata"]["hush_owner"] = session["_intent_metadata"]["hush_owner"] = str(PROVIDER)
    bench.stripe.pay(deposit.checkout or "")
    await bench.tell()
    assert (await bench.deposit(deposit.id)).reason == "wrong_owner"
    assert await bench.user(PROVIDER) == {}


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", "٣", "9" * 19, "9" * 30, str(1 << 63)])
async def test_an_id_that_is_none_of_ours_is_ignored(bench: CardBench, text: str) -> None:
    deposit = await bench.ask(2000)
    session = bench.stripe.thing("sessions", deposit.checkout or "")
    session["metadata"]["hush_deposit"] = session["_intent_metadata"]["hush_deposit"] = text
    bench.stripe.pay(deposit.checkout or "")
    await bench.tell()
    assert {event.state for event in await bench.money.all_of(InboxEvent)} == {EventState.IGNORED}


async def test_a_refund_with_a_strange_id_in_its_metadata_is_one_made_at_stripe(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    for text in ("9" * 19, "17"):
        refund = bench.stripe.refund(deposit.intent or "", 100)
        bench.stripe.thing("refunds", refund)["metadata"]["hush_refund"] = text
        for event in bench.stripe.world.events:
            if event["data"]["object"]["id"] == refund:
                event["data"]["object"]["metadata"]["hush_refund"] = text
    await bench.tell()
    assert await bench.user() == {"paid": 1800 * CENT}


async def test_a_payment_of_somebody_elses_business_is_ignored(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    session = bench.stripe.thing("sessions", deposit.checkout or "")
    session["metadata"], session["_intent_metadata"] = {}, {"order": "17"}
    intent = bench.stripe.pay(deposit.checkout or "")
    bench.stripe.refund(intent, 500)
    await bench.tell()
    assert await bench.balances() == {}
    events = await bench.money.all_of(InboxEvent)
    assert {event.state for event in events} == {EventState.IGNORED}


async def paid_again(bench: CardBench, deposit: Deposit) -> str:
    """Pay a paid deposit once more; return the second payment's intent."""
    with bench.stripe.lock:
        world, metadata = bench.stripe.world, bench.stripe.thing("payment_intents", deposit.intent or "")["metadata"]
        made = payments.new_intent(world, 2000, "usd", customer=None, method=None, metadata=metadata)
        payments.succeed_intent(world, made)
    return str(made["id"])


async def test_a_second_payment_of_one_deposit_goes_to_suspense(bench: CardBench) -> None:
    await paid_again(bench, await bench.paid(2000))
    await bench.tell()
    assert await bench.user() == {"paid": 2000 * CENT}
    assert (await bench.operator())["suspense"] == 2000 * CENT
    assert await bench.findings() == ["deposit_in_suspense"]


async def test_a_second_payment_is_taken_back_out_of_suspense_never_from_its_owner(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    second = await paid_again(bench, deposit)
    bench.stripe.refund(second, 500)
    bench.stripe.dispute(second, 1500)
    await bench.tell(times=2, shuffled=random.Random(4))
    assert await bench.user() == {"paid": 2000 * CENT}
    assert await bench.operator() == {"stripe": -500 * CENT, "processor_fees": -1500 * CENT}
    after = await bench.deposit(deposit.id)
    assert (after.refunded, after.disputed, await bench.reversals()) == (0, 0, [])


async def test_refund_dispute_and_async_events_are_applied(bench: CardBench) -> None:
    deposit = await bench.ask(3000)
    bench.stripe.pay(deposit.checkout or "", is_async=True)
    await bench.tell()
    assert (await bench.deposit(deposit.id)).state is DepositState.PROCESSING
    assert await bench.user() == {}
    bench.stripe.settle(deposit.checkout or "")
    await bench.tell()
    intent = (await bench.deposit(deposit.id)).intent or ""
    bench.stripe.refund(intent, 1000)
    await bench.tell()
    assert await bench.user() == {"paid": 2000 * CENT}
    bench.stripe.dispute(intent, 500)
    await bench.tell()
    assert await bench.user() == {"paid": 1500 * CENT, "frozen": 500 * CENT}
    after = await bench.deposit(deposit.id)
    assert (after.refunded, after.disputed) == (1000 * CENT, 500 * CENT)


async def test_a_refund_asked_here_is_set_aside_until_it_is_done(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    reversal, is_new = await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    assert is_new
    assert await bench.user() == {"paid": 1500 * CENT, "frozen": 500 * CENT}
    again, is_new = await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    assert (again.id, is_new) == (reversal.id, False)
    with pytest.raises(RequestError) as caught:
        await bench.rail.deposits.ask_refund(deposit.id, 501, client_key="r1", actor="key:a")
    assert caught.value.error_code == "conflict"
    await bench.settle()
    assert await bench.user() == {"paid": 1500 * CENT}
    await bench.tell(times=2)
    (row,) = await bench.reversals()
    assert row.state is ReversalState.FINAL
    assert bench.stripe.asked("POST /v1/refunds") == 1


async def test_a_refund_that_fails_later_is_the_owners_again(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    await bench.settle()
    (row,) = await bench.reversals()
    bench.stripe.end_refund(row.object or "", is_paid=False)
    await bench.tell(times=2, shuffled=random.Random(3))
    assert await bench.user() == {"paid": 2000 * CENT}
    assert (await bench.deposit(deposit.id)).refunded == 0


async def test_a_refund_that_stripe_refuses_is_put_back(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    bench.stripe.dispute(deposit.intent or "", 100)
    await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    await bench.settle()
    (row,) = await bench.reversals()
    assert row.state is ReversalState.BACK
    assert await bench.user() == {"paid": 2000 * CENT}


@pytest.mark.parametrize("is_told_first", [True, False])
async def test_a_refusal_of_a_refund_that_was_made_gives_nothing_back(bench: CardBench, is_told_first: bool) -> None:
    """The first try's answer is lost and the second is refused, say because the key may no longer refund."""
    deposit = await bench.paid(2000)
    await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    (call,) = [one for one in await bench.money.all_of(Call) if one.action == "refund"]
    caller = bench.rail.callers["stripe", "refund"]
    await caller.send(call)

    def refuse(tx: Transaction) -> None:
        caller.refused(tx, call, "refused_403")
        tx.rows(Call).save(replace(call, state=CallState.REFUSED))

    if is_told_first:
        await bench.receive(bench.events())
        await bench.inbox.step()
    await bench.money.store.transact(refuse)
    await bench.tell(times=2)
    assert await bench.user() == {"paid": 1500 * CENT}
    assert (await bench.deposit(deposit.id)).refunded == 500 * CENT


async def test_one_refund_id_at_once_for_two_deposits_is_one_refund(bench: CardBench) -> None:
    deposits = [await bench.paid(2000), await bench.paid(2000)]
    for n in range(5):
        asked = (bench.rail.deposits.ask_refund(one.id, 100, client_key=f"r{n}", actor="key:a") for one in deposits)
        told = await asyncio.gather(*asked, return_exceptions=True)
        (refused,) = [one for one in told if isinstance(one, BaseException)]
        assert isinstance(refused, RequestError)
        assert refused.error_code == "conflict"
    await bench.settle()
    await bench.tell()
    assert await bench.user() == {"paid": 3500 * CENT}
    assert bench.stripe.asked("POST /v1/refunds") == 5


async def test_money_that_is_spent_cannot_be_refunded_here(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    await spend(bench, 1900 * CENT)
    with pytest.raises(AccessError) as caught:
        await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    assert caught.value.error_code == "insufficient_funds"
    assert await bench.reversals() == []
    with pytest.raises(RequestError):
        await bench.rail.deposits.ask_refund(deposit.id, 2001, client_key="r2", actor="key:a")


async def test_a_dispute_won_makes_the_account_whole(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    await spend(bench, 1500 * CENT)
    dispute = bench.stripe.dispute(deposit.intent or "")
    await bench.tell()
    assert await bench.user() == {"frozen": 2000 * CENT, "owed": -1500 * CENT}
    assert await bench.operator() == {"disputed": -2000 * CENT, "processor_fees": -1500 * CENT, "stripe": 1500 * CENT}
    bench.stripe.end_dispute(dispute, "won")
    await bench.tell(times=2)
    assert await bench.user() == {"paid": 500 * CENT}
    assert "disputed" not in await bench.operator()


async def test_a_dispute_won_after_the_debt_was_repaid_gives_the_money_back(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    await spend(bench, 1500 * CENT)
    dispute = bench.stripe.dispute(deposit.intent or "")
    await bench.tell()
    await bench.paid(1500)
    assert await bench.user() == {"frozen": 2000 * CENT}
    bench.stripe.end_dispute(dispute, "won")
    await bench.tell()
    assert await bench.user() == {"paid": 2000 * CENT}


async def test_a_dispute_lost_leaves_the_debt(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    await spend(bench, 1500 * CENT)
    dispute = bench.stripe.dispute(deposit.intent or "")
    bench.stripe.end_dispute(dispute, "lost")
    await bench.tell(times=2, shuffled=random.Random(5))
    assert await bench.user() == {"owed": -1500 * CENT}
    (row,) = await bench.reversals()
    assert (row.state, row.from_paid, row.from_owed) == (ReversalState.FINAL, 500 * CENT, 1500 * CENT)


async def test_a_deposit_repays_debt_first(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    await spend(bench, 2000 * CENT)
    bench.stripe.refund(deposit.intent or "", 2000)
    await bench.tell()
    assert await bench.user() == {"owed": -2000 * CENT}
    _, outcome = await bench.money.books.hold(1)
    assert not isinstance(outcome, Held)
    await bench.paid(2500)
    assert await bench.user() == {"paid": 500 * CENT}
    _, outcome = await bench.money.books.hold(1)
    assert isinstance(outcome, Held)


async def test_what_was_lost_and_comes_back_waits_for_a_person(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    dispute = bench.stripe.dispute(deposit.intent or "")
    bench.stripe.end_dispute(dispute, "lost")
    await bench.tell()
    bench.stripe.end_dispute(dispute, "won")
    await bench.tell(times=2)
    assert await bench.user() == {}
    assert (await bench.operator())["suspense"] == 2000 * CENT
    assert await bench.findings() == ["reinstated_after_lost"]


async def test_a_warning_moves_no_money(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    dispute = bench.stripe.dispute(deposit.intent or "", is_warning=True)
    bench.stripe.end_dispute(dispute, "warning_closed")
    await bench.tell()
    assert await bench.user() == {"paid": 2000 * CENT}
    assert await bench.reversals() == []


async def test_a_lost_event_is_made_up_for_by_the_next_that_needs_it(bench: CardBench) -> None:
    """Of payment, dispute and its end only the last event arrives; the rest is read from Stripe's own record."""
    deposit = await bench.ask(2000)
    intent = bench.stripe.pay(deposit.checkout or "")
    dispute = bench.stripe.dispute(intent)
    bench.stripe.end_dispute(dispute, "lost")
    await bench.receive(bench.events()[-1:])
    await bench.settle()
    assert (await bench.deposit(deposit.id)).state is DepositState.PAID
    assert await bench.user() == {}
    assert "disputed" not in await bench.operator()
    (row,) = await bench.reversals()
    assert row.state is ReversalState.FINAL


async def test_a_refund_of_money_in_suspense_comes_out_of_suspense(bench: CardBench) -> None:
    deposit = await bench.ask(2000)
    intent = bench.stripe.pay(deposit.checkout or "", cents=1500)
    await bench.tell()
    bench.stripe.refund(intent, 1500)
    await bench.tell(times=2)
    assert await bench.balances() == {}


async def test_the_same_client_key_is_the_same_deposit(bench: CardBench) -> None:
    first = await bench.ask(2000)
    bench._keys -= 1
    assert (await bench.ask(2000)).id == first.id
    bench._keys -= 1
    with pytest.raises(RequestError) as caught:
        await bench.ask(2001)
    assert caught.value.error_code == "conflict"
    assert len(await bench.money.all_of(Deposit)) == 1
    assert bench.stripe.asked("POST /v1/checkout/sessions") == 1


@pytest.mark.parametrize("fault", [fault for fault in Fault if not fault.name.startswith("HANG")])
async def test_whatever_happens_to_the_call_one_checkout_is_used(bench: CardBench, fault: Fault) -> None:
    bench.stripe.fail("POST /v1/checkout/sessions", fault)
    deposit = await bench.ask(2000)
    assert deposit.state is DepositState.OPEN
    sessions = bench.stripe.world.objects["sessions"]
    assert deposit.checkout in sessions
    assert len(sessions) == 1
    bench.stripe.pay(deposit.checkout or "")
    await bench.tell()
    assert await bench.user() == {"paid": 2000 * CENT}


async def test_a_refusal_after_a_lost_answer_fails_no_checkout_that_was_made(
    bench: CardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The customer pays the Checkout of the first try; the second is refused, say because the key may no longer make any."""
    send = CheckoutCall.send

    async def lose(self: CheckoutCall, call: Call) -> Sent:
        monkeypatch.setattr(CheckoutCall, "send", refuse)
        await send(self, call)
        return Unknown("time_out")

    async def refuse(self: CheckoutCall, call: Call) -> Sent:
        return Refused("refused_403")

    monkeypatch.setattr(CheckoutCall, "send", lose)
    deposit = await bench.ask(2000)
    assert (deposit.state, deposit.url != "") == (DepositState.OPEN, True)
    assert list(bench.stripe.world.objects["sessions"]) == [deposit.checkout]


async def test_stored_500_leads_to_a_look_up(bench: CardBench) -> None:
    """The charge was made and Stripe answers 500, the same for ever: the charge is found and not made again."""
    bench.stripe.fail("POST /v1/refunds", Fault.ERROR_500_AFTER)
    deposit = await bench.paid(2000)
    await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    await bench.settle()
    (row,) = await bench.reversals()
    assert row.state is ReversalState.FINAL
    assert (bench.stripe.asked("POST /v1/refunds"), bench.stripe.asked("GET /v1/refunds")) == (3, 1)
    assert len(bench.stripe.world.objects["refunds"]) == 1
    assert await bench.user() == {"paid": 1500 * CENT}


async def test_a_stored_500_that_did_nothing_is_asked_again_under_another_key(bench: CardBench) -> None:
    bench.stripe.fail("POST /v1/refunds", Fault.ERROR_500_BEFORE)
    deposit = await bench.paid(2000)
    await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    await bench.settle()
    keys = [key for name, _, key in bench.stripe.requests if name == "POST /v1/refunds"]
    assert len(keys) == 4
    assert [key.rpartition("-")[2] for key in keys] == ["1", "1", "1", "2"]
    assert len(bench.stripe.world.objects["refunds"]) == 1
    assert await bench.user() == {"paid": 1500 * CENT}


async def test_a_23_hour_old_unknown_is_never_resent_blind(bench: CardBench) -> None:
    """Stripe forgets a key after a day: a call whose outcome is still unknown then is looked up, not sent."""
    deposit = await bench.paid(2000)
    bench.stripe.fail("POST /v1/refunds", Fault.DROP_AFTER)
    await bench.rail.deposits.ask_refund(deposit.id, 500, client_key="r1", actor="key:a")
    assert await bench.calls.step() == 1
    for _ in range(26):
        await bench.money.books.advance(3600)
    await bench.settle()
    assert bench.stripe.asked("POST /v1/refunds") == 1
    assert len(bench.stripe.world.objects["refunds"]) == 1
    (row,) = await bench.reversals()
    assert row.state is ReversalState.FINAL
