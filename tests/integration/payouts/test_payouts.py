"""A payout over Stripe from the request to the bank, and every way in which it does not get there."""

from __future__ import annotations

import asyncio
import random

import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.payments.calls import Refused, Sent, Unknown
from hushnet.coordinator.payments.model import Call, CallState
from hushnet.coordinator.payments.payouts import sweep
from hushnet.coordinator.payments.payouts.asking import PayoutRefusedError, Wish, WithdrawableError
from hushnet.coordinator.payments.payouts.model import Payout, PayoutState
from hushnet.coordinator.payments.payouts.service import Resolution
from hushnet.coordinator.payments.payouts.stripe_rail import TransferCall
from hushnet.foundation.errors import AccessError, HushnetError, RequestError
from hushnet.foundation.ids import AccountId
from support.ledger import PROVIDER
from support.payout_desk import DAY_S, EARNED, USD, Desk
from support.stripe_fake import Fault

S = PayoutState
TRANSFER, PAYOUT, REVERSAL = "POST /v1/transfers", "POST /v1/payouts", r"POST /v1/transfers/\w+/reversals"


async def sent(desk: Desk, *, instant: bool = False) -> Payout:
    """A payout that is in transit at Stripe."""
    await desk.provider()
    payout = await desk.ask(instant=instant)
    await desk.settle()
    payout = await desk.now(payout)
    assert payout.state is S.IN_TRANSIT
    return payout


@pytest.mark.parametrize("instant", [False, True])
async def test_a_payout_reaches_confirmed(desk: Desk, instant: bool) -> None:
    payout = await sent(desk, instant=instant)
    assert (payout.gross, payout.fee) == (25 * USD, 500_000 if instant else 0)
    await desk.pay_at_bank(payout, "paid")
    await desk.settle()
    assert (await desk.now(payout)).state is S.PAID
    assert await desk.is_paid(payout)
    assert await desk.findings() == []


async def test_a_refusal_after_a_lost_answer_returns_nothing_that_was_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.provider()
    payout = await desk.ask()
    send = TransferCall.send_wanted

    async def lose(self: TransferCall, call: Call) -> Sent:
        monkeypatch.setattr(TransferCall, "send_wanted", refuse)
        await send(self, call)
        return Unknown("time_out")

    async def refuse(self: TransferCall, call: Call) -> Sent:
        return Refused("refused_403")

    monkeypatch.setattr(TransferCall, "send_wanted", lose)
    await desk.worker.send_requested()
    await desk.calls.step()
    await desk.money.books.advance(30)
    await desk.calls.step()
    assert (await desk.now(payout)).state is S.LANDED
    await desk.settle()
    assert (await desk.now(payout)).state is S.IN_TRANSIT
    assert await desk.findings() == []


async def test_completing_twice_pays_once(desk: Desk) -> None:
    payout = await sent(desk)
    await desk.pay_at_bank(payout, "paid")
    await desk.settle(copies=3)
    await desk.tell_again(desk.told)
    assert await desk.is_paid(await desk.now(payout))
    assert desk.stripe.asked(TRANSFER) == desk.stripe.asked(PAYOUT) == 1


@pytest.mark.parametrize("status", ["failed", "canceled"])
async def test_a_failed_payout_is_returned_once_and_only_after_the_reversal(desk: Desk, status: str) -> None:
    payout = await sent(desk)
    await desk.pay_at_bank(payout, status)
    desk.stripe.fail(REVERSAL, Fault.DROP_BEFORE)
    await desk.deliver(copies=2)
    await desk.inbox.step()
    await desk.calls.step()
    assert (await desk.now(payout)).state is S.REVERSING
    assert (await desk.balances())["earnings"] == EARNED - payout.gross, "the money is still in the connected account"
    await desk.settle(copies=3)
    await desk.tell_again(desk.told)
    row = await desk.now(payout)
    assert (row.state, row.reason) == (
        S.RETURNED,
        f"failed:{'account_closed' if status == 'failed' else 'payout_canceled'}",
    )
    assert await desk.is_whole()


async def test_a_payout_that_fails_after_it_was_paid_is_put_right_beside_another(desk: Desk) -> None:
    payout = await sent(desk)
    await desk.pay_at_bank(payout, "paid")
    await desk.settle()
    other = await desk.ask(5 * USD, client="c2")
    await desk.settle()
    await desk.pay_at_bank(payout, "failed")
    await desk.deliver()
    await desk.inbox.step()
    assert [(await desk.now(one)).state for one in (payout, other)] == [S.REVERSING, S.IN_TRANSIT]
    assert await desk.worker.compare() == []
    await desk.settle()
    assert (await desk.now(payout)).state is S.RETURNED
    await desk.pay_at_bank(other, "paid")
    await desk.settle()
    assert (await desk.now(other)).state is S.PAID
    assert (await desk.balances())["earnings"] == EARNED - other.gross
    assert await desk.findings() == []


async def test_paid_then_failed_is_put_right(desk: Desk) -> None:
    payout = await sent(desk, instant=True)
    await desk.pay_at_bank(payout, "paid")
    await desk.settle()
    assert await desk.is_paid(payout)
    await desk.pay_at_bank(payout, "failed")
    await desk.settle()
    assert (await desk.now(payout)).state is S.RETURNED
    assert await desk.is_whole()


@pytest.mark.parametrize(
    "fault", [Fault.DROP_AFTER, Fault.DROP_BEFORE, Fault.UNAVAILABLE, Fault.IN_PROGRESS, Fault.RATE_LIMIT]
)
@pytest.mark.parametrize("call", [TRANSFER, PAYOUT])
async def test_a_lost_transfer_answer_is_retried_with_its_key(desk: Desk, fault: Fault, call: str) -> None:
    """The payout's answer likewise."""
    await desk.provider()
    desk.stripe.fail(call, fault, times=2)
    payout = await desk.ask()
    await desk.settle()
    keys = {key for name, _, key in desk.stripe.requests if name == call}
    assert keys == {f"hush-{'transfer' if call == TRANSFER else 'payout'}-{payout.id}-1"}
    assert (await desk.now(payout)).state is S.IN_TRANSIT
    assert len(desk.stripe.world.objects["transfers"]) == len(desk.stripe.world.objects["payouts"]) == 1


@pytest.mark.parametrize(("fault", "attempts"), [(Fault.ERROR_500_AFTER, 1), (Fault.ERROR_500_BEFORE, 2)])
@pytest.mark.parametrize("call", [TRANSFER, PAYOUT])
async def test_stored_500_leads_to_a_look_up(desk: Desk, call: str, fault: Fault, attempts: int) -> None:
    """Stripe replays a 500 for ever: its own lists say whether it was done; if not, it is done under another key."""
    await desk.provider()
    desk.stripe.fail(call, fault)
    payout = await desk.ask()
    await desk.settle()
    assert (await desk.now(payout)).state is S.IN_TRANSIT
    assert len(desk.stripe.world.objects["transfers"]) == len(desk.stripe.world.objects["payouts"]) == 1
    assert len({key for name, _, key in desk.stripe.requests if name == call}) == attempts


@pytest.mark.parametrize("behind_s", [-290, 5, 290])
@pytest.mark.parametrize("call", [TRANSFER, PAYOUT])
async def test_what_stripe_made_is_found_by_a_clock_that_differs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, call: str, behind_s: int
) -> None:
    monkeypatch.setattr(desk.stripe.world, "now_s", lambda: desk.clock.now_ms() // 1000 - behind_s)
    await desk.provider()
    desk.stripe.fail(call, Fault.ERROR_500_AFTER)
    payout = await desk.ask()
    for _ in range(20):  # nothing but the outbox says anything
        await desk.worker.send_requested()
        await desk.calls.step()
        await desk.money.books.advance(30)
    assert len({key for name, _, key in desk.stripe.requests if name == call}) == 1
    assert len(desk.stripe.world.objects["transfers"]) == len(desk.stripe.world.objects["payouts"]) == 1
    await desk.pay_at_bank(payout, "paid")
    await desk.settle()
    assert await desk.is_paid(payout)


async def test_a_23_hour_old_unknown_is_never_resent_blind(desk: Desk) -> None:
    """After a day Stripe has forgotten the key: the transfer is looked up by its group instead."""
    await desk.provider()
    desk.stripe.fail(TRANSFER, Fault.DROP_AFTER)
    payout = await desk.ask()
    await desk.worker.send_requested()
    await desk.calls.step()
    await desk.money.books.advance(DAY_S + 60)
    await desk.settle()
    assert desk.stripe.asked(TRANSFER) == 1
    assert desk.stripe.asked("GET /v1/transfers") == 1
    assert (await desk.now(payout)).state is S.IN_TRANSIT


async def test_a_refused_transfer_is_returned(desk: Desk) -> None:
    await desk.provider()
    desk.stripe.fund(-99_000)
    payout = await desk.ask()
    await desk.settle()
    row = await desk.now(payout)
    assert (row.state, row.reason) == (S.RETURNED, "refused:balance_insufficient")
    assert (await desk.balances())["earnings"] == EARNED


async def test_a_refused_payout_is_fetched_back_and_returned(desk: Desk) -> None:
    method = await desk.provider()
    desk.stripe.onboard(method.address, instant=False)
    payout = await desk.ask(instant=True)
    await desk.settle()
    row = await desk.now(payout)
    assert (row.state, row.reason) == (S.RETURNED, "refused:instant_payouts_unsupported")
    assert await desk.is_whole()


@pytest.mark.parametrize("word", [Resolution.RETRY, Resolution.RETURNED])
async def test_reversal_refused_goes_to_a_person(desk: Desk, word: Resolution) -> None:
    payout = await sent(desk)
    desk.stripe.world.is_transfer_reversible = False
    await desk.pay_at_bank(payout, "failed")
    await desk.settle()
    assert (await desk.now(payout)).state is S.STUCK
    (puzzle,) = await desk.payouts.puzzles()
    assert [finding.kind for finding in puzzle.findings] == ["payout_stuck"]
    assert (await desk.balances())["earnings"] == EARNED - payout.gross
    with pytest.raises(HushnetError):
        await desk.payouts.resolve(payout.id, Resolution.PAID, actor="operator:1")
    desk.stripe.world.is_transfer_reversible = True
    if word is Resolution.RETURNED:  # the person has reversed it in Stripe's dashboard
        desk.stripe.reverse(str(payout.transfer))
    await desk.payouts.resolve(payout.id, word, actor="operator:1")
    await desk.settle()
    assert (await desk.now(payout)).state is S.RETURNED
    assert await desk.is_whole()
    assert await desk.findings() == []
    assert await desk.payouts.puzzles() == []
    with pytest.raises(PayoutRefusedError):
        await desk.payouts.resolve(payout.id, word, actor="operator:1")


@pytest.mark.parametrize("word", [Resolution.RETRY, Resolution.RETURNED])
async def test_a_transfer_that_somebody_else_reversed_goes_to_a_person(desk: Desk, word: Resolution) -> None:
    payout = await sent(desk)
    desk.stripe.end_payout(str(payout.payout), "canceled")
    events = desk.stripe.pending()
    desk.stripe.reverse(str(payout.transfer))
    (reversed_,) = [event for event in desk.stripe.pending() if event not in events]
    await desk.receive(reversed_)  # and `payout.canceled` is late
    await desk.inbox.step()
    assert (await desk.now(payout)).state is S.STUCK
    assert (await desk.balances())["connect"] == 0
    await desk.payouts.resolve(payout.id, word, actor="operator:1")
    await desk.settle()
    assert (await desk.now(payout)).state is S.RETURNED
    assert await desk.is_whole()


async def test_pending_payouts_are_swept(desk: Desk) -> None:
    """The bank's word is lost: after seven days Stripe is asked."""
    payout = await sent(desk)
    await desk.pay_at_bank(payout, "paid")
    await desk.money.books.advance(6 * DAY_S)
    assert await desk.worker.ask_overdue() == 0
    await desk.money.books.advance(DAY_S)
    assert await desk.worker.ask_overdue() == 1
    assert (await desk.now(payout)).state is S.PAID
    assert await desk.is_paid(payout)


async def test_overdue_payouts_are_asked_about_page_by_page_and_one_that_fails_blocks_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_BATCH", 2)
    owners = [AccountId(PROVIDER + place) for place in range(5)]
    payouts = []
    for owner in owners:
        await desk.provider(owner)
        payouts.append(await desk.payouts.request(Wish(owner, "c1", 5 * USD)))
    await desk.settle()
    for payout in payouts:
        await desk.pay_at_bank(payout, "paid")
    # The key of the newest but one is taken by another fact: the ledger refuses it, pass after pass.
    legs = (Leg(operator_account(Kind.CONNECT), operator_account(Kind.SUSPENSE), 1),)
    key = f"payout:{payouts[3].id}:paid"
    await desk.money.ledger.fact(Fact(key, Code.ADJUSTMENT, legs, actor="test"))
    await desk.money.books.advance(8 * DAY_S)
    assert await desk.worker.ask_overdue() == 5
    states = [(await desk.now(payout)).state for payout in payouts]
    assert states == [S.PAID, S.PAID, S.PAID, S.IN_TRANSIT, S.PAID]
    assert await desk.findings() == ["payout_not_applied"]
    # Make the books whole again for the fixture.
    back = (Leg(operator_account(Kind.SUSPENSE), operator_account(Kind.CONNECT), 1),)
    await desk.money.ledger.fact(Fact("test:back", Code.ADJUSTMENT, back, actor="test"))


async def test_a_payout_is_swept_in_every_state_that_waits_for_stripe(desk: Desk) -> None:
    await desk.provider()
    payout = await desk.ask()
    await desk.worker.send_requested()
    desk.stripe.fail(TRANSFER, Fault.DROP_AFTER)
    await desk.calls.step()
    await desk.money.books.advance(8 * DAY_S)
    await desk.worker.ask_overdue()
    assert (await desk.now(payout)).state is S.LANDED
    desk.stripe.fail(PAYOUT, Fault.DROP_AFTER)
    await desk.calls.step()
    await desk.worker.ask_overdue()
    assert (await desk.now(payout)).state is S.IN_TRANSIT
    await desk.pay_at_bank(payout, "failed")
    await desk.worker.ask_overdue()
    desk.stripe.fail(REVERSAL, Fault.DROP_AFTER)
    await desk.calls.step()
    assert (await desk.now(payout)).state is S.REVERSING
    await desk.worker.ask_overdue()
    assert (await desk.now(payout)).state is S.RETURNED
    await desk.settle()
    assert await desk.is_whole()


async def test_a_requested_payout_can_be_cancelled_until_it_is_sent(desk: Desk) -> None:
    await desk.provider()
    payout = await desk.ask()
    assert (await desk.payouts.cancel(PROVIDER, payout.id)).state is S.CANCELLED
    assert (await desk.payouts.cancel(PROVIDER, payout.id)).state is S.CANCELLED
    await desk.settle()
    assert desk.stripe.asked(TRANSFER) == 0
    assert await desk.is_whole()
    again = await desk.ask(client="c2")
    await desk.settle()
    with pytest.raises(PayoutRefusedError):
        await desk.payouts.cancel(PROVIDER, again.id)


async def test_cancelling_and_sending_at_once_do_one_of_both(desk: Desk) -> None:
    await desk.provider()
    for n in range(4):
        payout = await desk.ask(USD, client=f"c{n}")
        results = await asyncio.gather(
            desk.payouts.cancel(PROVIDER, payout.id), desk.worker.send_requested(), return_exceptions=True
        )
        assert not [one for one in results if isinstance(one, Exception) and not isinstance(one, PayoutRefusedError)]
        await desk.settle()
        row = await desk.now(payout)
        is_cancelled = not isinstance(results[0], Exception)
        assert row.state is (S.CANCELLED if is_cancelled else S.IN_TRANSIT)
        if not is_cancelled:
            await desk.pay_at_bank(row, "failed")
            await desk.settle()
    assert await desk.is_whole()


async def test_two_payouts_at_once_have_one_effect(desk: Desk) -> None:
    await desk.provider()
    asked = await asyncio.gather(*(desk.ask(client=f"c{n}") for n in range(6)), return_exceptions=True)
    made = [one for one in asked if isinstance(one, Payout)]
    refused = [one for one in asked if isinstance(one, HushnetError)]
    assert (len(made), {one.error_code for one in refused}) == (1, {"payout_open"})
    await desk.settle()
    assert len(desk.stripe.world.objects["transfers"]) == 1
    assert (await desk.balances())["in_transit"] == 25 * USD


async def test_one_client_id_asks_once(desk: Desk) -> None:
    await desk.provider()
    asked = await asyncio.gather(*(desk.ask() for _ in range(6)))
    assert len({payout.id for payout in asked}) == 1
    with pytest.raises(RequestError) as caught:
        await desk.ask(26 * USD)
    assert caught.value.error_code == "conflict"
    await desk.settle()
    assert (await desk.ask()).state is S.IN_TRANSIT


async def test_only_mature_earnings_leave(desk: Desk) -> None:
    await desk.provider()
    await desk.money.books.give(PROVIDER, earnings=10 * USD, promo=USD, paid=USD)
    await desk.money.books.advance(DAY_S - 60)
    with pytest.raises(WithdrawableError):
        await desk.ask(EARNED + 10_000)
    payout = await desk.ask(None)
    assert payout.gross == EARNED
    assert (await desk.money.ledger.balance(PROVIDER)).withdrawable == 0
    await desk.payouts.cancel(PROVIDER, payout.id)
    await desk.money.books.advance(120)
    assert (await desk.ask(None, client="c2")).gross == EARNED + 10 * USD


async def test_everything_is_whole_cents_and_at_least_the_minimum(desk: Desk) -> None:
    await desk.provider(earnings=1_239_999)
    assert (await desk.ask(None)).gross == 1_230_000
    other = AccountId(PROVIDER + 1)
    await desk.provider(other, earnings=999_999)
    before = await desk.money.all_of(Payout)
    for gross in (None, 0, 999_999, -USD):
        with pytest.raises(HushnetError):
            await desk.payouts.request(Wish(other, "c1", gross))
    assert await desk.money.all_of(Payout) == before


async def test_held_earnings_do_not_leave(desk: Desk) -> None:
    await desk.provider()
    await desk.money.books.held(30 * USD, owner=PROVIDER)
    with pytest.raises(WithdrawableError):
        await desk.ask()
    assert (await desk.ask(None)).gross == 10 * USD


async def test_a_frozen_account_takes_nothing_out_and_gets_its_money_back_all_the_same(desk: Desk) -> None:
    payout = await sent(desk)
    await desk.money.books.set_closed(PROVIDER)
    await desk.pay_at_bank(payout, "failed")
    await desk.settle()
    assert await desk.is_whole()
    with pytest.raises(AccessError) as caught:
        await desk.ask(client="c2")
    assert caught.value.error_code == "account_frozen"
    assert await desk.is_whole()


async def test_a_call_that_nobody_waits_for_is_given_up_and_one_that_was_sent_is_looked_up(desk: Desk) -> None:
    """The transfer is reversed by somebody before the payout call was sent: it must not send other money."""
    await desk.provider()
    payout = await desk.ask()
    await desk.worker.send_requested()
    await desk.calls.step()
    payout = await desk.now(payout)
    assert payout.state is S.LANDED
    desk.stripe.reverse(str(payout.transfer))
    await desk.deliver()
    await desk.inbox.step()
    await desk.settle()
    assert desk.stripe.asked(PAYOUT) == 0
    states = {call.action: call.state for call in await desk.money.all_of(Call)}
    assert states == {"transfer": CallState.DONE, "payout": CallState.REFUSED}
    await desk.payouts.resolve(payout.id, Resolution.RETURNED, actor="operator:1")
    assert await desk.is_whole()


STORIES = [
    ("paid",),
    ("failed",),
    ("canceled",),
    ("in_transit", "paid"),
    ("paid", "failed"),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("story", STORIES, ids="-".join)
async def test_any_order_of_any_multiset_of_events_ends_in_the_same_books(
    desk: Desk, story: tuple[str, ...], seed: int
) -> None:
    """The bank's whole story is told late, each event up to three times, in any order, while calls go wrong."""
    order = random.Random(seed)
    await desk.provider()
    for call in (TRANSFER, PAYOUT, REVERSAL):
        desk.stripe.fail(call, order.choice([Fault.DROP_AFTER, Fault.DROP_BEFORE, Fault.UNAVAILABLE]))
    payout = await desk.ask(instant=True)
    for _ in range(100):
        await desk.worker.send_requested()
        await desk.calls.step()
        if desk.stripe.world.objects["payouts"]:
            break
        await desk.money.books.advance(60)
    for status in story:
        await desk.pay_at_bank(payout, status)
    await desk.settle(copies=order.randint(1, 3), order=order)
    row = await desk.now(payout)
    if story[-1] == "paid":
        assert row.state is S.PAID
        assert await desk.is_paid(row)
    else:
        assert row.state is S.RETURNED
        assert await desk.is_whole()
    told = [event for event in desk.told if event["type"] != "account.updated"]
    order.shuffle(told)
    await desk.tell_again(told)
    assert await desk.now(payout) == row
    assert await desk.findings() == []
