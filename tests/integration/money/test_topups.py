"""Automatic top-ups: one at a time, within the day's limit, and none after a decline until the owner acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import text

from hushnet.coordinator.ledger.chart import Kind, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.payments.deposits import topups as topups_module
from hushnet.coordinator.payments.deposits.model import Deposit, DepositState, Origin
from hushnet.coordinator.payments.deposits.topups import TopupWish
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId
from support.card_money import CENT, CardBench, card_bench
from support.ledger import CONSUMER, PROVIDER
from support.money import OpenMoney
from support.stripe_fake import FakeStripe, Fault, running_stripe

WISH = TopupWish(below=500 * CENT, cents=1000, daily_cents=3000)


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
async def bench(money: OpenMoney, served: FakeStripe) -> AsyncIterator[CardBench]:
    """An owner with 20 dollars and a saved card, to be topped up below 5 by 10, at most 30 a day."""
    async with card_bench(money, served) as made:
        await made.paid(2000, saves_card=True)
        await made.rail.topups.turn_on(CONSUMER, WISH)
        yield made


async def spend(bench: CardBench, cents: int, *, key: str = "spent") -> None:
    used = Leg(user_account(CONSUMER, Kind.PAID), user_account(PROVIDER, Kind.EARNINGS), cents * CENT)
    await bench.money.ledger.fact(Fact(key, Code.ADJUSTMENT, (used,), actor="test", owner=CONSUMER))


async def topups(bench: CardBench) -> list[Deposit]:
    return [one for one in await bench.money.all_of(Deposit) if one.origin is Origin.TOPUP]


async def test_a_balance_below_the_threshold_is_topped_up_once(bench: CardBench) -> None:
    assert await bench.rail.topups.step() == 0
    await spend(bench, 1501)
    assert [await bench.rail.topups.step() for _ in range(3)] == [1, 0, 0]
    await bench.settle()
    await bench.tell(times=2)
    (topup,) = await topups(bench)
    assert topup.state is DepositState.PAID
    assert (await bench.user())["paid"] == 1499 * CENT
    assert await bench.rail.topups.step() == 0


async def test_money_that_is_held_is_not_left_to_spend(bench: CardBench) -> None:
    await bench.money.books.held(1501 * CENT)
    assert await bench.rail.topups.step() == 1


async def test_the_card_of_a_closed_account_is_not_charged(bench: CardBench) -> None:
    database = bench.money.books.database
    assert database is not None
    closed = text("INSERT INTO accounts (id, name, created_ms, closed_ms) VALUES (:id, 'gone', 1, 2)")
    await database.write(lambda connection: connection.execute(closed, {"id": CONSUMER}))
    await spend(bench, 1900)
    assert (await bench.rail.topups.step(), await topups(bench)) == (0, [])


async def test_two_passes_at_once_charge_once(bench: CardBench) -> None:
    await spend(bench, 1900)
    assert sum(await asyncio.gather(*(bench.rail.topups.step() for _ in range(4)))) == 1


async def test_a_worker_that_looked_before_a_top_up_arrived_charges_nothing(
    bench: CardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spend(bench, 1900)

    async def while_another_worker_is_faster(work: partial[bool]) -> bool:
        monkeypatch.undo()
        assert await bench.rail.topups.step() == 1
        await bench.settle()
        return await bench.money.store.transact(work)

    monkeypatch.setattr(bench.money.store, "transact", while_another_worker_is_faster)
    assert await bench.rail.topups.step() == 0
    assert await bench.user() == {"paid": 1100 * CENT}


async def test_the_answer_alone_credits_without_any_event(bench: CardBench) -> None:
    await spend(bench, 1900)
    await bench.rail.topups.step()
    await bench.settle()
    assert (await bench.user())["paid"] == 1100 * CENT


async def test_the_days_limit_is_kept_and_ends_at_midnight(bench: CardBench) -> None:
    await spend(bench, 2000)
    for n in range(3):
        assert await bench.rail.topups.step() == 1
        await bench.settle()
        await spend(bench, 1000, key=f"again{n}")
    assert await bench.rail.topups.step() == 0
    for _ in range(25):
        await bench.money.books.advance(3600)
    assert await bench.rail.topups.step() == 1


async def test_a_day_has_at_most_so_many_top_ups_as_are_added_up(
    bench: CardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topups_module, "TOPUPS_A_DAY_MAX", 4)
    await spend(bench, 2000)
    await bench.rail.topups.turn_on(CONSUMER, TopupWish(below=100_000 * CENT, cents=1000, daily_cents=5000))
    begun = 0
    for _ in range(7):
        begun += await bench.rail.topups.step()
        await bench.settle()
    assert begun == 4
    assert await bench.user() == {"paid": 4000 * CENT}


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("insufficient_funds", "insufficient_funds"),
        ("authentication_required", "authentication_required"),
        ("do_not_honor", "card_declined"),
    ],
)
async def test_a_decline_stops_top_ups_until_the_owner_acts(bench: CardBench, reason: str, word: str) -> None:
    card = (await bench.rail.topups.customer(CONSUMER)).method or ""
    bench.stripe.decline(card, reason)
    await spend(bench, 2000)
    assert await bench.rail.topups.step() == 1
    await bench.settle()
    await bench.tell()
    (topup,) = await topups(bench)
    assert (topup.state, topup.reason) == (DepositState.FAILED, word)
    assert (await bench.rail.topups.customer(CONSUMER)).topup_halt == word
    assert await bench.rail.topups.step() == 0
    assert await bench.user() == {}
    bench.stripe.decline(card, "")
    await bench.rail.topups.turn_on(CONSUMER, WISH)
    assert await bench.rail.topups.step() == 1
    await bench.settle()
    assert await bench.user() == {"paid": 1000 * CENT}


async def test_a_new_card_lets_top_ups_go_on(bench: CardBench) -> None:
    old = (await bench.rail.topups.customer(CONSUMER)).method or ""
    bench.stripe.decline(old)
    await spend(bench, 2000)
    await bench.rail.topups.step()
    await bench.settle()
    await bench.money.books.advance(60)
    await bench.paid(600, saves_card=True)
    customer = await bench.rail.topups.customer(CONSUMER)
    assert (customer.topup_halt, customer.method != old) == ("", True)


async def test_an_older_payment_told_late_does_not_bring_its_card_back(bench: CardBench) -> None:
    first = await bench.ask(700, saves_card=True)
    bench.stripe.pay(first.checkout or "")
    late = bench.events()
    await bench.money.books.advance(60)
    await bench.paid(800, saves_card=True)
    newest = (await bench.rail.topups.customer(CONSUMER)).method
    await bench.receive(late)
    await bench.settle()
    assert (await bench.rail.topups.customer(CONSUMER)).method == newest


async def test_a_card_is_kept_only_when_its_owner_says_so(money: OpenMoney, served: FakeStripe) -> None:
    async with card_bench(money, served) as bench:
        await bench.paid(2000)
        with pytest.raises(RequestError) as caught:
            await bench.rail.topups.turn_on(CONSUMER, WISH)
        assert caught.value.error_code == "card_needed"


async def test_who_is_in_debt_or_frozen_is_not_charged(bench: CardBench) -> None:
    await spend(bench, 2000)
    (deposit,) = await bench.money.all_of(Deposit)
    bench.stripe.dispute(deposit.intent or "")
    await bench.tell()
    assert await bench.rail.topups.step() == 0


async def test_off_is_off(bench: CardBench) -> None:
    await bench.rail.topups.turn_off(CONSUMER)
    await spend(bench, 2000)
    assert await bench.rail.topups.step() == 0


@pytest.mark.parametrize("fault", [fault for fault in Fault if not fault.name.startswith("HANG")])
async def test_whatever_happens_to_the_call_the_card_is_charged_once(bench: CardBench, fault: Fault) -> None:
    bench.stripe.fail("POST /v1/payment_intents", fault)
    await spend(bench, 2000)
    await bench.rail.topups.step()
    await bench.settle()
    await bench.tell()
    assert await bench.user() == {"paid": 1000 * CENT}
    charges = [one for one in bench.stripe.world.objects["charges"].values() if one["amount"] == 1000]
    assert len(charges) == 1


async def test_every_owner_is_looked_at_whatever_their_number(bench: CardBench) -> None:
    customer = await bench.rail.topups.customer(CONSUMER)
    for n in range(120):
        owner = AccountId(200_000 + n)
        await bench.money.store.transact(lambda tx, o=owner: tx.rows(type(customer)).add(replace(customer, owner=o)))  # type: ignore[misc]
    assert await bench.rail.topups.step() == 120


async def test_a_forgotten_card_is_forgotten_at_stripe_too(bench: CardBench) -> None:
    card = (await bench.rail.topups.customer(CONSUMER)).method or ""
    await bench.rail.topups.forget_card(CONSUMER)
    await bench.rail.topups.forget_card(CONSUMER)
    await bench.settle()
    assert bench.stripe.thing("payment_methods", card)["customer"] is None
    assert bench.stripe.asked(f"POST /v1/payment_methods/{card}/detach") == 1
    await spend(bench, 2000)
    assert await bench.rail.topups.step() == 0
    with pytest.raises(RequestError):
        await bench.rail.topups.turn_on(CONSUMER, WISH)


async def test_a_card_that_stripe_has_forgotten_itself_is_not_asked_about_for_ever(bench: CardBench) -> None:
    card = (await bench.rail.topups.customer(CONSUMER)).method or ""
    bench.stripe.fail(f"POST /v1/payment_methods/{card}/detach", Fault.DROP_BEFORE)
    await bench.rail.topups.forget_card(CONSUMER)
    await bench.calls.step()
    del bench.stripe.world.objects["payment_methods"][card]
    await bench.settle()
    assert bench.stripe.asked(f"POST /v1/payment_methods/{card}/detach") == 2
