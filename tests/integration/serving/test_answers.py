"""The honest case, in both modes and both forms: what arrives, and what it costs."""

from __future__ import annotations

import pytest

from hushnet.coordinator.ledger.model import Mode, Tier, UsageOutcome
from hushnet.sealing.encapsulation import Encapsulation
from hushnet.sealing.envelope import parse_envelope
from hushnet.sealing.prepared import PreparedKeys
from hushnet.sealing.records import Kind
from support.fleet import MODEL, PROMPT, Network, body_of, open_answer, says, until


async def test_a_streamed_answer_arrives_whole_and_is_charged_by_its_tokens(network: Network) -> None:
    provider = await network.provider(part=says("Hel", "lo"))
    key = await network.consumer()

    exchange = await network.chat(key=key).finished()

    assert exchange.status == 200
    assert exchange.headers["content-type"] == "text/event-stream"
    assert exchange.text == "Hello"
    assert exchange.is_done
    record = await network.usage_of(exchange)
    assert (record.usage.tokens_in, record.usage.tokens_out) == (7, 2)
    assert record.cost == 7 + 2 * 4
    assert record.usage.outcome is UsageOutcome.COMPLETED
    assert (record.usage.machine, record.usage.provider) == (provider.provider_id, provider.account)
    assert await network.earned(provider) == 15


async def test_a_whole_answer_is_one_json_object_with_its_length(network: Network) -> None:
    await network.provider(part=says("Hel", "lo"))
    key = await network.consumer()

    exchange = await network.chat(key=key, stream=False).finished()

    assert exchange.status == 200
    assert exchange.json["choices"][0]["message"]["content"] == "Hello"
    assert exchange.headers["content-length"] == str(len(exchange.body))
    assert (await network.usage_of(exchange)).cost == 15


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_sealed_answer_opens_at_the_consumer_in_both_forms(
    network: Network, is_binary: bool, stream: bool
) -> None:
    provider = await network.provider(part=says("Hel", "lo"))
    key = await network.consumer()
    sealed = network.seal(provider, stream=stream)

    exchange = await network.send_sealed(sealed, key=key, is_binary=is_binary).finished()

    assert exchange.status == 200
    frames = open_answer(sealed, exchange.body, is_binary=is_binary)
    assert frames[0].kind is Kind.HEAD
    assert frames[-1].kind is Kind.END
    assert b"Hel" in body_of(frames)
    record = await network.usage_of(exchange)
    assert record.cost == 15
    assert record.usage.mode is Mode.SEALED


async def test_the_head_says_who_answers_and_in_which_mode(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    sealed = network.seal(provider)

    standard = await network.chat(key=key).finished()
    private = await network.send_sealed(sealed, key=key).finished()

    assert standard.headers["hushnet-mode"] == "standard"
    assert private.headers["hushnet-mode"] == "sealed"
    for exchange in (standard, private):
        assert exchange.headers["cache-control"] == "no-store"
        assert exchange.headers["x-accel-buffering"] == "no"
        assert exchange.headers["hushnet-provider"] == provider.provider_id
        assert exchange.headers["hushnet-trust"] == "self_signed"
        assert int(exchange.headers["hushnet-request-id"]) % 2 == 0
    assert (await network.usage_of(private)).usage.tier is Tier.SELF_SIGNED


async def test_usage_is_part_of_the_stream_where_the_caller_asks_for_it(network: Network) -> None:
    await network.provider(part=says("hi"))
    key = await network.consumer()

    exchange = await network.chat(key=key, stream_options={"include_usage": True}).finished()

    assert exchange.events[-1]["usage"]["completion_tokens"] == 1


async def test_records_reach_the_consumer_verbatim_and_in_order(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    sealed = network.seal(provider)
    exchange = network.send_sealed(sealed, key=key)
    attempt = await provider.attempt()
    sent: list[bytes] = []
    deliver = attempt.send
    attempt.send = lambda *raws: (sent.extend(raws), deliver(*raws))[1]  # type: ignore[method-assign]

    attempt.head()
    attempt.role()
    attempt.say("one", "two")
    attempt.usage()
    attempt.say("three")
    attempt.end()
    await exchange.finished()

    assert exchange.body == b"".join(sent)


async def test_what_waits_leaves_in_one_write(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key)
    attempt = await provider.attempt()
    attempt.head()
    attempt.role()
    attempt.say("first")
    await exchange.said("first")
    writes = len(exchange.chunks)

    for number in range(50):
        attempt.say(f"-{number}")
    await exchange.said("-49")

    assert len(exchange.chunks) == writes + 1
    attempt.end()
    await exchange.finished()


async def test_an_empty_completion_costs_nothing(network: Network) -> None:
    provider = await network.provider(part=says())
    key = await network.consumer()

    exchange = await network.chat(key=key).finished()

    assert exchange.is_done
    record = await network.usage_of(exchange)
    assert record.cost == 0
    assert record.usage.outcome is UsageOutcome.NOT_DELIVERED
    assert await network.earned(provider) == 0


async def test_the_provider_gets_the_request_as_it_was_sent_and_nothing_of_who_sent_it(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    await network.chat(key=key, seed=5).finished()

    opened = provider.served[0].opened
    assert PROMPT.encode() in opened.data
    assert b'"seed": 5' in opened.data
    assert key.encode() not in provider.served[0].envelope + opened.data
    assert opened.header.model == MODEL
    assert opened.header.max_output_tokens == 128


async def test_two_requests_at_once_do_not_meet(network: Network) -> None:
    provider = await network.provider()
    key = await network.consumer()
    first, second = network.chat(key=key), network.chat(key=key)
    one, two = await provider.attempt(1), await provider.attempt(2)
    for attempt in (one, two):
        attempt.head()
    one.say("one")
    two.say("two")
    two.end()
    one.end()

    assert {(await first.finished()).text, (await second.finished()).text} == {"one", "two"}
    assert one.envelope != two.envelope


async def test_a_sealed_request_of_megabytes_arrives_as_it_was_sealed(network: Network) -> None:
    provider = await network.provider(part=says("read"))
    key = await network.consumer(10_000_000)
    sealed = network.seal(provider, prompt="x" * 3_000_000, max_prompt_tokens=1 << 22)

    exchange = await network.send_sealed(sealed, key=key).finished()

    assert b"read" in body_of(open_answer(sealed, exchange.body))
    assert len(provider.served[0].opened.data) > 3_000_000


async def test_a_key_exchange_made_ahead_serves_the_next_standard_request_and_no_other(network: Network) -> None:
    provider = await network.provider(part=says("hello"))
    key = await network.consumer()
    await network.chat(key=key).finished()
    keys = network.serving.service._desk.keys._keys
    await until(lambda: keys.ready)
    ready = still_ready(keys)

    answer = await network.chat(key=key).finished()

    envelope = parse_envelope(provider.served[1].envelope)
    assert answer.text == "hello"
    wrapped = envelope.wrap_of(envelope.entries[0])
    used = [each for each in ready if wrapped.startswith(each.enc)]
    assert len(used) == 1
    assert not used[0].is_usable
    assert used[0] not in still_ready(keys)

    provider.rotate()
    assert (await network.chat(key=key).finished()).text == "hello"


def still_ready(keys: PreparedKeys) -> list[Encapsulation]:
    return [held for shelf in keys._shelves.values() for _, held in shelf.ready]
