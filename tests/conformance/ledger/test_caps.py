"""Budgets mean the same on every store: spent + held never passes the ceiling in force at a hold."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from hushnet.coordinator.ledger.model import Capped, CapUse, Closed, Held, Invalid
from hushnet.coordinator.ledger.store import WindowDelta
from support.ledger import CONSUMER, OpenLedger, post, void

TODAY = CapUse(1, 1_763_683_200_000)
TOMORROW = CapUse(1, 1_763_769_600_000)
OTHER = CapUse(2, 0)


async def windows(books: OpenLedger) -> list[WindowDelta]:
    return await books.store.inspect(lambda found: list(found.windows()))


async def test_two_hundred_concurrent_holds_do_not_pass_the_cap(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=10_000)
    await books.set_cap(1, 95)
    holds = [books.new_hold(10, caps=(TODAY,)) for _ in range(200)]

    outcomes = await asyncio.gather(*map(books.ledger.hold, holds))

    assert outcomes == [Held(10, 0, 0)] * 9 + [Capped(1, 5)] * 191
    assert await windows(books) == [WindowDelta(1, TODAY.start_ms, 0, 90)]


async def test_what_was_posted_is_spent_and_the_rest_is_free_again(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=10_000)
    await books.set_cap(1, 100)
    await books.set_cap(2, 1000)
    hold = books.new_hold(60, caps=(OTHER, TODAY))
    held = await books.ledger.hold(hold)
    assert isinstance(held, Held)

    assert await books.ledger.close(post(hold, held, 45)) == Closed(45)

    assert await windows(books) == [WindowDelta(1, TODAY.start_ms, 45, 0), WindowDelta(2, 0, 45, 0)]
    assert await books.ledger.hold(books.new_hold(56, caps=(TODAY,))) == Capped(1, 55)
    assert isinstance(await books.ledger.hold(books.new_hold(55, caps=(TODAY,))), Held)


async def test_a_hold_settles_into_its_own_window_after_midnight(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=10_000)
    await books.set_cap(1, 100)
    late = books.new_hold(60, caps=(TODAY,))
    held = await books.ledger.hold(late)
    assert isinstance(held, Held)

    early = books.new_hold(100, caps=(TOMORROW,))
    assert isinstance(await books.ledger.hold(early), Held)
    await books.ledger.close(post(late, held, 60))

    assert await windows(books) == [
        WindowDelta(1, TODAY.start_ms, 60, 0),
        WindowDelta(1, TOMORROW.start_ms, 0, 100),
    ]


async def test_lowering_a_cap_stops_only_new_holds(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=10_000)
    await books.set_cap(1, 100)
    hold = books.new_hold(90, caps=(TODAY,))
    held = await books.ledger.hold(hold)
    assert isinstance(held, Held)
    await books.set_cap(1, 10)

    assert await books.ledger.hold(books.new_hold(1, caps=(TODAY,))) == Capped(1, 0)
    assert await books.ledger.close(post(hold, held, 90)) == Closed(90)


async def test_a_cap_that_is_not_there_is_invalid(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    await books.set_cap(1, 100)

    assert await books.ledger.hold(books.new_hold(1, caps=(CapUse(99, 0),))) == Invalid("caps")
    assert await books.ledger.hold(books.new_hold(1, caps=(TODAY, TODAY))) == Invalid("caps")


async def test_a_close_names_the_caps_of_its_hold(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    await books.set_cap(1, 100)
    hold = books.new_hold(10, caps=(TODAY,))
    held = await books.ledger.hold(hold)
    assert isinstance(held, Held)

    assert await books.ledger.close(replace(void(hold, held), caps=())) == Invalid("parts")
    assert await books.ledger.close(void(hold, held)) == Closed(0)
