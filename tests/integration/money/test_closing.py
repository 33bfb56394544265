"""Closing an account for good: with nothing under way, once, in one transaction, and what comes later is not lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.chart import OF_USERS, Kind, operator_account, user_account
from hushnet.coordinator.ledger.faults import APPLY_AFTER_COMMIT, APPLY_BEFORE_COMMIT
from hushnet.coordinator.ledger.model import AnyLeg, Closed, Code, Fact, Freeze, Leg, Posted, Refused, Take
from hushnet.coordinator.ledger.transaction import Rows
from hushnet.coordinator.payments.closing import LATE_FINDING, AccountRow, Closing, Closure
from hushnet.coordinator.payments.deposits.model import DepositState, ReversalState, StripeCustomer
from hushnet.coordinator.payments.deposits.topups import TopupWish
from hushnet.coordinator.payments.model import Call, CallState, Finding
from hushnet.coordinator.payments.payouts.model import PayoutPlan, Period
from hushnet.foundation.errors import AccessError, HushnetError, RequestError
from support import closing_victim
from support.card_money import CENT, CardBench, card_bench
from support.incentives import open_account, operator_balance
from support.ledger import CONSUMER, PROVIDER, database_url, post
from support.money import OpenMoney, open_money
from support.stripe_fake import FakeStripe, Fault, running_stripe

PAID, EARNINGS, IN_TRANSIT = (user_account(CONSUMER, kind) for kind in (Kind.PAID, Kind.EARNINGS, Kind.IN_TRANSIT))
STRIPE = operator_account(Kind.STRIPE)


@pytest.fixture
async def closing(money: OpenMoney) -> Closing:
    await open_account(money, CONSUMER)
    return Closing(money.store, wake=lambda: None)


async def close(closing: Closing, *, gives_up: int = 0) -> Closure:
    return await closing.close(CONSUMER, gives_up=gives_up, actor="key:1")


async def refused(closing: Closing, *, gives_up: int = 0) -> str:
    with pytest.raises(HushnetError) as caught:
        await close(closing, gives_up=gives_up)
    assert caught.value.hint
    return caught.value.error_code


async def post_legs(money: OpenMoney, *legs: AnyLeg) -> None:
    fact = Fact(f"test:{money.ledger.next_request_id()}", Code.ADJUSTMENT, legs, actor="test", owner=CONSUMER)
    assert await money.ledger.fact(fact) == Posted()


async def account(money: OpenMoney) -> AccountRow:
    found = await money.store.read(lambda view: view.rows(AccountRow).get(CONSUMER))
    assert found is not None
    return found


async def left(money: OpenMoney) -> tuple[int, int, int]:
    balance = await money.ledger.balance(CONSUMER)
    return balance.promo, balance.paid, balance.earnings


async def test_an_account_is_closed_with_its_row_its_plan_and_its_money(money: OpenMoney, closing: Closing) -> None:
    await money.books.give(CONSUMER, promo=7, paid=50, earnings=20)
    plan = PayoutPlan(CONSUMER, Period.WEEKLY, CENT, None, 1, "", 1)
    await money.store.transact(lambda tx: tx.rows(PayoutPlan).add(plan))

    assert await close(closing, gives_up=70) == Closure(promo=7, paid=50, earnings=20)

    assert (await account(money)).closed_ms == money.clock.now_ms()
    assert await left(money) == (0, 0, 0)
    assert await operator_balance(money, Kind.UNCLAIMED) == 70
    assert await operator_balance(money, Kind.PROMO_EXPENSE) == 0
    assert await money.all_of(PayoutPlan) == []
    assert await closing.is_closed(CONSUMER)
    assert (await money.books.hold(1))[1] == Refused()


@pytest.mark.parametrize("obstacle", ["hold", "payout", "freeze", "refund", "debt", "money", "nobody"])
async def test_an_account_with_something_under_way_stays_open(
    money: OpenMoney, closing: Closing, obstacle: str
) -> None:
    await money.books.give(CONSUMER, promo=9, paid=50, earnings=20)
    money.is_bare = obstacle in ("payout", "refund")
    code = "account_not_closable"
    match obstacle:
        case "hold":
            await money.books.held(5)
        case "payout":
            await post_legs(money, Leg(EARNINGS, IN_TRANSIT, 20))
        case "freeze":
            await post_legs(money, Freeze(CONSUMER))
        case "refund":
            await post_legs(money, Leg(PAID, user_account(CONSUMER, Kind.FROZEN), 10))
        case "debt":
            await post_legs(money, Take(CONSUMER, 90), Leg(user_account(CONSUMER, Kind.FROZEN), STRIPE, 90))
        case "money":
            await money.books.give(CONSUMER, earnings=1)
            code = "account_not_empty"
        case "nobody":
            code = "account_not_found"
            with pytest.raises(RequestError) as caught:
                await closing.close(PROVIDER, gives_up=0, actor="key:1")
            assert caught.value.error_code == code
            return
    before = await left(money)

    assert await refused(closing, gives_up=70) == code

    assert (await account(money)).closed_ms is None
    assert await left(money) == before
    assert not await closing.is_closed(CONSUMER)


async def test_money_is_given_up_only_as_far_as_its_owner_says(money: OpenMoney, closing: Closing) -> None:
    await money.books.give(CONSUMER, promo=100, paid=50)
    assert [await refused(closing, gives_up=amount) for amount in (0, 49)] == ["account_not_empty"] * 2
    assert await close(closing, gives_up=50) == Closure(promo=100, paid=50)


async def test_closing_twice_and_at_once_moves_the_money_once(money: OpenMoney, closing: Closing) -> None:
    await money.books.give(CONSUMER, promo=7, paid=50)
    others = [Closing(money.store, wake=lambda: None) for _ in range(3)]

    closures = await asyncio.gather(*(close(each, gives_up=50) for each in (closing, *others)))

    assert sorted(each.paid for each in closures) == [0, 0, 0, 50]
    assert await close(closing) == Closure()
    assert await operator_balance(money, Kind.UNCLAIMED) == 50


async def test_a_hold_and_a_closing_at_once_leave_one_of_them(money: OpenMoney, closing: Closing) -> None:
    await money.books.give(CONSUMER, paid=50)

    async def tried() -> str:
        try:
            await close(closing, gives_up=50)
        except RequestError as error:
            return error.error_code
        return "closed"

    (_, held), outcome = await asyncio.gather(money.books.hold(50), tried())

    is_held = held != Refused()
    assert outcome == ("account_not_closable" if is_held else "closed")
    assert await left(money) == ((0, 50, 0) if is_held else (0, 0, 0))


async def test_money_that_comes_later_is_found_and_moved_by_closing_again(money: OpenMoney, closing: Closing) -> None:
    await money.books.give(PROVIDER, promo=90)
    first, held = await money.books.held(30, owner=PROVIDER)
    second, held_too = await money.books.held(60, owner=PROVIDER)
    await close(closing)
    assert await closing.look() == 0

    assert await money.ledger.close(post(first, held, 30, provider=CONSUMER)) == Closed(30)
    assert [await closing.look() for _ in range(2)] == [1, 1]
    (finding,) = await money.all_of(Finding)
    assert (finding.kind, finding.subject) == (LATE_FINDING, f"account:{CONSUMER}")
    assert await refused(closing, gives_up=29) == "account_not_empty"
    assert await close(closing, gives_up=30) == Closure(earnings=30)
    assert await close(closing) == Closure()
    assert await money.ledger.close(post(second, held_too, 60, provider=CONSUMER)) == Closed(60)
    assert await close(closing, gives_up=60) == Closure(earnings=60)

    assert await operator_balance(money, Kind.UNCLAIMED) == 90
    assert await closing.look() == 0


async def test_a_barred_account_is_reopened_and_a_closed_one_is_not(money: OpenMoney, closing: Closing) -> None:
    await money.store.transact(lambda tx: _bar(tx.rows(AccountRow)))
    await closing.reopen(CONSUMER)
    assert (await account(money)).closed_ms is None
    await money.store.transact(lambda tx: _bar(tx.rows(AccountRow)))
    await close(closing)
    assert (await account(money)).closed_ms == 5

    with pytest.raises(AccessError) as caught:
        await closing.reopen(CONSUMER)
    assert caught.value.error_code == "account_closed"
    with pytest.raises(RequestError) as unknown:
        await closing.reopen(PROVIDER)
    assert unknown.value.error_code == "account_not_found"


def _bar(rows: Rows[AccountRow]) -> None:
    found = rows.get(CONSUMER)
    assert found is not None
    rows.save(replace(found, closed_ms=5))


# With cards.


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
async def bench(money: OpenMoney, served: FakeStripe, closing: Closing) -> AsyncIterator[CardBench]:
    """An owner with 20 dollars and a saved card that tops up."""
    assert closing
    async with card_bench(money, served) as made:
        yield made


async def test_a_refund_comes_first_and_then_the_card_is_forgotten(bench: CardBench, closing: Closing) -> None:
    deposit = await bench.paid(2000, saves_card=True)
    await bench.rail.topups.turn_on(CONSUMER, TopupWish(below=500 * CENT, cents=1000, daily_cents=3000))
    assert await refused(closing) == "account_not_empty"
    await bench.rail.deposits.ask_refund(deposit.id, 2000, client_key="all", actor="key:1")
    assert await refused(closing) == "account_not_closable"
    await bench.settle()
    await bench.tell()
    assert [one.state for one in await bench.reversals()] == [ReversalState.FINAL]

    assert await close(closing) == Closure()

    (customer,) = await bench.money.all_of(StripeCustomer)
    assert (customer.method, customer.topup_on) == (None, False)
    assert await bench.rail.topups.step() == 0
    await bench.settle()
    (detach,) = [call for call in await bench.money.all_of(Call) if call.action == "detach"]
    assert detach.state is CallState.DONE


async def test_a_card_that_is_being_charged_keeps_its_account_open(bench: CardBench, closing: Closing) -> None:
    """Stripe is down, so the charge waits: it must not be made once its owner has closed the account."""
    await bench.paid(2000, saves_card=True)
    await bench.rail.topups.turn_on(CONSUMER, TopupWish(below=5000 * CENT, cents=1000, daily_cents=3000))
    bench.stripe.fail("POST /v1/payment_intents", Fault.DROP_BEFORE)
    assert await bench.rail.topups.step() == 1
    await bench.calls.step()
    assert await refused(closing, gives_up=3000 * CENT) == "account_not_closable"
    assert (await account(bench.money)).closed_ms is None
    (customer,) = await bench.money.all_of(StripeCustomer)
    assert customer.topup_on
    await bench.settle()
    await bench.tell()
    assert await close(closing, gives_up=3000 * CENT) == Closure(paid=3000 * CENT)
    await bench.settle()
    assert bench.stripe.asked("POST /v1/payment_intents") == 2


async def test_a_deposit_paid_after_the_closure_can_still_be_refunded(bench: CardBench, closing: Closing) -> None:
    deposit = await bench.ask(2000)
    await close(closing)
    assert deposit.checkout is not None
    bench.stripe.pay(deposit.checkout)
    await bench.tell()

    assert (await bench.deposit(deposit.id)).state is DepositState.PAID
    assert await bench.user() == {"paid": 2000 * CENT}
    assert await closing.look() == 1
    await bench.rail.deposits.ask_refund(deposit.id, 2000, client_key="late", actor="key:1")
    await bench.settle()
    await bench.tell()
    assert await bench.user() == {}
    assert await closing.look() == 0


# With a process that dies.


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("point", [APPLY_BEFORE_COMMIT, APPLY_AFTER_COMMIT])
async def test_a_closing_that_dies_happened_or_did_not(kind: str, point: str, tmp_path: Path) -> None:
    victim = closing_victim
    whole = victim.PROMO, victim.PAID, victim.EARNINGS
    with database_url(kind, tmp_path) as url:
        async with open_money(url) as money:
            await open_account(money, victim.OWNER)
            await money.books.give(victim.OWNER, promo=victim.PROMO, paid=victim.PAID, earnings=victim.EARNINGS)
        tests = str(Path(victim.__file__).parent.parent)
        paths = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": paths, "HUSH_FAULT": f"{point}:kill"}
        arguments = [sys.executable, victim.__file__, url]
        died = await asyncio.to_thread(subprocess.run, arguments, env=environment, check=False, timeout=300)
        assert died.returncode == -signal.SIGKILL
        async with open_money(url) as money:
            is_closed = point == APPLY_AFTER_COMMIT
            assert await left(money) == ((0, 0, 0) if is_closed else whole)
            assert ((await account(money)).closed_ms is not None) is is_closed
            again = await close(Closing(money.store, wake=lambda: None), gives_up=victim.PAID + victim.EARNINGS)
            assert again == (Closure() if is_closed else Closure(*whole))
            assert await operator_balance(money, Kind.UNCLAIMED) == victim.PAID + victim.EARNINGS
            states, _ = await money.books.store.accounts_of(victim.OWNER, earned_since_ms=0)
            assert {Kind(id_ & 15) for id_, state in states.items() if state.is_closed} == set(OF_USERS)
