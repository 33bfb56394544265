"""Requests on the hot lane and facts that come with rows of their own meet on one account's rows."""

from __future__ import annotations

import asyncio
from random import Random

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import (
    Closed,
    Code,
    Fact,
    GiveBack,
    Held,
    Insufficient,
    Leg,
    Posted,
    Refused,
    Repay,
    Take,
)
from hushnet.coordinator.ledger.transaction import Transaction
from support.ledger import CONSUMER, post
from support.money import OpenMoney

STRIPE, DISPUTED = operator_account(Kind.STRIPE), operator_account(Kind.DISPUTED)
PAID, FROZEN, OWED = (user_account(CONSUMER, kind) for kind in (Kind.PAID, Kind.FROZEN, Kind.OWED))


async def cold(money: OpenMoney, key: str, *legs: Leg | Take | Repay | GiveBack) -> tuple[Leg, ...]:
    """Post a fact in a transaction of its own and return what moved."""
    fact = Fact(key, Code.DISPUTE, legs, actor="test", owner=CONSUMER)

    def work(tx: Transaction) -> tuple[Leg, ...]:
        (outcome,) = tx.post(fact)
        assert isinstance(outcome, Posted)
        return outcome.legs

    return await money.store.transact(work)


async def test_disputes_deposits_and_requests_at_once_leave_every_cent_where_it_belongs(money: OpenMoney) -> None:
    rng = Random(4)
    money.is_bare = True
    await money.books.give(CONSUMER, paid=1_000)
    disputed, deposited = [rng.randint(1, 300) for _ in range(12)], [rng.randint(1, 200) for _ in range(12)]

    async def request(turn: int) -> int:
        hold, held = await money.books.hold(1 + turn)
        assert isinstance(held, Held | Insufficient | Refused)
        if not isinstance(held, Held):
            return 0
        assert await money.ledger.close(post(hold, held, 1)) == Closed(1)
        return 1

    async def dispute(number: int, amount: int) -> int:
        moved = await cold(money, f"dp:{number}", Take(CONSUMER, amount), Leg(DISPUTED, STRIPE, amount))
        parts = {leg.debit: leg.amount for leg in moved}
        if number % 2:
            return amount
        back = GiveBack(CONSUMER, parts.get(PAID, 0), 0, parts.get(OWED, 0))
        await cold(money, f"dp:{number}:won", Leg(STRIPE, DISPUTED, amount), back)
        return 0

    async def deposit(number: int, amount: int) -> None:
        await cold(money, f"pi:{number}", Leg(STRIPE, PAID, amount), Repay(CONSUMER))

    taken, _, requests = await asyncio.gather(
        asyncio.gather(*(dispute(number, amount) for number, amount in enumerate(disputed))),
        asyncio.gather(*(deposit(number, amount) for number, amount in enumerate(deposited))),
        asyncio.gather(*(request(turn) for turn in range(40))),
    )
    spent = sum(requests)

    states, _ = await money.books.store.accounts_of(CONSUMER, earned_since_ms=0)
    debt = -states[OWED].balance if OWED in states else 0
    assert states[FROZEN].balance == sum(taken)
    assert states[PAID].balance - debt == 1_000 + sum(deposited) - sum(taken) - spent
    assert states[PAID].is_closed == (debt > 0)
    await cold(money, "dp:lost", Leg(FROZEN, DISPUTED, sum(taken)))


async def test_a_frozen_account_is_free_for_the_hot_lane_as_soon_as_the_cold_one_has_committed(
    money: OpenMoney,
) -> None:
    await money.books.give(CONSUMER, promo=10)
    money.is_bare = True
    await cold(money, "dp:1", Take(CONSUMER, 5))
    assert (await money.books.hold(1))[1] == Refused()

    await cold(money, "pi:1", Leg(STRIPE, PAID, 5), Repay(CONSUMER))

    assert (await money.books.hold(1))[1] == Held(1, 0, 0)
    await cold(money, "dp:1:lost", Leg(FROZEN, DISPUTED, 5))
