"""Legs that depend on balances come to the same on every store, and debt freezes and unfreezes with the money."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hushnet.coordinator.ledger.chart import SPENDABLE, Kind, coin_account, operator_account, user_account
from hushnet.coordinator.ledger.model import (
    AlreadyPosted,
    AnyLeg,
    Capped,
    CapUse,
    Closed,
    Code,
    Conflict,
    Fact,
    FactOutcome,
    Freeze,
    GiveBack,
    Held,
    Invalid,
    Leg,
    Overdrawn,
    Posted,
    Refused,
    Repay,
    Take,
    UpTo,
)
from hushnet.coordinator.ledger.store import WindowDelta
from support.ledger import CONSUMER, PROVIDER, OpenLedger, post

PROMO, PAID, EARNINGS, IN_TRANSIT, FROZEN, OWED = (user_account(CONSUMER, Kind(kind)) for kind in range(1, 7))
STRIPE = operator_account(Kind.STRIPE)
DISPUTED = operator_account(Kind.DISPUTED)
REWARD_EXPENSE = operator_account(Kind.REWARD_EXPENSE)
POOL = CapUse(9, 0)


def fact(*legs: AnyLeg, key: str = "test:one", caps: tuple[CapUse, ...] = ()) -> Fact:
    return Fact(key, Code.ADJUSTMENT, legs, actor="test", owner=CONSUMER, caps=caps)


async def posted(books: OpenLedger, *legs: AnyLeg, caps: tuple[CapUse, ...] = ()) -> tuple[Leg, ...]:
    """Post under a key of its own and return what moved."""
    outcome = await books.ledger.fact(fact(*legs, key=f"test:{books.ledger.next_request_id()}", caps=caps))
    assert isinstance(outcome, Posted), outcome
    return outcome.legs


async def balances(books: OpenLedger) -> dict[Kind, int]:
    states, _ = await books.store.accounts_of(CONSUMER, earned_since_ms=0)
    return {Kind(id_ & 15): state.balance for id_, state in states.items() if state.balance}


async def closed_kinds(books: OpenLedger) -> set[Kind]:
    states, _ = await books.store.accounts_of(CONSUMER, earned_since_ms=0)
    return {Kind(id_ & 15) for id_, state in states.items() if state.is_closed}


async def test_a_take_is_from_paid_then_earnings_and_the_rest_is_owed(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=7, paid=50, earnings=20)

    assert await posted(books, Take(CONSUMER, 30)) == (Leg(PAID, FROZEN, 30),)
    assert await closed_kinds(books) == set()
    assert await posted(books, Take(CONSUMER, 60), Leg(DISPUTED, STRIPE, 60)) == (
        Leg(PAID, FROZEN, 20),
        Leg(EARNINGS, FROZEN, 20),
        Leg(OWED, FROZEN, 20),
        Leg(DISPUTED, STRIPE, 60),
    )
    assert await balances(books) == {Kind.PROMO: 7, Kind.FROZEN: 90, Kind.OWED: -20}
    assert await closed_kinds(books) == set(SPENDABLE)


async def test_a_take_may_leave_earnings_alone(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=5, earnings=20)

    assert await posted(books, Take(CONSUMER, 12, has_earnings=False)) == (
        Leg(PAID, FROZEN, 5),
        Leg(OWED, FROZEN, 7),
    )


async def test_what_is_held_is_not_taken(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=50)
    hold, held = await books.held(40)

    assert await posted(books, Take(CONSUMER, 25)) == (Leg(PAID, FROZEN, 10), Leg(OWED, FROZEN, 15))
    assert await books.ledger.close(post(hold, held, 40)) == Closed(40)
    assert await balances(books) == {Kind.FROZEN: 25, Kind.OWED: -15}


async def test_one_who_has_nothing_owes_all_of_it(books: OpenLedger) -> None:
    assert await posted(books, Take(CONSUMER, 25)) == (Leg(OWED, FROZEN, 25),)
    assert await closed_kinds(books) == set(SPENDABLE)


async def test_owing_money_freezes_and_a_deposit_that_ends_the_debt_unfreezes(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    await posted(books, Take(CONSUMER, 25))
    assert await books.ledger.hold(books.new_hold(1)) == Refused()

    assert await posted(books, Leg(STRIPE, PAID, 10), Repay(CONSUMER)) == (Leg(STRIPE, PAID, 10), Leg(PAID, OWED, 10))
    assert await books.ledger.hold(books.new_hold(1)) == Refused()
    assert (await posted(books, Leg(STRIPE, PAID, 40), Repay(CONSUMER)))[1:] == (Leg(PAID, OWED, 15),)

    assert await closed_kinds(books) == set()
    assert isinstance(await books.ledger.hold(books.new_hold(125)), Held)


async def test_a_deposit_of_one_who_owes_nothing_repays_nothing(books: OpenLedger) -> None:
    assert await posted(books, Leg(STRIPE, PAID, 10), Repay(CONSUMER)) == (Leg(STRIPE, PAID, 10),)
    assert await balances(books) == {Kind.PAID: 10}


async def test_a_debt_repaid_from_earnings_unfreezes_as_well(books: OpenLedger) -> None:
    await books.give(CONSUMER, earnings=30)
    await posted(books, Take(CONSUMER, 25, has_earnings=False))

    await posted(books, Leg(EARNINGS, OWED, 25))

    assert await closed_kinds(books) == set()


async def test_frozen_in_a_batch_and_free_again_in_it(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    first, second, third = (books.new_hold(10) for _ in range(3))

    outcomes = await asyncio.gather(
        books.ledger.hold(first),
        books.ledger.fact(fact(Take(CONSUMER, 5), key="test:take")),
        books.ledger.hold(second),
        books.ledger.fact(fact(Leg(STRIPE, PAID, 5), Repay(CONSUMER), key="test:repay")),
        books.ledger.hold(third),
    )

    assert outcomes == [Held(10, 0, 0), Posted(), Refused(), Posted(), Held(10, 0, 0)]
    assert await closed_kinds(books) == set()


async def test_a_fact_that_is_refused_freezes_nobody(books: OpenLedger) -> None:
    refused = fact(Take(CONSUMER, 25), Leg(PAID, FROZEN, 1))

    assert await books.ledger.fact(refused) == Overdrawn(PAID)
    assert await closed_kinds(books) == set()
    assert await balances(books) == {}


async def test_a_frozen_account_settles_and_asks_for_no_payout(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=10, earnings=30)
    hold, held = await books.held(10)
    await posted(books, Freeze(CONSUMER))

    assert await books.ledger.close(post(hold, held, 10)) == Closed(10)
    assert await books.ledger.fact(fact(Leg(EARNINGS, IN_TRANSIT, 30))) == Refused()
    await posted(books, Freeze(CONSUMER, is_frozen=False))
    assert await books.ledger.fact(fact(Leg(EARNINGS, IN_TRANSIT, 30))) == Posted()


async def test_a_freeze_without_a_debt_outlives_deposits(books: OpenLedger) -> None:
    await posted(books, Freeze(CONSUMER))

    await posted(books, Leg(STRIPE, PAID, 10), Repay(CONSUMER))

    assert await closed_kinds(books) == set(SPENDABLE)
    assert await books.ledger.hold(books.new_hold(1)) == Refused()


async def test_who_is_in_debt_is_not_unfrozen(books: OpenLedger) -> None:
    await posted(books, Take(CONSUMER, 5))

    await posted(books, Freeze(CONSUMER, is_frozen=False))

    assert await closed_kinds(books) == set(SPENDABLE)


async def test_a_take_given_back_leaves_everything_as_it_was(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=50, earnings=20)
    await posted(books, Take(CONSUMER, 100))

    assert await posted(books, Leg(STRIPE, DISPUTED, 100), GiveBack(CONSUMER, paid=50, earnings=20, owed=30)) == (
        Leg(STRIPE, DISPUTED, 100),
        Leg(FROZEN, OWED, 30),
        Leg(FROZEN, PAID, 50),
        Leg(FROZEN, EARNINGS, 20),
    )
    assert await balances(books) == {Kind.PAID: 50, Kind.EARNINGS: 20}
    assert await closed_kinds(books) == set()


async def test_a_debt_repaid_meanwhile_comes_back_as_paid_money(books: OpenLedger) -> None:
    await posted(books, Take(CONSUMER, 30))
    await posted(books, Leg(STRIPE, PAID, 20), Repay(CONSUMER))

    assert await posted(books, GiveBack(CONSUMER, paid=0, earnings=0, owed=30)) == (
        Leg(FROZEN, OWED, 10),
        Leg(FROZEN, PAID, 20),
    )
    assert await balances(books) == {Kind.PAID: 20}
    assert await closed_kinds(books) == set()


async def test_no_more_is_given_back_than_is_frozen(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=30)
    await posted(books, Take(CONSUMER, 30))

    assert await books.ledger.fact(fact(GiveBack(CONSUMER, paid=20, earnings=11, owed=0))) == Overdrawn(FROZEN)


async def test_up_to_moves_what_is_available(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=30)
    await books.held(10)
    expense = operator_account(Kind.PROMO_EXPENSE)

    assert await posted(books, UpTo(PROMO, expense, 5)) == (Leg(PROMO, expense, 5),)
    assert await posted(books, UpTo(PROMO, expense, 50)) == (Leg(PROMO, expense, 15),)
    assert await posted(books, UpTo(PROMO, expense, 50)) == ()


async def test_the_same_legs_are_the_same_fact_whatever_they_came_to(books: OpenLedger) -> None:
    taken = fact(Take(CONSUMER, 25), Repay(CONSUMER), UpTo(PAID, FROZEN, 1))
    assert await books.ledger.fact(taken) == Posted()
    await books.give(CONSUMER, paid=100)

    assert await books.ledger.fact(taken) == AlreadyPosted()
    for other in (
        replace(taken, legs=(Take(CONSUMER, 26), *taken.legs[1:])),
        replace(taken, legs=(Take(CONSUMER, 25, has_earnings=False), *taken.legs[1:])),
        replace(taken, legs=(taken.legs[0], Repay(PROVIDER), taken.legs[2])),
        replace(taken, legs=(*taken.legs[:2], Leg(PAID, FROZEN, 1))),
        replace(taken, legs=taken.legs[:2]),
    ):
        assert await books.ledger.fact(other) == Conflict()


async def test_the_reward_pool_is_never_exceeded(books: OpenLedger) -> None:
    await books.set_cap(POOL.cap, 95)

    async def reward(machine: int) -> FactOutcome:
        leg = Leg(REWARD_EXPENSE, EARNINGS, 10)
        return await books.ledger.fact(fact(leg, key=f"reward:{machine}:1", caps=(POOL,)))

    outcomes = await asyncio.gather(*map(reward, range(200)))

    assert outcomes == [Posted()] * 9 + [Capped(POOL.cap, 5)] * 191
    assert await reward(0) == AlreadyPosted()
    assert await books.store.inspect(lambda found: list(found.windows())) == [WindowDelta(*POOL, 90, 0)]
    assert await balances(books) == {Kind.EARNINGS: 90}


async def test_every_plain_leg_of_a_fact_counts_against_its_caps(books: OpenLedger) -> None:
    await books.set_cap(POOL.cap, 95)
    legs = (Leg(REWARD_EXPENSE, EARNINGS, 1), Leg(REWARD_EXPENSE, user_account(CONSUMER, Kind.PAID), 49))
    assert isinstance(await books.ledger.fact(fact(*legs, key="reward:a", caps=(POOL,))), Posted)
    assert await books.ledger.fact(fact(*legs, key="reward:b", caps=(POOL,))) == Capped(POOL.cap, 45)
    assert await books.store.inspect(lambda found: list(found.windows())) == [WindowDelta(*POOL, 50, 0)]


async def test_a_crossing_of_assets_is_one_fact_through_fx(books: OpenLedger) -> None:
    coin, fx_coin, usdc = (
        coin_account("BTC", "bitcoin", "coin"),
        coin_account("BTC", "bitcoin", "fx_coin"),
        coin_account("USDC", "base", "coin"),
    )
    fx = operator_account(Kind.FX)

    await posted(books, Leg(coin, fx_coin, 100_000), Leg(fx, PAID, 65_000_000), Repay(CONSUMER))

    assert await balances(books) == {Kind.PAID: 65_000_000}
    for across in (Leg(coin, PAID, 1), Leg(fx, coin, 1), Leg(coin, usdc, 1)):
        assert await books.ledger.fact(fact(across)) == Invalid("leg")


@pytest.mark.parametrize(
    ("word", "unsound"),
    [
        ("owner", fact(Take(7, 5))),
        ("amount", fact(Take(CONSUMER, 0))),
        ("amount", fact(Take(CONSUMER, 10**15 + 1))),
        ("owner", fact(Repay(0))),
        ("owner", fact(Freeze(1))),
        ("amount", fact(GiveBack(CONSUMER, paid=0, earnings=0, owed=0))),
        ("amount", fact(GiveBack(CONSUMER, paid=2, earnings=-1, owed=0))),
        ("amount", fact(UpTo(PAID, FROZEN, 0))),
        ("leg", fact(UpTo(PAID, PAID, 1))),
        ("leg", fact(UpTo(OWED, FROZEN, 1))),
        ("leg", fact(UpTo(STRIPE, PAID, 1))),
        ("caps", fact(caps=(POOL,))),
        ("caps", fact(Repay(CONSUMER), caps=(POOL,))),
        ("caps", fact(Leg(STRIPE, PAID, 1), caps=(POOL, POOL))),
        ("caps", fact(Leg(STRIPE, PAID, 1), caps=(POOL,))),
    ],
)
async def test_legs_out_of_bounds_are_invalid(books: OpenLedger, word: str, unsound: Fact) -> None:
    assert await books.ledger.fact(unsound) == Invalid(word)
