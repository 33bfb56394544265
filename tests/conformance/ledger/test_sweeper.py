"""Holds left open are finalised once on every store, by whoever comes first."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from hushnet.coordinator.ledger.model import AlreadyOther, Closed, Held, Phase, UsageOutcome
from hushnet.coordinator.ledger.service import Ledger
from support.ledger import CONSUMER, PROVIDER, SETTINGS, OpenLedger, post


async def test_a_hold_past_its_time_is_expired(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(60)
    await books.advance(60)
    assert await books.ledger.sweep() == 0

    await books.advance(60)
    assert await books.ledger.sweep() == 1
    assert await books.ledger.sweep() == 0

    assert (await books.ledger.balance(CONSUMER)).spendable == 100
    record = await books.ledger.usage_record(hold.id)
    assert record is not None
    assert (record.usage.outcome, record.held, record.cost) == (UsageOutcome.ORPHANED, 60, 0)
    assert await books.ledger.close(post(hold, held, 60)) == AlreadyOther(Phase.EXPIRED, 0)


async def test_sweeper_posts_the_draft(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(60)
    books.ledger.note_draft(post(hold, held, 10, 1))
    books.ledger.note_draft(draft := post(hold, held, 20, 2))
    books.clock.advance(5)
    await books.ledger.save_drafts()
    await books.advance(120)

    assert await books.ledger.sweep() == 1

    assert (await books.ledger.balance(CONSUMER)).spendable == 78
    assert (await books.ledger.balance(PROVIDER)).earnings == 20
    record = await books.ledger.usage_record(hold.id)
    assert record is not None
    assert record.usage == replace(draft.usage, outcome=UsageOutcome.ORPHANED)


async def test_a_young_request_has_no_draft_saved(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(60)
    books.ledger.note_draft(post(hold, held, 10))
    books.clock.advance(4)

    await books.ledger.save_drafts()

    assert [stored.draft for stored in await books.store.inspect(lambda found: list(found.holds()))] == [None]


async def test_a_draft_that_does_not_fit_is_not_posted(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    for draft in ("{", '{"id": 1}', "[]"):
        hold, _ = await books.held(10)
        await books.store.save_drafts({hold.id: draft})
    hold, _ = await books.held(10)
    books.ledger.note_draft(post(hold, Held(11, 0, 0), 11))
    await books.advance(60)
    await books.ledger.save_drafts()
    await books.advance(120)

    assert await books.ledger.sweep() == 4

    assert (await books.ledger.balance(CONSUMER)).spendable == 100


async def test_a_draft_of_a_finalised_hold_changes_nothing(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(60)
    await books.ledger.close(post(hold, held, 60))
    books.ledger.note_draft(post(hold, held, 10))
    await books.advance(180)
    await books.ledger.save_drafts()

    assert await books.ledger.sweep() == 0
    assert (await books.ledger.balance(PROVIDER)).earnings == 60


async def test_sweeper_and_settlement_race_once(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=1000)
    pairs = [await books.held(10) for _ in range(20)]
    await books.advance(120)

    _, *outcomes = await asyncio.gather(
        books.ledger.sweep(), *(books.ledger.close(post(hold, held, 7)) for hold, held in pairs)
    )

    paid = outcomes.count(Closed(7))
    assert paid + outcomes.count(AlreadyOther(Phase.EXPIRED, 0)) == len(pairs)
    assert (await books.ledger.balance(PROVIDER)).earnings == 7 * paid
    assert (await books.ledger.balance(CONSUMER)).held == 0


async def test_a_restart_releases_or_settles_every_orphaned_hold_once(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100_000)
    orphans = [await books.held(100) for _ in range(300)]
    for hold, held in orphans[::2]:
        books.ledger.note_draft(post(hold, held, 30))
    books.clock.advance(30)
    await books.ledger.save_drafts()
    await books.ledger.aclose()
    books.clock.advance(1)

    books.ledger = await Ledger.open(books.store, books.clock, settings=SETTINGS)

    assert await books.store.inspect(lambda found: list(found.holds())) == []
    assert (await books.ledger.balance(PROVIDER)).earnings == 30 * 150
    assert (await books.ledger.balance(CONSUMER)).spendable == 100_000 - 30 * 150
