"""Debts: what becomes available later repays them, and ends the freeze."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg, Refused, Take
from hushnet.coordinator.payments.debts import Repaid, repay, repay_from_earnings
from hushnet.foundation.errors import RequestError
from support.card_money import CENT, CardBench, card_bench
from support.control import network
from support.ledger import CONSUMER, PROVIDER
from support.money import OpenMoney
from support.network import hush
from support.stripe_fake import FakeStripe, running_stripe


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
async def bench(money: OpenMoney, served: FakeStripe) -> AsyncIterator[CardBench]:
    async with card_bench(money, served) as made:
        yield made


async def test_a_hold_that_is_released_repays_a_debt_made_meanwhile(bench: CardBench) -> None:
    money = bench.money
    deposit = await bench.paid(2000)
    await money.books.held(1500 * CENT)
    bench.stripe.dispute(deposit.intent or "", 2000)
    await bench.tell()
    assert await repay(money.store, money.clock) == 0, "all that is there is held"
    await money.books.advance(3600)
    assert await money.ledger.sweep() == 1
    assert await bench.user() == {"paid": 1500 * CENT, "frozen": 2000 * CENT, "owed": -1500 * CENT}
    await asyncio.gather(*(repay(money.store, money.clock) for _ in range(3)))
    assert await bench.user() == {"frozen": 2000 * CENT}
    assert await repay(money.store, money.clock) == 0
    await bench.paid(700)
    await money.books.held(700 * CENT)  # not frozen any more


async def test_a_repayment_that_is_refused_holds_up_nobody_else(bench: CardBench) -> None:
    money = bench.money
    money.is_bare = True  # debts without the disputes that would explain them
    for owner in (CONSUMER, PROVIDER):
        await money.ledger.fact(Fact(f"taken:{owner}", Code.DISPUTE, (Take(owner, 5),), actor="test", owner=owner))
        paid = Leg(operator_account(Kind.STRIPE), user_account(owner, Kind.PAID), 5)
        await money.ledger.fact(Fact(f"paid:{owner}", Code.ADJUSTMENT, (paid,), actor="test", owner=owner))
    first = max(CONSUMER, PROVIDER)  # debts are looked at from the newest account on
    hour = money.clock.now_ms() // 3_600_000
    cost = Leg(operator_account(Kind.GOODWILL_EXPENSE), operator_account(Kind.SUSPENSE), 1)
    await money.ledger.fact(Fact(f"repay:{first}:{hour}", Code.ADJUSTMENT, (cost,), actor="test"))

    assert await repay(money.store, money.clock) == 1

    assert (await bench.user(first), await bench.user(min(CONSUMER, PROVIDER))) == (
        {"paid": 5, "frozen": 5, "owed": -5},
        {"frozen": 5},
    )


async def owing(bench: CardBench, *, earnings: int) -> None:
    """The consumer owes 1500 cents, is frozen, and has earned something."""
    deposit = await bench.paid(2000)
    spent = Leg(user_account(CONSUMER, Kind.PAID), user_account(PROVIDER, Kind.EARNINGS), 1500 * CENT)
    await bench.money.ledger.fact(Fact("spent", Code.ADJUSTMENT, (spent,), actor="test"))
    bench.stripe.dispute(deposit.intent or "", 2000)
    await bench.tell()
    await bench.money.books.give(CONSUMER, earnings=earnings)


async def test_earnings_repay_what_their_owner_asks_and_the_end_of_the_debt_unfreezes(bench: CardBench) -> None:
    store, books = bench.money.store, bench.money.books
    await owing(bench, earnings=2000 * CENT)
    for _ in range(2):  # the same key again
        repaid = await repay_from_earnings(store, CONSUMER, most=900 * CENT, client_key="a")
        assert repaid == Repaid(paid=0, earnings=900 * CENT, debt=600 * CENT)
    with pytest.raises(RequestError) as refused:
        await repay_from_earnings(store, CONSUMER, most=901 * CENT, client_key="a")
    assert refused.value.error_code == "conflict"
    assert isinstance((await books.hold(1))[1], Refused)
    asked = (repay_from_earnings(store, CONSUMER, most=10**15, client_key="b") for _ in range(3))
    assert set(await asyncio.gather(*asked)) == {Repaid(paid=0, earnings=600 * CENT, debt=0)}
    assert await bench.user() == {"earnings": 500 * CENT, "frozen": 2000 * CENT}
    await books.held(500 * CENT)  # not frozen any more
    with pytest.raises(RequestError) as refused:
        await repay_from_earnings(store, CONSUMER, most=1, client_key="c")
    assert refused.value.error_code == "no_debt"
    assert await repay_from_earnings(store, CONSUMER, most=900 * CENT, client_key="a") == Repaid(0, 900 * CENT, 0)


async def test_what_is_held_of_earnings_repays_nothing(bench: CardBench) -> None:
    await bench.money.books.give(CONSUMER, earnings=700 * CENT)
    await bench.money.books.held(700 * CENT)
    await owing(bench, earnings=1)
    assert await repay_from_earnings(bench.money.store, CONSUMER, most=10**15, client_key="a") == Repaid(
        paid=0, earnings=1, debt=1500 * CENT - 1
    )
    with pytest.raises(RequestError) as refused:
        await repay_from_earnings(bench.money.store, CONSUMER, most=10**15, client_key="b")
    assert refused.value.error_code == "not_available"
    await bench.money.books.give(CONSUMER, earnings=2 * CENT)
    # A key of which nothing came may be used again.
    repaid = await repay_from_earnings(bench.money.store, CONSUMER, most=10**15, client_key="b")
    assert repaid.earnings == 2 * CENT


@pytest.mark.parametrize("most", [0, -1, 10**15 + 1])
async def test_an_amount_out_of_bounds_is_refused(bench: CardBench, most: int) -> None:
    with pytest.raises(RequestError):
        await repay_from_earnings(bench.money.store, CONSUMER, most=most, client_key="a")


async def test_a_debt_is_repaid_over_http_and_on_the_command_line(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        earnings = user_account(ann.id, Kind.EARNINGS)
        got = Leg(operator_account(Kind.GOODWILL_EXPENSE), earnings, 30_000_000)
        facts = (
            Fact("test:got", Code.ADJUSTMENT, (got,), actor="test", owner=ann.id),
            Fact(
                "test:took", Code.DISPUTE, (Take(ann.id, 20_000_000, has_earnings=False),), actor="test", owner=ann.id
            ),
        )
        await net.coordinator.money.store.transact(lambda tx: tx.post(*facts))
        path = "/v1/account/debt/repay"
        assert (await ann.http.post(path, json={})).json()["error"]["code"] == "wrong_type"
        asked = {"json": {"amount_usd": "5"}, "headers": {"idempotency-key": "k1"}}
        answers = [(await ann.http.post(path, **asked)).json() for _ in range(2)]
        assert answers[0] == answers[1] == {**answers[0], "object": "debt.repayment", "id": "k1"}
        assert (answers[0]["from_earnings_micro_usd"], answers[0]["debt_micro_usd"]) == (5_000_000, 15_000_000)
        other = await ann.http.post(path, json={"amount_usd": "6", "id": "k1"})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
        access = ("--base-url", net.coordinator.base_url, "--api-key", ann.key)
        done = await asyncio.to_thread(hush, tmp_path, "repay", *access, "--json")
        assert done.returncode == 0, done.stderr
        assert (json.loads(done.stdout)["from_earnings_micro_usd"], json.loads(done.stdout)["debt_micro_usd"]) == (
            15_000_000,
            0,
        )
        refused = await ann.http.post(path, json={"id": "k2"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "no_debt")
        assert (await net.public.post(path, json={"id": "k3"})).status_code == 401
        assert (await ann.http.get("/v1/balance")).json()["earnings_micro_usd"] == 10_000_000


async def test_earnings_repay_nothing_unasked(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    await bench.money.books.held(1500 * CENT, owner=CONSUMER)
    await bench.money.books.give(CONSUMER, earnings=900)
    bench.stripe.dispute(deposit.intent or "", 2000)
    await bench.tell()
    assert await repay(bench.money.store, bench.money.clock) == 0
    assert (await bench.user())["earnings"] == 900
