"""Promo credit: given once a key, spent first in first out, and taken back only as far as it was not spent."""

from __future__ import annotations

import asyncio

import pytest

from hushnet.coordinator.incentives import grants
from hushnet.coordinator.incentives.corrections import Corrections
from hushnet.coordinator.incentives.grants import Grants
from hushnet.coordinator.incentives.invites import Invites
from hushnet.coordinator.incentives.model import PromoGrant
from hushnet.coordinator.incentives.programmes import Programmes
from hushnet.coordinator.incentives.referrals import Referrals
from hushnet.coordinator.incentives.service import Incentives
from hushnet.coordinator.ledger.chart import Kind, operator_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.storage.money.referrals import SqlReferralShares
from hushnet.foundation.errors import RequestError
from support.incentives import AMPLE, open_account, operator_balance, spend
from support.ledger import CONSUMER, post
from support.money import OpenMoney

DAY_MS = 86_400_000


async def give(money: OpenMoney, amount: int, grant_id: str, *, days: int = 0) -> bool:
    ends_ms = money.clock.now_ms() + days * DAY_MS if days else None
    return await Grants(money.store, AMPLE).grant(CONSUMER, amount, grant_id=grant_id, actor="test", expires_ms=ends_ms)


async def promo(money: OpenMoney) -> int:
    return (await money.ledger.balance(CONSUMER)).promo


async def expired(money: OpenMoney) -> dict[str, int | None]:
    return {row.grant_key: row.expired for row in await money.all_of(PromoGrant)}


async def pass_days(money: OpenMoney, days: int) -> None:
    await money.books.advance(days * 86_400)
    await Grants(money.store, AMPLE).expire_due(money.clock.now_ms())


@pytest.fixture(autouse=True)
async def _account(money: OpenMoney) -> None:
    await open_account(money, CONSUMER)


async def test_a_grant_is_given_once_and_by_default_for_ever(money: OpenMoney) -> None:
    assert await give(money, 300, "a")
    assert not await give(money, 300, "a")
    await pass_days(money, 4_000)
    assert await promo(money) == 300
    assert await expired(money) == {"promo:a": None}


async def test_the_same_id_with_another_amount_or_end_is_a_conflict(money: OpenMoney) -> None:
    await give(money, 300, "a")
    for amount, days in ((301, 0), (300, 3)):
        with pytest.raises(RequestError) as caught:
            await give(money, amount, "a", days=days)
        assert caught.value.error_code == "conflict"
    assert await promo(money) == 300


async def test_many_at_once_give_it_once(money: OpenMoney) -> None:
    given = await asyncio.gather(*(give(money, 300, "a") for _ in range(8)))
    assert sum(given) == 1
    assert await promo(money) == 300


async def test_what_was_not_spent_is_taken_back_once(money: OpenMoney) -> None:
    await give(money, 300, "a", days=2)
    await spend(money, CONSUMER, 120, held=200)
    await pass_days(money, 1)
    assert await promo(money) == 180
    for _ in range(3):
        await pass_days(money, 1)
        assert await promo(money) == 0
    assert await expired(money) == {"promo:a": 180}
    assert await operator_balance(money, Kind.PROMO_EXPENSE) == -120


async def test_what_came_first_was_spent_first(money: OpenMoney) -> None:
    """A grant without an end is spent before a later one with an end: of that, all is left and all expires."""
    await give(money, 100, "old")
    await give(money, 50, "short", days=1)
    await spend(money, CONSUMER, 80)
    await pass_days(money, 2)
    assert await expired(money) == {"promo:old": None, "promo:short": 50}
    assert await promo(money) == 20


async def test_a_grant_that_was_spent_up_expires_without_touching_later_ones(money: OpenMoney) -> None:
    await give(money, 100, "first", days=1)
    await give(money, 70, "second", days=5)
    await spend(money, CONSUMER, 130)
    await pass_days(money, 2)
    assert await expired(money) == {"promo:first": 0, "promo:second": None}
    assert await promo(money) == 40
    await pass_days(money, 4)
    assert await expired(money) == {"promo:first": 0, "promo:second": 40}


async def test_credit_that_came_otherwise_is_never_taken_back(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, promo=500)
    await give(money, 100, "a", days=1)
    await spend(money, CONSUMER, 60)
    await pass_days(money, 2)
    assert await expired(money) == {"promo:a": 40}
    assert await promo(money) == 500


async def test_what_is_held_is_not_taken_back(money: OpenMoney) -> None:
    await give(money, 100, "a", days=1)
    await money.books.advance(2 * 86_400)
    hold, _ = await money.books.held(70)
    await Grants(money.store, AMPLE).expire_due(money.clock.now_ms())
    assert await expired(money) == {"promo:a": 30}
    assert await promo(money) == 70
    assert hold.amount == 70
    await money.books.advance(200)
    await money.ledger.sweep()


async def test_expiry_beside_spending_takes_no_more_than_is_left(money: OpenMoney) -> None:
    """Requests settle while grants expire, one after the other: what was spent and what was taken back make up the grants."""
    for number in range(6):
        await give(money, 100, f"g{number}", days=1 + number)
    holds = [await money.books.held(10) for _ in range(20)]

    async def settle() -> None:
        for hold, parts in holds:
            await asyncio.sleep(0)
            await money.ledger.close(post(hold, parts, 10))

    async def expire() -> None:
        for _ in range(6):
            await Grants(money.store, AMPLE).expire_due(money.clock.now_ms() + 7 * DAY_MS)

    await asyncio.gather(settle(), expire())
    await Grants(money.store, AMPLE).expire_due(money.clock.now_ms() + 7 * DAY_MS)
    taken = sum(amount or 0 for amount in (await expired(money)).values())
    assert taken + 200 + await promo(money) == 600
    assert await promo(money) >= 0


async def test_a_round_ends_however_many_grants_cannot_be_taken_back_and_reaches_the_others(
    money: OpenMoney, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys under which two of them would expire are taken: the ledger refuses them, whenever they are tried."""
    monkeypatch.setattr(grants, "DUE_AT_ONCE", 2)
    for name in "abcde":
        await give(money, 100, name, days=1)
    cost = Leg(operator_account(Kind.PROMO_EXPENSE), operator_account(Kind.SUSPENSE), 1)
    for name in "ab":
        await money.ledger.fact(Fact(f"promo:{name}:expired", Code.ADJUSTMENT, (cost,), actor="test"))
    await money.books.advance(2 * 86_400)
    store, clock = money.store, money.clock
    assert money.books.database is not None
    referrals = Referrals(store, SqlReferralShares(money.books.database))
    incentives = Incentives(
        grants=Grants(store, AMPLE),
        invites=Invites(store, clock, AMPLE),
        referrals=referrals,
        corrections=Corrections(store, AMPLE),
        programmes=Programmes(store, clock, ()),
        rewards=None,
        clock=clock,
    )
    async with asyncio.timeout(60):
        await incentives.round()
    assert await expired(money) == {"promo:a": None, "promo:b": None} | {f"promo:{name}": 100 for name in "cde"}


@pytest.mark.parametrize("amount", [0, -5, True, 10**15 + 1, 0.5])
async def test_an_amount_out_of_bounds_is_not_given(money: OpenMoney, amount: int) -> None:
    with pytest.raises(RequestError):
        await give(money, amount, "a")
    assert await money.all_of(PromoGrant) == []
