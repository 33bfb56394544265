"""`X-Timing`: every chat answer says where its time went, and the parts add up."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from hushnet.sealing.errors import WireCode
from support.exchange import Exchange
from support.fleet import Network, says, until
from support.scripted_provider import refuses


def parts_of(exchange: Exchange) -> dict[str, int]:
    pairs = (part.partition("=") for part in exchange.headers["x-timing"].split(", "))
    return {name: int(us) for name, _, us in pairs}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_standard_answer_tells_the_queue_from_the_provider(network: Network, stream: bool) -> None:
    provider = await network.provider(slots=1)
    key = await network.consumer()
    first = network.chat(key=key)
    attempt = await provider.attempt()
    second = network.chat(key=key, stream=stream)
    await until(lambda: network.serving.service.waiting == 1)

    network.clock.advance(2.0)
    says("one")(attempt)
    following = await provider.attempt(2)
    network.clock.advance(3.0)
    says("two")(following)
    await first.finished()
    await second.finished()

    parts = parts_of(second)
    assert (parts["queue"], parts["provider"]) == (2_000_000, 3_000_000)
    assert sum(parts.values()) == 5_000_000


@pytest.mark.parametrize("stream", [True, False])
async def test_a_sealed_answer_says_it_too(network: Network, stream: bool) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.send_sealed(network.seal(provider, stream=stream), key=key)
    attempt = await provider.attempt()
    network.clock.advance(1.5)
    says("hello")(attempt)
    await exchange.finished()

    parts = parts_of(exchange)
    assert parts["provider"] == sum(parts.values()) == 1_500_000


async def test_what_a_provider_generates_after_its_first_words_is_not_in_the_head_of_a_stream(network: Network) -> None:
    provider = await network.provider()
    exchange = network.chat(key=await network.consumer())
    attempt = await provider.attempt()
    network.clock.advance(1.0)
    attempt.head()
    attempt.role()
    attempt.say("first")
    await exchange.said("first")
    network.clock.advance(7.0)
    attempt.end()
    await exchange.finished()

    assert sum(parts_of(exchange).values()) == 1_000_000


async def test_the_times_of_all_attempts_add_up(network: Network) -> None:
    first = await network.provider(decode_tokens_s=80.0)
    second = await network.provider()
    exchange = network.chat(key=await network.consumer())
    refused = await first.attempt()
    network.clock.advance(1.0)
    refuses(WireCode.ENGINE_FAILED)(refused)
    attempt = await second.attempt()
    network.clock.advance(2.0)
    says("hello")(attempt)
    await exchange.finished()

    assert parts_of(exchange)["provider"] == 3_000_000


async def test_errors_say_how_far_they_came(network: Network) -> None:
    await network.provider(part=says("never"))
    poor = await network.consumer(micro_usd=0)

    unpaid = await network.chat(key=poor).finished()
    unknown = await network.chat(key=await network.consumer(), model="nobody-has-this").finished()
    stranger = await network.chat(key="key-of-nobody").finished()
    broken = await network.post(b"{", key=poor).finished()

    assert [each.status for each in (unpaid, unknown, stranger, broken)] == [402, 404, 401, 400]
    assert all("provider" in parts_of(each) for each in (unpaid, unknown, stranger, broken))


async def test_the_wait_for_a_slow_body_is_in_no_part(network: Network) -> None:
    provider = await network.provider()
    dispatcher, is_waited_for, body_comes = network.application, asyncio.Event(), asyncio.Event()

    async def with_a_late_body(scope: Scope, receive: Receive, send: Send) -> None:
        async def late() -> Message:
            is_waited_for.set()
            await body_comes.wait()
            return await receive()

        await dispatcher(scope, late, send)

    network.application = with_a_late_body  # type: ignore[assignment]
    exchange = network.chat(key=await network.consumer())
    await is_waited_for.wait()
    network.clock.advance(5.0)
    body_comes.set()
    attempt = await provider.attempt()
    network.clock.advance(1.0)
    says("hello")(attempt)
    await exchange.finished()

    assert sum(parts_of(exchange).values()) == 1_000_000
