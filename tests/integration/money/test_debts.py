"""Debts: what becomes available later repays them, and ends the freeze."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from hushnet.coordinator.payments.debts import repay
from support.card_money import CENT, CardBench, card_bench
from support.ledger import CONSUMER
from support.money import OpenMoney
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


async def test_earnings_repay_nothing_unasked(bench: CardBench) -> None:
    deposit = await bench.paid(2000)
    await bench.money.books.held(1500 * CENT, owner=CONSUMER)
    await bench.money.books.give(CONSUMER, earnings=900)
    bench.stripe.dispute(deposit.intent or "", 2000)
    await bench.tell()
    assert await repay(bench.money.store, bench.money.clock) == 0
    assert (await bench.user())["earnings"] == 900
