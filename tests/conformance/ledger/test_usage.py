"""What the ledger tells about the past is the same on every store, and comes from the rows alone."""

from __future__ import annotations

from hushnet.coordinator.ledger.model import Balance, FreeUse, Mode, Tier, Usage, UsageOutcome, UsageRecord
from support.ledger import CONSUMER, KEY, MODEL, PROVIDER, REFERRER, OpenLedger, post, void

DAY_S = 24 * 3600


async def test_a_record_tells_everything_that_was_settled(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(50)
    books.clock.advance(3)
    close = post(hold, held, 20, 9, 1)

    assert await books.ledger.usage_record(hold.id) is None
    await books.ledger.close(close)

    assert await books.ledger.usage_record(hold.id) == UsageRecord(
        id=hold.id,
        owner=CONSUMER,
        usage=close.usage,
        held=50,
        cost=30,
        to_provider=20,
        to_platform=9,
        to_referrer=1,
        at_ms=books.clock.now_ms(),
    )


async def test_every_field_of_a_usage_is_kept(books: OpenLedger) -> None:
    full = Usage(
        api_key=KEY,
        model=MODEL,
        outcome=UsageOutcome.CANCELLED,
        provider=PROVIDER,
        machine="cd" * 32,
        tokens_in=2**31 - 1,
        tokens_cached=3,
        tokens_out=2**31 - 1,
        tier=Tier.HARDWARE,
        mode=Mode.SEALED,
        price=17,
        referrer=REFERRER,
    )
    use = FreeUse(books.ledger.next_request_id(), CONSUMER, full)
    await books.ledger.record_free(use)

    record = await books.ledger.usage_record(use.id)

    assert record is not None
    assert record.usage == full
    assert isinstance(record.usage.mode, Mode)
    assert isinstance(record.usage.tier, Tier)


async def test_usage_is_paged_from_the_database_only(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    await books.give(REFERRER, promo=100)
    mine = []
    for owner in (CONSUMER, REFERRER, CONSUMER, CONSUMER):
        hold, held = await books.held(5, owner=owner)
        await books.ledger.close(void(hold, held))
        mine += [hold.id] if owner == CONSUMER else []

    first = await books.ledger.usage(CONSUMER, limit=2)
    rest = await books.ledger.usage(CONSUMER, before=first[-1].id, limit=2)

    assert [record.id for record in first + rest] == mine[::-1]
    assert await books.ledger.usage(CONSUMER, before=mine[0]) == []


async def test_earnings_are_withdrawable_when_they_have_matured(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(30)
    await books.ledger.close(post(hold, held, 30))

    assert (await books.ledger.balance(PROVIDER)).withdrawable == 0
    await books.advance(DAY_S)
    assert (await books.ledger.balance(PROVIDER)).withdrawable == 30
    await books.give(PROVIDER, earnings=12)
    assert await books.ledger.balance(PROVIDER) == Balance(0, 0, earnings=42, held=0, spendable=42, withdrawable=30)


async def test_held_earnings_are_not_withdrawable(books: OpenLedger) -> None:
    await books.give(PROVIDER, earnings=42)
    await books.advance(DAY_S + 1)
    hold, held = await books.held(40, owner=PROVIDER)

    assert (await books.ledger.balance(PROVIDER)).withdrawable == 2
    await books.ledger.close(void(hold, held))
    assert (await books.ledger.balance(PROVIDER)).withdrawable == 42


async def test_a_stranger_has_nothing(books: OpenLedger) -> None:
    assert await books.ledger.balance(REFERRER) == Balance(0, 0, 0, 0, 0, 0)
    assert await books.ledger.usage(REFERRER) == []
