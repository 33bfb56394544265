"""Referrals: named once and in time, credited out of the fee, swept to earnings once a day, on both databases."""

from __future__ import annotations

import asyncio

import pytest

from hushnet.coordinator.accounts import ApiKey, Scope
from hushnet.coordinator.accounts.rules import digest_of, new_secret
from hushnet.coordinator.incentives.model import Referral
from hushnet.coordinator.incentives.referrals import DAY_MS, MARGIN_MS, Referrals
from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.ledger.prices import Terms
from hushnet.coordinator.storage.accounts import SqlAccountStore
from hushnet.coordinator.storage.money.referrals import SqlReferralShares
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ApiKeyId
from support.incentives import open_account, operator_balance, spend
from support.ledger import CONSUMER, REFERRER
from support.money import OpenMoney

TERMS = Terms(fee_bps=1_000, referral_bps=5_000)
"""Of a dollar ten cents are the fee, and five of them the referrer's."""


def referrals_of(money: OpenMoney) -> Referrals:
    assert money.books.database is not None
    return Referrals(money.store, SqlReferralShares(money.books.database))


async def refused(referrals: Referrals, owner: AccountId, code: str) -> str:
    with pytest.raises(RequestError) as caught:
        await referrals.name(owner, code)
    return caught.value.error_code


@pytest.fixture
async def referrals(money: OpenMoney) -> Referrals:
    await open_account(money, CONSUMER)
    await open_account(money, REFERRER)
    await money.books.give(CONSUMER, paid=1_000_000)
    return referrals_of(money)


async def end_of_day(money: OpenMoney, *, extra_ms: int = MARGIN_MS) -> None:
    now_ms = money.clock.now_ms()
    await money.books.advance((DAY_MS - now_ms % DAY_MS + extra_ms) / 1000)


async def test_a_code_is_made_once_and_names_its_account(money: OpenMoney, referrals: Referrals) -> None:
    code = (await referrals.standing(REFERRER)).code
    assert (await referrals.standing(REFERRER)).code == code
    assert await referrals.name(CONSUMER, f" {code.lower()} ")
    assert not await referrals.name(CONSUMER, code)
    assert await money.all_of(Referral) == [Referral(owner=CONSUMER, referrer=REFERRER, at_ms=money.clock.now_ms())]
    standing = await referrals.standing(REFERRER)
    assert (standing.referred, standing.has_referrer) == (1, False)
    assert (await referrals.standing(CONSUMER)).has_referrer


async def test_an_account_refers_neither_itself_nor_whoever_has_brought_it(
    money: OpenMoney, referrals: Referrals
) -> None:
    mine, theirs = (await referrals.standing(CONSUMER)).code, (await referrals.standing(REFERRER)).code
    assert await refused(referrals, CONSUMER, mine) == "referral_refused"
    await referrals.name(CONSUMER, theirs)
    assert await refused(referrals, REFERRER, mine) == "referral_refused"
    assert len(await money.all_of(Referral)) == 1


async def test_two_that_name_each_other_at_once_make_no_circle(money: OpenMoney, referrals: Referrals) -> None:
    mine, theirs = (await referrals.standing(CONSUMER)).code, (await referrals.standing(REFERRER)).code
    outcomes = await asyncio.gather(
        referrals.name(CONSUMER, theirs), referrals.name(REFERRER, mine), return_exceptions=True
    )
    assert sum(outcome is True for outcome in outcomes) == 1
    assert len(await money.all_of(Referral)) == 1


async def test_a_referrer_is_named_once_and_only_by_a_code_that_is_there(
    money: OpenMoney, referrals: Referrals
) -> None:
    other = await open_account(money, AccountId(90_001))
    await referrals.name(CONSUMER, (await referrals.standing(REFERRER)).code)
    assert await refused(referrals, CONSUMER, (await referrals.standing(other)).code) == "conflict"
    assert await refused(referrals, CONSUMER, "00000-00000") == "referral_not_found"
    assert await refused(referrals, CONSUMER, "x" * 500) == "referral_not_found"


async def test_an_account_that_has_paid_names_nobody(money: OpenMoney, referrals: Referrals) -> None:
    code = (await referrals.standing(REFERRER)).code
    await spend(money, CONSUMER, 10)
    assert await refused(referrals, CONSUMER, code) == "referral_too_late"


async def test_the_referrer_stands_in_the_look_up_of_every_key(money: OpenMoney, referrals: Referrals) -> None:
    assert money.books.database is not None
    accounts = SqlAccountStore(money.books.database)
    key = ApiKey(ApiKeyId(77), CONSUMER, Scope.USER, "k", digest_of(new_secret()), 1)
    await accounts.add_key(key, live_max=5)
    before = await accounts.key(key.id)
    await referrals.name(CONSUMER, (await referrals.standing(REFERRER)).code)
    after = await accounts.key(key.id)
    assert before is not None
    assert after is not None
    assert (before.referrer, after.referrer) == (None, REFERRER)


async def test_a_days_shares_become_earnings_once(money: OpenMoney, referrals: Referrals) -> None:
    for amount in (1_000, 3_000, 7):
        await spend(money, CONSUMER, amount, terms=TERMS, referrer=REFERRER)
    await spend(money, CONSUMER, 500, terms=TERMS)
    assert await operator_balance(money, Kind.REFERRAL_PAYABLE) == 50 + 150 + 0
    assert await referrals.sweep(money.clock.now_ms()) == 0
    await end_of_day(money, extra_ms=MARGIN_MS - 1)
    assert await referrals.sweep(money.clock.now_ms()) == 0
    await money.books.advance(0.001)
    assert await asyncio.gather(*(referrals.sweep(money.clock.now_ms()) for _ in range(3)))
    assert (await money.ledger.balance(REFERRER)).earnings == 200
    assert await operator_balance(money, Kind.REFERRAL_PAYABLE) == 0
    assert await referrals.sweep(money.clock.now_ms()) == 0


async def test_days_that_were_missed_are_swept_each_for_itself(money: OpenMoney, referrals: Referrals) -> None:
    await end_of_day(money)
    await referrals.sweep(money.clock.now_ms())
    for _ in range(3):
        await spend(money, CONSUMER, 1_000, terms=TERMS, referrer=REFERRER)
        await end_of_day(money)
    await end_of_day(money)
    assert await referrals.sweep(money.clock.now_ms()) == 3
    assert (await money.ledger.balance(REFERRER)).earnings == 150
    assert await operator_balance(money, Kind.REFERRAL_PAYABLE) == 0
