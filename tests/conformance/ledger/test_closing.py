"""An account is closed for good only with nothing under way in it, on every store, and nothing opens it again."""

from __future__ import annotations

import asyncio

import pytest

from hushnet.coordinator.ledger.chart import OF_USERS, SPENDABLE, Kind, operator_account, user_account
from hushnet.coordinator.ledger.closure import CloseOut, NotClosable, Obstacle
from hushnet.coordinator.ledger.model import (
    AlreadyPosted,
    AnyLeg,
    Closed,
    Code,
    Conflict,
    Fact,
    FactOutcome,
    Freeze,
    GiveBack,
    Invalid,
    Leg,
    Posted,
    Refused,
    Repay,
    Take,
)
from support.ledger import CONSUMER, PROVIDER, OpenLedger, post

PROMO, PAID, EARNINGS, IN_TRANSIT, FROZEN, OWED = (user_account(CONSUMER, kind) for kind in OF_USERS)
STRIPE, UNCLAIMED = operator_account(Kind.STRIPE), operator_account(Kind.UNCLAIMED)
PROMO_EXPENSE = operator_account(Kind.PROMO_EXPENSE)


def closing(*, gives_up: int = 0, owner: int = CONSUMER) -> Fact:
    return Fact(f"close:{owner}", Code.CLOSURE, (CloseOut(owner, gives_up),), actor="test", owner=owner)


async def posted(books: OpenLedger, *legs: AnyLeg) -> tuple[Leg, ...]:
    key = f"test:{books.ledger.next_request_id()}"
    outcome = await books.ledger.fact(Fact(key, Code.ADJUSTMENT, legs, actor="test", owner=CONSUMER))
    assert isinstance(outcome, Posted), outcome
    return outcome.legs


async def closed_kinds(books: OpenLedger) -> set[Kind]:
    states, _ = await books.store.accounts_of(CONSUMER, earned_since_ms=0)
    return {Kind(id_ & 15) for id_, state in states.items() if state.is_closed}


async def left(books: OpenLedger) -> dict[Kind, int]:
    states, _ = await books.store.accounts_of(CONSUMER, earned_since_ms=0)
    return {Kind(id_ & 15): state.balance for id_, state in states.items() if state.balance}


async def test_promo_goes_back_and_paid_and_earnings_become_unclaimed(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=7, paid=50, earnings=20)

    outcome = await books.ledger.fact(closing(gives_up=70))

    assert isinstance(outcome, Posted)
    assert outcome.legs == (Leg(PROMO, PROMO_EXPENSE, 7), Leg(PAID, UNCLAIMED, 50), Leg(EARNINGS, UNCLAIMED, 20))
    assert await left(books) == {}
    assert await closed_kinds(books) == set(OF_USERS)
    assert await books.ledger.hold(books.new_hold(1)) == Refused()


async def test_an_account_that_never_had_money_is_closed_too(books: OpenLedger) -> None:
    outcome = await books.ledger.fact(closing())

    assert outcome == Posted()
    assert await closed_kinds(books) == set(OF_USERS)


async def with_a_hold(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=10)
    await books.held(4)


async def with_a_payout(books: OpenLedger) -> None:
    await books.give(CONSUMER, earnings=9)
    await posted(books, Leg(EARNINGS, IN_TRANSIT, 9))


async def with_a_debt(books: OpenLedger) -> None:
    await posted(books, Take(CONSUMER, 5), Leg(FROZEN, STRIPE, 5))


async def with_a_refund(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=6)
    await posted(books, Leg(PAID, FROZEN, 6))


async def with_a_freeze(books: OpenLedger) -> None:
    await posted(books, Freeze(CONSUMER))


async def with_money(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=3, paid=60, earnings=41)


@pytest.mark.parametrize(
    ("situation", "obstacle", "amount"),
    [
        (with_a_hold, Obstacle.HOLD, 4),
        (with_a_payout, Obstacle.PAYOUT, 9),
        (with_a_debt, Obstacle.DEBT, 5),
        (with_a_refund, Obstacle.FREEZE, 6),
        (with_a_freeze, Obstacle.FREEZE, 0),
        (with_money, Obstacle.MONEY, 101),
    ],
)
async def test_what_is_under_way_keeps_an_account_open(
    books: OpenLedger, situation: object, obstacle: Obstacle, amount: int
) -> None:
    await situation(books)  # type: ignore[operator] - one of the above
    before = await left(books), await closed_kinds(books)

    outcome = await books.ledger.fact(closing(gives_up=100))

    assert outcome == NotClosable(obstacle, amount)
    assert (await left(books), await closed_kinds(books)) == before


async def test_closing_twice_and_at_once_closes_once(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=50)

    outcomes: list[FactOutcome] = await asyncio.gather(
        *(books.ledger.fact(closing(gives_up=gives_up)) for gives_up in (50, 60, 0))
    )

    assert sorted(map(type, outcomes), key=str) == [AlreadyPosted, AlreadyPosted, Posted]
    assert await books.ledger.fact(closing(owner=PROVIDER)) == Posted()
    other = Fact(f"close:{CONSUMER}", Code.CLOSURE, (CloseOut(PROVIDER),), actor="test", owner=CONSUMER)
    assert await books.ledger.fact(other) == Conflict()


async def test_a_settlement_after_the_closure_still_arrives(books: OpenLedger) -> None:
    await books.give(PROVIDER, promo=30)
    hold, held = await books.held(30, owner=PROVIDER)
    await books.ledger.fact(closing())

    assert await books.ledger.close(post(hold, held, 30, provider=CONSUMER)) == Closed(30)

    assert await left(books) == {Kind.EARNINGS: 30}


async def test_nothing_opens_a_closed_account_again(books: OpenLedger) -> None:
    """Neither the end of a debt that comes later, nor a dispute won, nor a word to unfreeze."""
    await books.ledger.fact(closing())
    await posted(books, Take(CONSUMER, 40))
    await posted(books, Leg(STRIPE, PAID, 15), Repay(CONSUMER))
    await posted(books, GiveBack(CONSUMER, 0, 0, 40))
    await posted(books, Freeze(CONSUMER, is_frozen=False))

    assert await left(books) == {Kind.PAID: 15}
    assert await closed_kinds(books) >= set(SPENDABLE)
    assert await books.ledger.hold(books.new_hold(1)) == Refused()
    again = Fact(f"close:{CONSUMER}:15", Code.CLOSURE, (CloseOut(CONSUMER, 15),), actor="test", owner=CONSUMER)
    assert await books.ledger.fact(again) == Posted()
    assert await left(books) == {}


@pytest.mark.parametrize(
    ("word", "legs"),
    [
        ("owner", (CloseOut(7),)),
        ("amount", (CloseOut(CONSUMER, -1),)),
        ("amount", (CloseOut(CONSUMER, True),)),
        ("closure", (CloseOut(CONSUMER), Leg(STRIPE, PAID, 1))),
    ],
)
async def test_a_closing_out_of_bounds_is_invalid(books: OpenLedger, word: str, legs: tuple[AnyLeg, ...]) -> None:
    fact = Fact("test:bad", Code.CLOSURE, legs, actor="test", owner=CONSUMER)
    assert await books.ledger.fact(fact) == Invalid(word)
