"""Credits for bad service and adjustments by hand: bounded, once each, the larger ones by two people, on both databases."""

from __future__ import annotations

import asyncio

import pytest

from hushnet.coordinator.incentives.corrections import Corrections, Wish
from hushnet.coordinator.incentives.model import Adjustment, AdjustmentState, ServiceCredit
from hushnet.coordinator.incentives.programmes import OneKey
from hushnet.coordinator.ledger.chart import Kind
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.foundation.ids import RequestId
from support.incentives import open_account, operator_balance, spend
from support.ledger import CONSUMER, PROVIDER
from support.money import OpenMoney

LIMIT = 1_000
DAY_LIMIT = 10_000
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_UUID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def wish(amount: int, *, actor: str = "key:1") -> Wish:
    return Wish(amount, "the answer was garbled", actor)


@pytest.fixture
async def corrections(money: OpenMoney) -> Corrections:
    await open_account(money, CONSUMER)
    return Corrections(money.store, OneKey(LIMIT, DAY_LIMIT))


async def mixed(money: OpenMoney) -> RequestId:
    """Let a request take 50 of promo, 30 of paid and 20 of earnings."""
    await money.books.give(CONSUMER, promo=50, paid=30, earnings=500)
    return (await spend(money, CONSUMER, 100)).id


async def buckets(money: OpenMoney) -> tuple[int, int, int]:
    balance = await money.ledger.balance(CONSUMER)
    return balance.promo, balance.paid, balance.earnings


async def refused(work: object) -> str:
    with pytest.raises((RequestError, AccessError)) as caught:
        await work  # type: ignore[misc] - a coroutine
    return caught.value.error_code


async def test_a_credit_goes_back_where_the_settlement_took_from_the_last_first(
    money: OpenMoney, corrections: Corrections
) -> None:
    request_id = await mixed(money)
    first, is_new = await corrections.credit(request_id, 1, wish(35))
    assert is_new
    assert (first.earnings, first.paid, first.promo) == (20, 15, 0)
    second, _ = await corrections.credit(request_id, 2, wish(40))
    assert (second.earnings, second.paid, second.promo) == (0, 15, 25)
    assert await buckets(money) == (25, 30, 500)
    assert await operator_balance(money, Kind.GOODWILL_EXPENSE) == -75


async def test_credits_never_give_back_more_than_the_request_cost(money: OpenMoney, corrections: Corrections) -> None:
    request_id = await mixed(money)
    outcomes = await asyncio.gather(
        *(corrections.credit(request_id, nth, wish(30)) for nth in range(1, 7)), return_exceptions=True
    )
    assert sum(isinstance(outcome, tuple) for outcome in outcomes) == 3
    assert sum(credit.amount for credit in await money.all_of(ServiceCredit)) == 90
    assert await refused(corrections.credit(request_id, 9, wish(11))) == "amount_out_of_bounds"
    await corrections.credit(request_id, 9, wish(10))
    assert await buckets(money) == (50, 30, 500)


async def test_the_same_credit_again_gives_nothing_more(money: OpenMoney, corrections: Corrections) -> None:
    request_id = await mixed(money)
    answers = [await corrections.credit(request_id, 1, wish(10)) for _ in range(3)]
    assert [is_new for _, is_new in answers] == [True, False, False]
    assert await refused(corrections.credit(request_id, 1, wish(11))) == "conflict"
    assert await refused(corrections.credit(request_id, 1, wish(10), is_provider_at_fault=True)) == "conflict"
    assert sum(await buckets(money)) == 490


async def test_a_provider_at_fault_returns_its_part_as_far_as_it_has_it(
    money: OpenMoney, corrections: Corrections
) -> None:
    request_id = await mixed(money)
    await corrections.credit(request_id, 1, wish(60), is_provider_at_fault=True)
    assert (await money.ledger.balance(PROVIDER)).earnings == 40
    await open_account(money, PROVIDER)
    await spend(money, PROVIDER, 25, provider=CONSUMER)
    await corrections.credit(request_id, 2, wish(40), is_provider_at_fault=True)
    assert (await money.ledger.balance(PROVIDER)).earnings == 0
    credits_ = await money.all_of(ServiceCredit)
    assert [credit.clawback for credit in credits_] == [60, 40]
    assert await operator_balance(money, Kind.GOODWILL_EXPENSE) == -100 + 60 + 15


async def test_a_request_that_cost_nothing_or_never_was_gets_no_credit(
    money: OpenMoney, corrections: Corrections
) -> None:
    assert await refused(corrections.credit(RequestId(2), 1, wish(1))) == "request_not_found"
    request_id = await mixed(money)
    for amount, nth in ((0, 1), (-1, 1), (1, 0), (1, 101)):
        assert await refused(corrections.credit(request_id, nth, wish(amount))) == "amount_out_of_bounds"


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
def test_a_correction_needs_a_reason(reason: str) -> None:
    with pytest.raises(RequestError):
        Wish(1, reason, "key:1")


@pytest.mark.parametrize("bucket", [Kind.PROMO, Kind.PAID, Kind.EARNINGS])
async def test_an_adjustment_moves_a_bucket_once(money: OpenMoney, corrections: Corrections, bucket: Kind) -> None:
    for _ in range(3):
        made = await corrections.adjust(UUID, CONSUMER, bucket, wish(700))
        assert made.state is AdjustmentState.POSTED
    await corrections.adjust(OTHER_UUID, CONSUMER, bucket, wish(-200))
    assert sum(await buckets(money)) == 500
    assert await operator_balance(money, Kind.GOODWILL_EXPENSE) == -500


async def test_an_adjustment_takes_no_more_than_there_is(money: OpenMoney, corrections: Corrections) -> None:
    await money.books.give(CONSUMER, paid=100)
    assert await refused(corrections.adjust(UUID, CONSUMER, Kind.PAID, wish(-101))) == "not_available"
    assert await money.all_of(Adjustment) == []
    assert await buckets(money) == (0, 100, 0)


async def test_an_adjustment_above_the_limit_waits_for_another_key(money: OpenMoney, corrections: Corrections) -> None:
    asked = await corrections.adjust(UUID, CONSUMER, Kind.PAID, wish(LIMIT + 1))
    assert asked.state is AdjustmentState.PENDING
    assert await corrections.adjustments(is_pending=True) == [asked]
    assert await refused(corrections.decide(UUID, actor="key:1", is_approved=True)) == "second_approver"
    assert sum(await buckets(money)) == 0
    made = await asyncio.gather(*(corrections.decide(UUID, actor="key:2", is_approved=True) for _ in range(4)))
    assert {each.state for each in made} == {AdjustmentState.POSTED}
    assert await buckets(money) == (0, LIMIT + 1, 0)
    assert await corrections.adjustments(is_pending=True) == []
    assert (await corrections.adjustments(is_pending=False))[0].approver == "key:2"


async def test_a_refused_adjustment_stays_refused(money: OpenMoney, corrections: Corrections) -> None:
    await corrections.adjust(UUID, CONSUMER, Kind.PAID, wish(-LIMIT - 1))
    await corrections.decide(UUID, actor="key:1", is_approved=False)
    assert await refused(corrections.decide(UUID, actor="key:2", is_approved=True)) == "conflict"
    assert (await corrections.adjust(UUID, CONSUMER, Kind.PAID, wish(-LIMIT - 1))).state is AdjustmentState.REFUSED
    assert await refused(corrections.decide(OTHER_UUID, actor="key:2", is_approved=True)) == "adjustment_not_found"
    assert await buckets(money) == (0, 0, 0)


async def test_an_approved_debit_that_is_no_longer_covered_stays_pending(
    money: OpenMoney, corrections: Corrections
) -> None:
    await money.books.give(CONSUMER, paid=5_000)
    await corrections.adjust(UUID, CONSUMER, Kind.PAID, wish(-4_000))
    await spend(money, CONSUMER, 1_500)
    assert await refused(corrections.decide(UUID, actor="key:2", is_approved=True)) == "not_available"
    assert len(await corrections.adjustments(is_pending=True)) == 1
    assert await buckets(money) == (0, 3_500, 0)


@pytest.mark.parametrize("uuid", ["", "x", UUID.upper(), f"{UUID}0", "../../etc"])
async def test_an_adjustment_is_named_by_a_uuid(money: OpenMoney, corrections: Corrections, uuid: str) -> None:
    assert await refused(corrections.adjust(uuid, CONSUMER, Kind.PAID, wish(5))) == "out_of_range"


async def test_one_uuid_is_one_adjustment(money: OpenMoney, corrections: Corrections) -> None:
    await corrections.adjust(UUID, CONSUMER, Kind.PAID, wish(5))
    assert await refused(corrections.adjust(UUID, CONSUMER, Kind.PAID, wish(6))) == "conflict"
    assert await refused(corrections.adjust(OTHER_UUID, PROVIDER, Kind.PAID, wish(5))) == "account_not_found"
    assert await buckets(money) == (0, 5, 0)
