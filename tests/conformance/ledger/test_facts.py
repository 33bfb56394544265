"""Facts mean the same on every store: once for each key, all legs or none."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from msgspec import structs

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import (
    AlreadyPosted,
    Code,
    Conflict,
    Fact,
    FreeUse,
    Invalid,
    Leg,
    Overdrawn,
    Overpaid,
    Posted,
    Recorded,
    UnknownAccount,
)
from support.ledger import CONSUMER, PROVIDER, OpenLedger, usage, void

PAID = user_account(CONSUMER, Kind.PAID)
OWED = user_account(CONSUMER, Kind.OWED)
FROZEN = user_account(CONSUMER, Kind.FROZEN)
STRIPE = operator_account(Kind.STRIPE)


def fact(*legs: Leg, key: str = "test:one") -> Fact:
    return Fact(key, Code.ADJUSTMENT, legs, actor="test", owner=CONSUMER)


async def test_a_grant_is_given_once(books: OpenLedger) -> None:
    def grant(amount: int = 50) -> asyncio.Future[object]:
        return asyncio.ensure_future(books.ledger.grant_promo(CONSUMER, amount, grant_id="g1", actor="test"))

    assert await asyncio.gather(grant(), grant()) == [Posted(), AlreadyPosted()]
    assert await grant() == AlreadyPosted()
    assert await grant(51) == Conflict()
    assert (await books.ledger.balance(CONSUMER)).promo == 50


async def test_actor_and_note_are_not_content(books: OpenLedger) -> None:
    first = fact(Leg(STRIPE, PAID, 5))
    assert await books.ledger.fact(first) == Posted()

    assert await books.ledger.fact(replace(first, actor="another", note="again")) == AlreadyPosted()
    assert await books.ledger.fact(replace(first, code=Code.DEPOSIT)) == Conflict()
    assert await books.ledger.fact(replace(first, owner=PROVIDER)) == Conflict()


async def test_a_fact_may_have_no_legs_and_its_key_counts(books: OpenLedger) -> None:
    assert await books.ledger.fact(fact()) == Posted()
    assert await books.ledger.fact(fact()) == AlreadyPosted()
    assert await books.ledger.fact(fact(Leg(STRIPE, PAID, 5))) == Conflict()


async def test_all_legs_or_none(books: OpenLedger) -> None:
    overdrawn = fact(Leg(STRIPE, PAID, 5), Leg(PAID, FROZEN, 6))

    assert await books.ledger.fact(overdrawn) == Overdrawn(PAID)
    assert (await books.ledger.balance(CONSUMER)).paid == 0
    assert await books.ledger.fact(fact(Leg(STRIPE, PAID, 5), Leg(PAID, FROZEN, 5))) == Posted()


async def test_held_money_is_not_there_for_a_fact(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=10)
    await books.held(6)

    assert await books.ledger.fact(fact(Leg(PAID, FROZEN, 5))) == Overdrawn(PAID)
    assert await books.ledger.fact(fact(Leg(PAID, FROZEN, 4))) == Posted()


async def test_a_debt_is_never_repaid_beyond_zero(books: OpenLedger) -> None:
    await books.give(CONSUMER, paid=10)
    assert await books.ledger.fact(fact(Leg(OWED, FROZEN, 7), key="test:debt")) == Posted()

    assert await books.ledger.fact(fact(Leg(PAID, OWED, 8))) == Overpaid(OWED)
    assert await books.ledger.fact(fact(Leg(PAID, OWED, 7))) == Posted()


@pytest.mark.parametrize("account", [0, -1, 7, 1 << 19, user_account(CONSUMER, Kind.PAID) | 0xF, STRIPE | 3])
async def test_an_account_that_cannot_exist_is_unknown(books: OpenLedger, account: int) -> None:
    assert await books.ledger.fact(fact(Leg(account, PAID, 5))) == UnknownAccount(account)
    assert await books.ledger.fact(fact(Leg(STRIPE, account, 5))) == UnknownAccount(account)


@pytest.mark.parametrize(
    ("word", "unsound"),
    [
        ("text", Fact("ab", Code.ADJUSTMENT, (), actor="test")),
        ("text", Fact("a" * 201, Code.ADJUSTMENT, (), actor="test")),
        ("text", Fact("test:\x00", Code.ADJUSTMENT, (), actor="test")),
        ("text", Fact("test:one", Code.ADJUSTMENT, (), actor="")),
        ("amount", fact(Leg(STRIPE, PAID, 0))),
        ("amount", fact(Leg(STRIPE, PAID, 10**15 + 1))),
        ("amount", fact(*[Leg(STRIPE, PAID, 1)] * 65)),
        ("leg", fact(Leg(PAID, PAID, 1))),
    ],
)
async def test_a_fact_out_of_bounds_is_invalid(books: OpenLedger, word: str, unsound: Fact) -> None:
    assert await books.ledger.fact(unsound) == Invalid(word)


async def test_starting_twice_changes_no_balance(books: OpenLedger) -> None:
    for _ in range(2):
        await books.ledger.grant_promo(CONSUMER, 5_000_000, grant_id="demo", actor="up")

    assert (await books.ledger.balance(CONSUMER)).promo == 5_000_000


async def test_a_free_request_leaves_a_record_and_moves_nothing(books: OpenLedger) -> None:
    use = FreeUse(books.ledger.next_request_id(), CONSUMER, usage())

    assert await asyncio.gather(*(books.ledger.record_free(use) for _ in range(2))) == [Recorded(), AlreadyPosted()]
    assert await books.ledger.record_free(structs.replace(use, owner=PROVIDER)) == Conflict()
    record = await books.ledger.usage_record(use.id)
    assert record is not None
    assert (record.cost, record.held, record.usage) == (0, 0, use.usage)


async def test_a_held_request_is_not_free(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=10)
    hold, held = await books.held(5)

    assert await books.ledger.record_free(FreeUse(hold.id, CONSUMER, usage())) == Conflict()
    await books.ledger.close(void(hold, held))
    assert await books.ledger.record_free(FreeUse(hold.id, CONSUMER, usage())) == Conflict()
