"""Finalising a hold means the same on every store: once, exactly, and what is not used goes back where it came from."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import (
    Already,
    AlreadyOther,
    Closed,
    CloseKind,
    Credit,
    Held,
    Invalid,
    Phase,
    Unknown,
    Usage,
    UsageOutcome,
)
from hushnet.coordinator.ledger.prices import Reservation, Terms, settlement
from hushnet.coordinator.ledger.store import Transfer
from hushnet.foundation.money import Price
from support.ledger import CONSUMER, KEY, MODEL, PROVIDER, REFERRER, OpenLedger, expire, post, usage, void

PRICE = Price(input=1_000_000, cached=500_000, output=2_000_000, minimum=3)


async def test_a_settlement_takes_from_the_parts_in_order_and_releases_the_rest(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=30, paid=30, earnings=40)
    hold, held = await books.held(90)

    assert await books.ledger.close(post(hold, held, 40)) == Closed(40)

    balance = await books.ledger.balance(CONSUMER)
    assert (balance.promo, balance.paid, balance.earnings, balance.held) == (0, 20, 40, 0)
    assert (await books.ledger.balance(PROVIDER)).earnings == 40


async def test_a_released_hold_restores_each_bucket(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=30, paid=30, earnings=40)
    before = await books.ledger.balance(CONSUMER)

    hold, held = await books.held(90)
    assert await books.ledger.close(void(hold, held)) == Closed(0)
    hold, held = await books.held(90)
    assert await books.ledger.close(expire(hold, held)) == Closed(0)

    assert await books.ledger.balance(CONSUMER) == before


async def test_settlement_is_one_fact(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=50, paid=30, earnings=40)
    hold, held = await books.held(115)

    await books.ledger.close(post(hold, held, 60, 30, 10))

    rows = await books.store.inspect(lambda found: [row for row, _ in found.transfers() if row.fact == hold.id | 1])
    lane = books.ledger.lane
    receivers = [
        user_account(PROVIDER, Kind.EARNINGS),
        operator_account(Kind.REVENUE, lane),
        operator_account(Kind.REFERRAL_PAYABLE, lane),
    ]
    moves = [
        (user_account(CONSUMER, Kind.PROMO), receivers[0], 50),
        (user_account(CONSUMER, Kind.PAID), receivers[0], 10),
        (user_account(CONSUMER, Kind.PAID), receivers[1], 20),
        (user_account(CONSUMER, Kind.EARNINGS), receivers[1], 10),
        (user_account(CONSUMER, Kind.EARNINGS), receivers[2], 10),
    ]
    at_ms = books.clock.now_ms()
    assert rows == [
        Transfer(hold.id | 1, leg, Phase.POSTED, 2, debit, credit, amount, at_ms)
        for leg, (debit, credit, amount) in enumerate(moves)
    ]


async def test_posting_more_than_held_is_invalid(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=200)
    hold, held = await books.held(100)

    assert await books.ledger.close(post(hold, held, 100, 1)) == Invalid("beyond_hold")
    assert await books.ledger.close(post(hold, Held(101, 0, 0), 101)) == Invalid("parts")
    assert (await books.ledger.balance(CONSUMER)).held == 100


async def test_the_same_close_again_is_already_done(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=200)
    hold, held = await books.held(100)
    close = post(hold, held, 70, 30)

    outcomes = await asyncio.gather(*(books.ledger.close(close) for _ in range(3)))

    assert outcomes == [Closed(100), Already(100), Already(100)]
    assert await books.ledger.close(close) == Already(100)
    assert (await books.ledger.balance(CONSUMER)).promo == 100


async def test_another_close_is_told_what_stands(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=300)
    posted, posted_parts = await books.held(100)
    voided, voided_parts = await books.held(100)
    await books.ledger.close(post(posted, posted_parts, 70))
    await books.ledger.close(void(voided, voided_parts))

    assert await books.ledger.close(post(posted, posted_parts, 71)) == AlreadyOther(Phase.POSTED, 70)
    assert await books.ledger.close(void(posted, posted_parts)) == AlreadyOther(Phase.POSTED, 70)
    assert await books.ledger.close(post(voided, voided_parts, 1)) == AlreadyOther(Phase.VOIDED, 0)
    assert await books.ledger.close(expire(voided, voided_parts)) == AlreadyOther(Phase.VOIDED, 0)
    assert await books.ledger.close(void(voided, voided_parts)) == Already(0)


async def test_a_timer_and_a_completion_finalise_once(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=200)
    hold, held = await books.held(100)

    outcomes = await asyncio.gather(books.ledger.close(expire(hold, held)), books.ledger.close(post(hold, held, 60)))

    assert outcomes == [Closed(0), AlreadyOther(Phase.EXPIRED, 0)]
    assert (await books.ledger.balance(PROVIDER)).earnings == 0


async def test_a_close_of_no_hold_is_unknown(books: OpenLedger) -> None:
    hold = books.new_hold(10)

    assert await books.ledger.close(void(hold, Held(10, 0, 0))) == Unknown()


async def test_a_close_of_anothers_hold_is_invalid(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=200)
    hold, held = await books.held(100)
    theft = replace(void(hold, held), owner=REFERRER)

    assert await books.ledger.close(theft) == Invalid("parts")
    await books.ledger.close(void(hold, held))
    assert await books.ledger.close(theft) == Invalid("owner")


async def test_receivers_that_are_none_are_invalid(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=200)
    hold, held = await books.held(100)
    sound = post(hold, held, 10)
    receivers = {
        "own_consumer": user_account(CONSUMER, Kind.EARNINGS),
        "provider": user_account(REFERRER, Kind.EARNINGS),
        "receiver": user_account(PROVIDER, Kind.PAID),
        "referrer": operator_account(Kind.REFERRAL_PAYABLE),
    }

    for word, account in receivers.items():
        assert await books.ledger.close(replace(sound, credits=(Credit(account, 10),))) == Invalid(word)
    for account in (operator_account(Kind.BANK), operator_account(Kind.REVENUE, 3), 5, -1):
        assert await books.ledger.close(replace(sound, credits=(Credit(account, 10),))) == Invalid("receiver")
    for credits_ in ((), (sound.credits[0], sound.credits[0])):
        assert isinstance(await books.ledger.close(replace(sound, credits=credits_)), Invalid)


async def test_a_hedge_loser_is_not_paid(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=200)
    hold, held = await books.held(100)

    outcomes = await asyncio.gather(
        books.ledger.close(post(hold, held, 60, provider=PROVIDER)),
        books.ledger.close(post(hold, held, 60, provider=REFERRER)),
    )

    assert outcomes == [Closed(60), AlreadyOther(Phase.POSTED, 60)]
    assert (await books.ledger.balance(REFERRER)).earnings == 0


async def test_a_request_on_ones_own_machine_is_free(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=200)
    hold, held = await books.held(100)
    own = usage(provider=CONSUMER)

    close = settlement(Reservation(hold.id, CONSUMER, held), own, PRICE, Terms(), is_delivered=True)

    assert (close.kind, close.credits) == (CloseKind.VOID, ())
    assert await books.ledger.close(close) == Closed(0)
    record = await books.ledger.usage_record(hold.id)
    assert record is not None
    assert (record.cost, record.usage) == (0, own)


async def test_a_failure_after_content_bills_only_what_was_relayed(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=1000)
    hold, held = await books.held(500)
    relayed = usage(UsageOutcome.FAILED_AFTER_CONTENT, tokens_out=10)

    close = settlement(Reservation(hold.id, CONSUMER, held), relayed, PRICE, Terms(), is_delivered=True)

    assert await books.ledger.close(close) == Closed(5 + 10 * 2)
    assert (await books.ledger.balance(CONSUMER)).spendable == 975


async def test_a_hang_up_pays_the_provider_for_what_was_relayed_and_releases_the_rest(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=1000)
    hold, held = await books.held(500)
    relayed = usage(UsageOutcome.CANCELLED, tokens_out=100)

    await books.ledger.close(
        settlement(Reservation(hold.id, CONSUMER, held), relayed, PRICE, Terms(fee_bps=1000), is_delivered=True)
    )

    assert (await books.ledger.balance(PROVIDER)).earnings == 205 - 20
    assert (await books.ledger.balance(CONSUMER)).spendable == 795


async def test_a_large_settlement_keeps_every_digit(books: OpenLedger) -> None:
    most = 10**15
    await books.give(CONSUMER, paid=most)
    hold, held = await books.held(most)

    assert await books.ledger.close(post(hold, held, most - 2, 1, 1)) == Closed(most)
    assert (await books.ledger.balance(PROVIDER)).earnings == most - 2


async def test_words_of_any_script_are_kept_and_a_zero_byte_is_refused(books: OpenLedger) -> None:
    await books.give(CONSUMER, promo=100)
    hold, held = await books.held(10)
    odd = Usage(KEY, MODEL.__class__("модель-模型'\"%"), UsageOutcome.NOT_DELIVERED)
    close = replace(void(hold, held), usage=odd)

    assert await books.ledger.close(replace(close, usage=replace(odd, machine="a\x00b"))) == Invalid("text")
    assert await books.ledger.close(close) == Closed(0)
    record = await books.ledger.usage_record(hold.id)
    assert record is not None
    assert record.usage == odd
