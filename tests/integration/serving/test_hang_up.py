"""The consumer hangs up, in every phase: the provider hears it at once, and only what was relayed is paid."""

from __future__ import annotations

import asyncio

import pytest

from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.coordinator.serving.rules.stops import Stop
from hushnet.sealing.errors import WireCode
from support.fleet import Exchange, Network, ScriptedProvider, says, until


def request(network: Network, provider: ScriptedProvider, key: str, mode: str) -> Exchange:
    if mode == "sealed":
        return network.send_sealed(network.seal(provider), key=key)
    return network.chat(key=key, stream=mode == "stream")


MODES = pytest.mark.parametrize("mode", ["stream", "whole", "sealed"])


async def until_cancelled(attempt) -> None:
    await until(lambda: attempt.cancelled)
    assert attempt.cancelled is WireCode.CANCELLED


@MODES
async def test_before_the_hold(network: Network, mode: str) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    exchange = request(network, provider, key, mode)
    exchange.hang_up()

    await exchange.finished()

    assert provider.served == []
    assert all(record.cost == 0 for record in await network.usage(key))


async def test_before_the_body_is_complete(network: Network) -> None:
    key = await network.consumer()
    exchange = network.post(b"", key=key)
    exchange._incoming.get_nowait()
    exchange.hang_up()

    await exchange.finished()

    assert exchange.status == 0
    assert await network.usage(key) == []


@MODES
async def test_while_the_hold_is_being_made(network: Network, mode: str) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    asked, go_on = asyncio.Event(), asyncio.Event()
    hold = network.ledger.hold

    async def slow_hold(wanted):
        asked.set()
        await go_on.wait()
        return await hold(wanted)

    network.ledger.hold = slow_hold
    exchange = request(network, provider, key, mode)
    await asked.wait()

    exchange.hang_up()
    await exchange.finished()
    go_on.set()

    assert [record.usage.outcome for record in await network.usage(key)] == [UsageOutcome.NOT_DELIVERED]
    assert provider.served == []


@MODES
async def test_while_it_waits_for_a_provider(network: Network, mode: str) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer()
    first = network.chat(key=key)
    attempt = await provider.attempt()
    exchange = request(network, provider, key, mode)
    await until(lambda: network.serving.service.waiting == 1)

    exchange.hang_up()
    await exchange.finished()

    assert network.serving.service.waiting == 0
    says("x")(attempt)
    await first.finished()
    await network.settled()
    assert len(provider.served) == 1


@MODES
async def test_before_the_first_content(network: Network, mode: str) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = request(network, provider, key, mode)
    attempt = await provider.attempt()
    attempt.head()

    exchange.hang_up()
    await until_cancelled(attempt)
    await exchange.finished()

    record = (await network.usage(key))[0]
    assert (record.cost, record.usage.outcome) == (0, UsageOutcome.NOT_DELIVERED)


@pytest.mark.parametrize("mode", ["stream", "sealed"])
async def test_in_mid_stream_it_pays_for_what_was_relayed_and_releases_the_rest(network: Network, mode: str) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = request(network, provider, key, mode)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one", "two", "three")
    attempt.usage()
    await until(lambda: exchange.chunks)
    attempt.say("four", "five")

    exchange.hang_up()
    await until_cancelled(attempt)
    await exchange.finished()

    record = (await network.usage(key))[0]
    assert (record.usage.tokens_in, record.usage.tokens_out) == (7, 3)
    assert record.usage.outcome is UsageOutcome.CANCELLED
    assert await network.earned(provider) == record.cost == 7 + 3 * 4


async def test_in_the_middle_of_an_answer_that_is_not_streamed_nothing_is_paid(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = request(network, provider, key, "whole")
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one", "two")
    attempt.usage()

    exchange.hang_up()
    await until_cancelled(attempt)
    await exchange.finished()

    assert (await network.usage(key))[0].cost == 0


async def test_the_final_meter_of_a_cancelled_attempt_does_not_raise_the_bill(network: Network) -> None:
    provider = await network.provider()
    provider.ignores_cancel = True
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    attempt.usage(output=1, input=7)
    await until(lambda: exchange.chunks)
    attempt.say("two", "three")

    exchange.hang_up()
    await until(lambda: attempt.cancelled)
    attempt.output = 90
    attempt.error(WireCode.CANCELLED)

    assert (await network.usage(key))[0].cost == 7 + 4


async def test_a_provider_that_ignores_a_cancel_does_not_hold_up_the_settlement(network: Network) -> None:
    provider = await network.provider(slots=1)
    provider.ignores_cancel = True
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    attempt.usage()
    await until(lambda: exchange.chunks)

    exchange.hang_up()

    assert (await network.usage(key))[0].cost == 7 + 4
    second = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)
    network.advance(31)
    says("slot taken back")(await provider.attempt(2))
    assert (await second.finished()).text == "slot taken back"


async def test_before_a_complete_answer_was_read_it_pays_for_what_was_relayed(network: Network) -> None:
    provider = await network.provider()
    exchange = network.chat(key=await network.consumer())
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("read")
    attempt.usage()
    await exchange.said("read")
    exchange.stop_reading()
    attempt.say("unread")
    attempt.end()
    for _ in range(5):
        await asyncio.sleep(0)

    exchange.hang_up()
    exchange.read_on()
    await exchange.finished()

    record = await network.usage_of(exchange)
    assert (record.cost, record.usage.outcome) == (7 + 4, UsageOutcome.CANCELLED)


async def test_after_the_last_byte_it_changes_nothing_and_cancels_nothing(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    exchange = await network.chat(key=key).finished()
    exchange.hang_up()

    assert (await network.usage_of(exchange)).usage.outcome is UsageOutcome.COMPLETED
    assert provider.served[0].cancelled is None


async def test_a_cancel_leaves_before_anything_is_awaited(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    await exchange.said("one")
    life = next(iter(network.serving.service._lives))

    life.stop(Stop.HUNG_UP)

    assert attempt.cancelled is WireCode.CANCELLED
    await exchange.finished()


async def test_a_response_that_is_cancelled_from_outside_counts_as_a_hang_up(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.say("one")
    await exchange.said("one")

    exchange.task.cancel()

    await until_cancelled(attempt)
    await network.settled()
