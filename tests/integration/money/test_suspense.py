"""Money that nobody could attribute goes to its owner once it is known: once, bounded, by two keys above the limit."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from hushnet.coordinator.incentives.corrections import Corrections, Wish
from hushnet.coordinator.incentives.model import Adjustment, AdjustmentState
from hushnet.coordinator.incentives.programmes import OneKey
from hushnet.coordinator.ledger.chart import Kind, operator_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg, Posted, Take
from hushnet.foundation.errors import HushnetError, RequestError
from support.incentives import open_account, operator_balance
from support.ledger import CONSUMER
from support.money import OpenMoney

LIMIT = 1_000
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
STRIPE, SUSPENSE = operator_account(Kind.STRIPE), operator_account(Kind.SUSPENSE)


async def post(money: OpenMoney, fact: Fact) -> None:
    assert isinstance(await money.ledger.fact(fact), Posted)


@pytest.fixture
async def corrections(money: OpenMoney) -> Corrections:
    await open_account(money, CONSUMER)
    await post(money, Fact("stripe:pi:1", Code.SUSPENSE, (Leg(STRIPE, SUSPENSE, 1_500),), actor="stripe"))
    return Corrections(money.store, OneKey(LIMIT, 100 * LIMIT))


def wish(amount: int, *, actor: str = "key:1") -> Wish:
    return Wish(amount, "the payer wrote to us", actor)


async def refused(work: object) -> str:
    with pytest.raises(HushnetError) as caught:
        await work  # type: ignore[misc] - a coroutine
    return caught.value.error_code


async def test_money_in_suspense_is_paid_to_its_owner_once(money: OpenMoney, corrections: Corrections) -> None:
    assert await corrections.in_suspense() == 1_500
    for _ in range(3):
        made = await corrections.attribute(UUID, CONSUMER, wish(600))
        assert made.state is AdjustmentState.POSTED
    assert (await money.ledger.balance(CONSUMER)).paid == 600
    assert await corrections.in_suspense() == await operator_balance(money, Kind.SUSPENSE) == 900
    assert await operator_balance(money, Kind.GOODWILL_EXPENSE) == 0


async def test_more_than_there_is_in_suspense_is_refused(money: OpenMoney, corrections: Corrections) -> None:
    await corrections.attribute(UUID, CONSUMER, wish(1_000))
    assert await refused(corrections.attribute(str(uuid4()), CONSUMER, wish(501))) == "not_available"
    assert len(await money.all_of(Adjustment)) == 1
    assert (await money.ledger.balance(CONSUMER)).paid == 1_000


async def test_two_at_once_do_not_give_the_same_money_twice(money: OpenMoney, corrections: Corrections) -> None:
    work = (corrections.attribute(str(uuid4()), CONSUMER, wish(400)) for _ in range(8))
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    assert sum(isinstance(outcome, Adjustment) for outcome in outcomes) == 3
    assert {error.error_code for error in outcomes if isinstance(error, RequestError)} == {"not_available"}
    assert await corrections.in_suspense() == 300


async def test_above_the_limit_another_key_approves_and_the_money_must_still_be_there(
    money: OpenMoney, corrections: Corrections
) -> None:
    asked = await corrections.attribute(UUID, CONSUMER, wish(1_200))
    assert asked.state is AdjustmentState.PENDING
    assert await refused(corrections.decide(UUID, actor="key:1", is_approved=True)) == "second_approver"
    await corrections.attribute(str(uuid4()), CONSUMER, wish(400))
    assert await refused(corrections.decide(UUID, actor="key:2", is_approved=True)) == "not_available"
    back = Fact("stripe:pi:2", Code.SUSPENSE, (Leg(STRIPE, SUSPENSE, 100),), actor="stripe")
    await post(money, back)
    made = await corrections.decide(UUID, actor="key:2", is_approved=True)
    assert (made.state, made.source) == (AdjustmentState.POSTED, Kind.SUSPENSE)
    assert (await money.ledger.balance(CONSUMER)).paid == 1_600
    assert await corrections.in_suspense() == 0


async def test_a_debt_is_repaid_first(money: OpenMoney, corrections: Corrections) -> None:
    money.is_bare = True  # a debt without the dispute that would explain it
    await post(money, Fact("test:debt", Code.DISPUTE, (Take(CONSUMER, 250),), actor="test", owner=CONSUMER))
    await corrections.attribute(UUID, CONSUMER, wish(600))
    assert (await money.ledger.balance(CONSUMER)).paid == 350


async def test_one_uuid_is_one_adjustment_whatever_its_source(money: OpenMoney, corrections: Corrections) -> None:
    await corrections.attribute(UUID, CONSUMER, wish(5))
    assert await refused(corrections.adjust(UUID, CONSUMER, Kind.PAID, wish(5))) == "conflict"
    for amount in (0, -5):
        assert await refused(corrections.attribute(str(uuid4()), CONSUMER, wish(amount))) == "amount_out_of_bounds"
    assert await corrections.in_suspense() == 1_495
