"""What one operator's key may give alone, at once and in a day, in every way of giving together; on both databases."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from hushnet.coordinator.incentives.corrections import Corrections, Wish
from hushnet.coordinator.incentives.grants import Grants
from hushnet.coordinator.incentives.invites import Invites
from hushnet.coordinator.incentives.model import Adjustment, AdjustmentState, Pool, ServiceCredit
from hushnet.coordinator.incentives.programmes import OneKey, Programmes, base_rewards
from hushnet.coordinator.ledger.chart import Kind
from hushnet.foundation.errors import HushnetError
from hushnet.foundation.ids import AccountId
from support.incentives import open_account, spend
from support.ledger import CONSUMER, PROVIDER
from support.money import OpenMoney

ONE_KEY = OneKey(limit=1_000, day_limit=2_500)
DAY_S = 86_400
HOUR_MS = 3_600_000
FRIEND = AccountId(PROVIDER + 1)


@pytest.fixture(autouse=True)
async def _accounts(money: OpenMoney) -> None:
    for owner in (CONSUMER, FRIEND):
        await open_account(money, owner)


async def refused(work: object) -> str:
    with pytest.raises(HushnetError) as caught:
        await work  # type: ignore[misc] - a coroutine
    return caught.value.error_code


async def grant(money: OpenMoney, amount: int, name: str) -> bool:
    return await Grants(money.store, ONE_KEY).grant(CONSUMER, amount, grant_id=name, actor="key:1")


async def adjust(money: OpenMoney, amount: int, uuid: str = "") -> Adjustment:
    wish = Wish(amount, "a mistake", "key:1")
    return await Corrections(money.store, ONE_KEY).adjust(uuid or str(uuid4()), CONSUMER, Kind.EARNINGS, wish)


async def given(money: OpenMoney) -> int:
    (standing,) = await Programmes(money.store, money.clock, [ONE_KEY.programme]).standings()
    return standing.spent


async def test_a_grant_above_the_limit_is_refused_and_an_adjustment_waits(money: OpenMoney) -> None:
    assert await refused(grant(money, ONE_KEY.limit + 1, "g")) == "second_approver"
    assert await grant(money, ONE_KEY.limit, "g")
    assert (await adjust(money, ONE_KEY.limit + 1)).state is AdjustmentState.PENDING
    balance = await money.ledger.balance(CONSUMER)
    assert (balance.promo, balance.earnings) == (ONE_KEY.limit, 0)


async def test_many_small_grants_do_not_add_up_beyond_the_days_limit(money: OpenMoney) -> None:
    outcomes = await asyncio.gather(*(grant(money, 900, f"g{n}") for n in range(8)), return_exceptions=True)
    assert sum(outcome is True for outcome in outcomes) == 2
    assert {error.error_code for error in outcomes if isinstance(error, HushnetError)} == {"second_approver"}
    assert (await money.ledger.balance(CONSUMER)).promo == await given(money) == 1_800
    assert await refused(grant(money, 701, "h")) == "second_approver"
    assert await grant(money, 700, "h")


async def test_many_small_adjustments_wait_for_a_second_key_once_the_day_is_full(money: OpenMoney) -> None:
    made = [await adjust(money, 1_000) for _ in range(3)]
    assert [each.state for each in made] == [AdjustmentState.POSTED] * 2 + [AdjustmentState.PENDING]
    corrections = Corrections(money.store, ONE_KEY)
    assert await refused(corrections.decide(made[2].id, actor="key:1", is_approved=True)) == "second_approver"
    assert (await money.ledger.balance(CONSUMER)).earnings == 2_000
    await corrections.decide(made[2].id, actor="key:2", is_approved=True)
    assert (await money.ledger.balance(CONSUMER)).earnings == 3_000
    assert await given(money) == 2_000, "what two keys give counts against neither"


async def test_every_way_of_giving_counts_together(money: OpenMoney) -> None:
    await money.books.give(CONSUMER, promo=50, paid=30, earnings=500)
    request = await spend(money, CONSUMER, 100)
    await Corrections(money.store, ONE_KEY).credit(request.id, 1, Wish(100, "garbled", "key:1"))
    invites = Invites(money.store, money.clock, ONE_KEY)
    ends_ms = money.clock.now_ms() + HOUR_MS
    code = (await invites.create(400, uses_max=5, expires_ms=ends_ms)).code.reveal()
    await invites.redeem(CONSUMER, code)
    assert (await invites.redeem(CONSUMER, code)).is_new is False
    await adjust(money, 1_000)
    await grant(money, 800, "g")
    assert await given(money) == 100 + 400 + 1_000 + 800
    assert await refused(invites.redeem(FRIEND, code)) == "insufficient_quota"
    other = await spend(money, CONSUMER, 300)
    credit = Corrections(money.store, ONE_KEY).credit(other.id, 1, Wish(201, "garbled", "key:1"))
    assert await refused(credit) == "second_approver"
    assert len(await money.all_of(ServiceCredit)) == 1


async def test_what_was_given_is_told_again_when_the_day_is_full(money: OpenMoney) -> None:
    name = str(uuid4())
    assert await grant(money, 1_000, "g")
    assert (await adjust(money, 1_000, name)).state is AdjustmentState.POSTED
    assert await grant(money, 500, "h")
    assert not await grant(money, 1_000, "g")
    assert (await adjust(money, 1_000, name)).state is AdjustmentState.POSTED
    assert await given(money) == ONE_KEY.day_limit


async def test_the_next_day_begins_anew(money: OpenMoney) -> None:
    for name in ("a", "b"):
        await grant(money, 1_000, name)
    assert await refused(grant(money, 1_000, "c")) == "second_approver"
    await money.books.advance(DAY_S)
    assert await given(money) == 0
    assert await grant(money, 1_000, "c")


async def test_what_is_taken_back_neither_counts_nor_makes_room(money: OpenMoney) -> None:
    await adjust(money, 1_000)
    await adjust(money, -1_000)
    await adjust(money, 1_000)
    assert await given(money) == 2_000
    assert (await adjust(money, 501)).state is AdjustmentState.PENDING


async def test_a_change_of_the_setting_counts_for_the_day_that_runs(money: OpenMoney) -> None:
    await grant(money, 1_000, "a")
    none = Grants(money.store, OneKey(1_000, 1_000))
    assert await refused(none.grant(CONSUMER, 1, grant_id="b", actor="key:1")) == "second_approver"
    assert await grant(money, 1, "b")
    (pool,) = await money.all_of(Pool)
    assert (pool.scope, pool.ceiling) == (4, ONE_KEY.day_limit)


async def test_an_invite_is_worth_no_more_than_one_key_gives_at_once(money: OpenMoney) -> None:
    invites, ends_ms = Invites(money.store, money.clock, ONE_KEY), money.clock.now_ms() + HOUR_MS
    assert await refused(invites.create(1_001, uses_max=1, expires_ms=ends_ms)) == "second_approver"


async def test_a_programme_that_was_never_used_has_given_nothing(money: OpenMoney) -> None:
    programmes = Programmes(money.store, money.clock, [ONE_KEY.programme, base_rewards(70)])
    shown = [(each.programme.name, each.programme.ceiling, each.spent) for each in await programmes.standings()]
    assert shown == [("one_key", 2_500, 0), ("base_rewards", 70, 0)]
