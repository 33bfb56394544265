"""Consumers that do not read: bounded memory, credit withheld, one grace, an honest end and a correct bill."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.sealing.errors import WireCode
from support.fleet import LIMITS, Exchange, Network, ServedAttempt, body_of, open_answer, until

WINDOW = 8 * 1024
SMALL = replace(LIMITS, window_bytes=WINDOW, patience_s=0.25)
TEXT = "x" * 200


def say_bytes(attempt: ServedAttempt, size: int) -> int:
    """Stream at least `size` record bytes; returns the tokens said."""
    sent = 0
    while sent < size:
        before = attempt.output
        attempt.say(TEXT)
        sent += 450
        assert attempt.output == before + 1
    return attempt.output


async def let_one_write_through(exchange: Exchange) -> None:
    written = len(exchange.chunks)
    exchange.read_one()
    await until(lambda: len(exchange.chunks) > written)


async def begun(network: Network, key: str):
    provider = await network.provider()
    exchange = network.chat(key=key, max_tokens=1000)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("first")
    attempt.usage()
    await exchange.said("first")
    return provider, exchange, attempt


async def test_credit_comes_back_as_the_consumer_drains(database_path: Path) -> None:
    async with Network.open(database_path, limits=SMALL) as network:
        key = await network.consumer()
        _, exchange, attempt = await begun(network, key)

        for _ in range(8):
            say_bytes(attempt, WINDOW // 4)
            await until(lambda: exchange.body.count(b"x" * 200) == attempt.output - 1)

        assert attempt.granted >= WINDOW
        assert attempt.granted <= 8 * (WINDOW // 4 + 900) + 1000
        attempt.end()
        await exchange.finished()


async def test_a_consumer_that_does_not_read_gets_no_more_credit(database_path: Path) -> None:
    async with Network.open(database_path, limits=SMALL) as network:
        key = await network.consumer()
        _, exchange, attempt = await begun(network, key)
        granted = attempt.granted

        exchange.stop_reading()
        say_bytes(attempt, WINDOW)
        await asyncio.sleep(0)

        assert attempt.granted == granted
        exchange.hang_up()
        exchange.read_on()
        await exchange.finished()


async def test_a_window_that_stays_full_for_the_grace_is_cancelled_with_an_error_and_billed_as_relayed(
    database_path: Path,
) -> None:
    async with Network.open(database_path, limits=SMALL) as network:
        key = await network.consumer()
        provider, exchange, attempt = await begun(network, key)
        exchange.stop_reading()
        say_bytes(attempt, WINDOW)
        attempt.usage()
        for _ in range(5):
            await asyncio.sleep(0)

        network.advance(0.0)
        network.advance(0.2)
        assert attempt.cancelled is None
        network.advance(0.1)
        assert attempt.cancelled is WireCode.BACKPRESSURE
        await network.settled()
        exchange.read_on()
        await exchange.finished()

        assert exchange.events[-1]["error"]["code"] == "backpressure"
        assert not exchange.is_done
        record = await network.usage_of(exchange)
        assert record.usage.outcome is UsageOutcome.FAILED_AFTER_CONTENT
        assert (record.cost, record.usage.tokens_out) == (7 + 4, 1)
        assert await network.earned(provider) == record.cost


async def test_a_slow_consumer_that_goes_on_reading_is_never_cut(database_path: Path) -> None:
    async with Network.open(database_path, limits=SMALL) as network:
        key = await network.consumer()
        _, exchange, attempt = await begun(network, key)

        for _ in range(6):
            exchange.stop_reading()
            say_bytes(attempt, WINDOW * 3 // 4)
            await asyncio.sleep(0)
            network.advance(0.2)
            exchange.read_on()
            await until(lambda: exchange.body.count(b"x" * 200) == attempt.output - 1)
            network.advance(0.2)
        attempt.end()
        await exchange.finished()

        assert exchange.is_done
        assert (await network.usage_of(exchange)).usage.outcome is UsageOutcome.COMPLETED


async def test_every_write_that_finishes_starts_the_grace_anew(database_path: Path) -> None:
    async with Network.open(database_path, limits=SMALL) as network:
        key = await network.consumer()
        _, exchange, attempt = await begun(network, key)
        exchange.stop_reading()
        for _ in range(4):
            say_bytes(attempt, WINDOW)
            await asyncio.sleep(0)
            network.advance(0.2)
            await let_one_write_through(exchange)
            assert attempt.cancelled is None

        exchange.hang_up()
        exchange.read_on()
        await exchange.finished()


async def test_a_provider_that_waits_for_credit_is_not_taken_for_silent(database_path: Path) -> None:
    async with Network.open(database_path, limits=replace(SMALL, patience_s=1000.0)) as network:
        key = await network.consumer()
        _, exchange, attempt = await begun(network, key)
        exchange.stop_reading()
        say_bytes(attempt, WINDOW)
        await asyncio.sleep(0)

        network.advance(LIMITS.idle_s_max * 2)

        assert attempt.cancelled is None
        exchange.read_on()
        attempt.end()
        await exchange.finished()
        assert exchange.is_done


async def test_a_complete_answer_waits_for_its_consumer(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    sealed = network.seal(provider)
    exchange = network.send_sealed(sealed, key=key)
    exchange.stop_reading()
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("all", "of", "it")
    attempt.end()
    for _ in range(5):
        await asyncio.sleep(0)
    assert network.serving.service.running == 1

    exchange.read_on()
    await exchange.finished()

    assert b"all" in body_of(open_answer(sealed, exchange.body))
    assert (await network.usage_of(exchange)).cost == 7 + 3 * 4


async def test_a_complete_answer_that_is_never_read_is_not_charged(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key)
    exchange.stop_reading()
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("unread")
    attempt.end()
    for _ in range(5):
        await asyncio.sleep(0)

    network.advance(LIMITS.total_s_max + 1)

    assert [record.cost for record in await network.usage(key)] == [0]
    exchange.read_on()
    await exchange.finished()
