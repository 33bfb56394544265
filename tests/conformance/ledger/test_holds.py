"""Holds mean the same on every store."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from hushnet.coordinator.ledger.ids import first_id_at
from hushnet.coordinator.ledger.model import (
    HOLD_LIFE_MS_MAX,
    AlreadyClosed,
    Balance,
    Closed,
    Conflict,
    Held,
    Insufficient,
    Invalid,
    Refused,
)
from hushnet.foundation.ids import AccountId, RequestId
from support.ledger import CONSUMER, PROVIDER, OpenLedger, post, void


async def test_promo_then_paid_then_earnings(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=30, paid=50, earnings=100)

    _, first = await books.hold(20)
    _, second = await books.hold(100)
    _, third = await books.hold(61)
    _, fourth = await books.hold(60)

    assert first == Held(20, 0, 0)
    assert second == Held(10, 50, 40)
    assert third == Insufficient(60)
    assert fourth == Held(0, 0, 60)


async def test_an_account_that_never_had_money_has_nothing_to_hold(books: OpenLedger) -> None:
    _, outcome = await books.hold(1, owner=AccountId(123_456))

    assert outcome == Insufficient(0)


async def test_a_held_amount_is_not_spendable_and_still_in_the_balance(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100, earnings=10)
    await books.held(105)

    assert await books.ledger.balance(CONSUMER) == Balance(
        promo=100, paid=0, earnings=10, held=105, spendable=5, withdrawable=0
    )


async def test_the_same_hold_again_is_answered_as_the_first(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(60)

    assert await books.ledger.hold(hold) == held
    assert await asyncio.gather(books.ledger.hold(hold), books.ledger.hold(hold)) == [held, held]
    assert (await books.ledger.balance(CONSUMER)).held == 60


async def test_hold_reuse_with_other_content_is_conflict(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    await books.give(PROVIDER, promo=100)
    hold, held = await books.held(60)

    assert await books.ledger.hold(replace(hold, amount=61)) == Conflict()
    assert await books.ledger.hold(replace(hold, owner=PROVIDER)) == Conflict()
    await books.ledger.close(void(hold, held))
    assert await books.ledger.hold(replace(hold, amount=61)) == Conflict()
    assert await books.ledger.hold(replace(hold, owner=PROVIDER)) == Conflict()


async def test_a_finalised_hold_is_never_made_again(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(60)
    await books.ledger.close(post(hold, held, 60))

    assert await books.ledger.hold(hold) == AlreadyClosed()
    assert (await books.ledger.balance(CONSUMER)).spendable == 40


async def test_one_refused_hold_fails_nobody_else(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    holds = [books.new_hold(amount) for amount in (60, 60, 40, 1)]

    outcomes = await asyncio.gather(*map(books.ledger.hold, holds))

    assert outcomes == [Held(60, 0, 0), Insufficient(40), Held(40, 0, 0), Insufficient(0)]


async def test_credit_earlier_in_the_batch_is_spendable_later_in_it(books: OpenLedger) -> None:
    hold = books.new_hold(60)

    grant = books.ledger.grant_promo(CONSUMER, 60, grant_id="one", actor="test")
    _, outcome = await asyncio.gather(grant, books.ledger.hold(hold))

    assert outcome == Held(60, 0, 0)


async def test_a_hold_and_its_close_in_one_batch(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold = books.new_hold(60)

    outcomes = await asyncio.gather(
        books.ledger.hold(hold), books.ledger.close(post(hold, Held(60, 0, 0), 25)), books.ledger.hold(hold)
    )

    assert outcomes == [Held(60, 0, 0), Closed(25), AlreadyClosed()]
    assert (await books.ledger.balance(CONSUMER)).spendable == 75


async def test_closed_account_refuses_holds_not_settlements(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(60)
    await books.set_closed(CONSUMER)

    _, refused = await books.hold(1)

    assert refused == Refused()
    assert await books.ledger.close(post(hold, held, 60)) == Closed(60)


async def test_a_hold_out_of_bounds_is_invalid(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    sound = books.new_hold(1)
    now_ms = books.clock.now_ms()
    unsound = {
        "amount": [replace(sound, amount=amount) for amount in (0, -1, 10**15 + 1, True)],
        "owner": [replace(sound, owner=AccountId(owner)) for owner in (0, -5, 65_535, 1 << 59)],
        "id": [replace(sound, id=RequestId(id_)) for id_ in (0, -2, sound.id | 1, 1 << 63)],
        "expiry": [replace(sound, expires_ms=ms) for ms in (now_ms, now_ms + HOLD_LIFE_MS_MAX + 1)],
    }

    for word, holds in unsound.items():
        for hold in holds:
            assert await books.ledger.hold(hold) == Invalid(word), hold


async def test_an_id_older_than_a_day_opens_nothing(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    old = RequestId(first_id_at(books.clock.now_ms() - HOLD_LIFE_MS_MAX - 1))

    assert await books.ledger.hold(replace(books.new_hold(1), id=old)) == Invalid("id")


@pytest.mark.parametrize("passes", range(5))
async def test_a_caller_that_goes_away_leaves_nothing_held(books: OpenLedger, passes: int) -> None:
    await books.give(CONSUMER, promo=100)
    task = asyncio.create_task(books.ledger.hold(books.new_hold(60)))
    for _ in range(passes):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(2):  # the first may share the hold's batch, the second is behind whatever gives it back
        await books.give(PROVIDER, promo=1)

    assert (await books.ledger.balance(CONSUMER)).held == (0 if task.cancelled() else 60)
