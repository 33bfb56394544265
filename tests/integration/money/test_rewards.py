"""Base rewards: worked out per epoch, posted once a machine, inside the monthly pool, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from hushnet.coordinator.incentives.model import RewardDue
from hushnet.coordinator.incentives.programmes import month_start_ms
from hushnet.coordinator.incentives.rewards import Rewards, RewardTerms
from hushnet.coordinator.incentives.rewards.attendance import Attended, Epoch, Present
from hushnet.coordinator.incentives.rewards.payer import LOOK_S
from hushnet.coordinator.incentives.rewards.rules import EPOCH_MS, EPOCHS_A_MONTH
from hushnet.coordinator.ledger.chart import Kind
from hushnet.foundation.ids import AccountId, ProviderId
from support.incentives import operator_balance
from support.ledger import PROVIDER
from support.money import OpenMoney

GIB = 1 << 30
FLOORS = ((24, 100 * EPOCHS_A_MONTH), (64, 300 * EPOCHS_A_MONTH))
"""A hundred micro-USD an epoch from 24 GiB on, three hundred from 64."""


def machine(number: int) -> ProviderId:
    return ProviderId(f"{number:064x}")


def attended(number: int, *, present: int = 30, gib: int = 24, owner: AccountId = PROVIDER) -> Attended:
    return Attended(machine(number), owner, gib * GIB, present)


def rewards_of(money: OpenMoney, pool: int, present: Iterable[Present] = ()) -> Rewards:
    return Rewards(money.store, money.clock, RewardTerms(pool=pool, floors=FLOORS), present=lambda: present)


async def earned(money: OpenMoney, owner: AccountId = PROVIDER) -> int:
    return (await money.ledger.balance(owner)).earnings


@pytest.fixture
def epoch(money: OpenMoney) -> int:
    return money.clock.now_ms() // EPOCH_MS


async def test_each_machine_is_paid_for_its_class_and_attendance_once(money: OpenMoney, epoch: int) -> None:
    rewards = rewards_of(money, 10**9)
    seen = Epoch(
        epoch,
        30,
        (attended(1), attended(2, gib=64), attended(3, present=28), attended(4, present=27), attended(5, gib=8)),
    )
    for _ in range(3):
        await rewards.note(seen)
        await rewards.pay()
    assert await earned(money) == 100 + 300 + 33
    assert await money.all_of(RewardDue) == []
    assert await operator_balance(money, Kind.REWARD_EXPENSE) == -433


@pytest.mark.parametrize("pool", [950, 99, 1_000, 0])
async def test_the_reward_pool_is_never_exceeded(money: OpenMoney, epoch: int, pool: int) -> None:
    """Forty machines at a hundred each, four payers at once, several epochs of one month: what fits is paid, not more."""
    payers = [rewards_of(money, pool) for _ in range(4)]
    first = month_start_ms(epoch * EPOCH_MS) // EPOCH_MS
    for number in range(first, first + 3):
        await payers[0].note(Epoch(number, 30, tuple(attended(each) for each in range(40))))
        await asyncio.gather(*(payer.pay() for payer in payers))
        assert await earned(money) <= pool
    assert await earned(money) == pool // 100 * 100
    assert await money.all_of(RewardDue) == []


async def test_the_next_month_has_a_pool_of_its_own(money: OpenMoney, epoch: int) -> None:
    rewards = rewards_of(money, 250)
    later = month_start_ms(month_start_ms(epoch * EPOCH_MS) + 32 * 86_400_000) // EPOCH_MS
    for number in (epoch, epoch, later):
        await rewards.note(Epoch(number, 30, tuple(attended(each) for each in range(9))))
        await rewards.pay()
    assert await earned(money) == 400


async def test_a_pool_that_is_raised_or_lowered_counts_from_then_on(money: OpenMoney, epoch: int) -> None:
    first = month_start_ms(epoch * EPOCH_MS) // EPOCH_MS
    paid = []
    for number, pool in enumerate((200, 500, 300)):
        rewards = rewards_of(money, pool)
        await rewards.note(Epoch(first + number, 30, tuple(attended(each) for each in range(9))))
        await rewards.pay()
        paid.append(await earned(money))
    assert paid == [200, 500, 500]


async def test_what_was_due_when_the_process_ended_is_paid_after_its_restart(money: OpenMoney, epoch: int) -> None:
    await rewards_of(money, 10**9).note(Epoch(epoch, 30, (attended(1), attended(2))))
    assert await earned(money) == 0
    assert await rewards_of(money, 10**9).pay() == 2
    assert await earned(money) == 200


async def test_an_epoch_that_was_hardly_looked_at_pays_nobody(money: OpenMoney, epoch: int) -> None:
    rewards = rewards_of(money, 10**9)
    await rewards.note(Epoch(epoch, 14, (attended(1, present=14),)))
    assert await rewards.pay() == 0


async def test_looks_make_an_epoch_and_its_end_pays(money: OpenMoney) -> None:
    here = [Present(machine(1), PROVIDER, 24 * GIB)]
    rewards = rewards_of(money, 10**9, here)
    now_ms = money.clock.now_ms()
    await money.books.advance((EPOCH_MS - now_ms % EPOCH_MS) / 1000)
    for _ in range(EPOCH_MS // int(LOOK_S * 1000)):
        assert await rewards.step() == 0
        await money.books.advance(LOOK_S)
    here.clear()
    assert await rewards.step() == 1
    assert await earned(money) == 100
