"""What those who wait are told, who is refused at once, and for whom room is kept."""

from __future__ import annotations

import pytest

from hushnet.coordinator.serving.route import STARVED_S
from hushnet.sealing.errors import WireCode
from hushnet.wire.frames import Capacity
from support.fleet import Exchange, Network, ScriptedProvider, ServedAttempt, open_answer, says, until
from support.scripted_provider import Part

ASKS = {"hushnet-queue-updates": "true"}


async def full(network: Network, key: str) -> tuple[ScriptedProvider, ServedAttempt, Exchange]:
    """A provider with one slot that is taken."""
    provider = await network.provider(slots=1)
    running = network.chat(key=key)
    return provider, await provider.attempt(), running


async def test_who_asks_is_told_its_place_and_then_gets_the_answer(network: Network) -> None:
    key = await network.consumer()
    provider, attempt, running = await full(network, key)
    first = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)

    second = network.chat(key=key, headers=ASKS)
    await second.said(": queue position=2 estimate_s=unknown\n\n")
    assert (second.status, second.headers["content-type"]) == (200, "text/event-stream")
    assert "hushnet-provider" not in second.headers
    says("one")(attempt)
    await provider.attempt(2)
    network.advance(1.0)
    await second.said(": queue position=1 estimate_s=unknown\n\n")
    says("two")(provider.served[1])
    says("three")(await provider.attempt(3))

    assert (await second.finished()).text == "three"
    assert second.is_done
    for exchange in (running, first):
        await exchange.finished()


async def test_who_does_not_ask_is_told_nothing(network: Network) -> None:
    key = await network.consumer()
    provider, attempt, running = await full(network, key)
    waiting = network.chat(key=key)
    await until(lambda: network.serving.service.waiting == 1)
    network.advance(5.0)
    says("one")(attempt)
    says("two")(await provider.attempt(2))

    assert b"queue" not in (await waiting.finished()).body
    assert waiting.headers["hushnet-provider"] == provider.provider_id
    await running.finished()


async def test_a_failure_after_the_first_comment_is_an_event_and_no_proper_end(network: Network) -> None:
    key = await network.consumer()
    provider, _, running = await full(network, key)
    waiting = network.chat(key=key, headers=ASKS)
    await waiting.said(": queue position=1")

    provider.close("closing")
    await waiting.finished()
    await running.finished()

    assert waiting.events[-1]["error"]["code"] == "model_unavailable"
    assert not waiting.is_done


async def told_and_served(network: Network) -> tuple[Exchange, Exchange, ServedAttempt]:
    """One who was told its place and whose attempt has now reached the provider; the request before it; that attempt."""
    key = await network.consumer()
    provider, attempt, running = await full(network, key)
    waiting = network.chat(key=key, headers=ASKS)
    await waiting.said(": queue position=1")
    says("one")(attempt)
    return waiting, running, await provider.attempt(2)


DETAIL = b'{"error": {"message": "no\\nsuch role", "type": "invalid_request_error"}}'


def as_an_error(attempt: ServedAttempt) -> None:
    attempt.error(WireCode.CONTEXT_TOO_LONG, DETAIL)


def as_an_answer(attempt: ServedAttempt) -> None:
    attempt.send(attempt.sealer.content(DETAIL), attempt.sealer.end(attempt.meter()))
    attempt.finish()


@pytest.mark.parametrize("sent", [as_an_error, as_an_answer])
async def test_a_providers_error_after_the_first_comment_is_shown_as_an_event(network: Network, sent: Part) -> None:
    waiting, running, refused = await told_and_served(network)
    refused.head(status=400, content_type="application/json")
    sent(refused)
    await waiting.finished()
    await running.finished()

    assert waiting.events == [{"error": {"message": "no\nsuch role", "type": "invalid_request_error"}}]
    assert not waiting.is_done


@pytest.mark.parametrize(("status", "kind"), [(200, "application/json"), (429, "text/event-stream")])
async def test_what_is_not_shown_after_the_first_comment_is_not_paid(network: Network, status: int, kind: str) -> None:
    waiting, running, odd = await told_and_served(network)
    odd.head(status=status, content_type=kind)
    odd.say(*["word "] * 40)
    odd.end()
    await waiting.finished()
    await running.finished()

    assert waiting.events[-1]["error"]["code"] == "provider_failed"
    assert (await network.usage_of(waiting)).cost == 0


async def test_an_error_that_is_no_number_ends_the_stream_plainly(network: Network) -> None:
    waiting, running, odd = await told_and_served(network)
    odd.head(status=400, content_type="application/json")
    odd.error(WireCode.CONTEXT_TOO_LONG, b'{"error": {"message": "no", "much": 1e999}}')
    await waiting.finished()
    await running.finished()

    assert waiting.is_ended
    assert waiting.events[-1]["error"]["code"] == "context_too_long"


async def test_a_sealed_stream_of_events_carries_the_comments_too(network: Network) -> None:
    key = await network.consumer()
    provider, attempt, running = await full(network, key)
    sealed = network.seal(provider)
    waiting = network.send_sealed(sealed, key=key, is_binary=False, **ASKS)
    await waiting.said(": queue position=1")
    says("one")(attempt)
    says("two")(await provider.attempt(2))
    await waiting.finished()
    await running.finished()

    assert b"two" in b"".join(frame.data for frame in open_answer(sealed, waiting.body, is_binary=False))


async def test_records_back_to_back_carry_no_comments(network: Network) -> None:
    key = await network.consumer()
    provider, attempt, running = await full(network, key)
    sealed = network.seal(provider)
    waiting = network.send_sealed(sealed, key=key, **ASKS)
    await until(lambda: network.serving.service.waiting == 1)
    network.advance(2.0)
    says("one")(attempt)
    says("two")(await provider.attempt(2))
    await waiting.finished()
    await running.finished()

    assert open_answer(sealed, waiting.body)


async def test_hanging_up_while_told_leaves_the_queue(network: Network) -> None:
    key = await network.consumer()
    provider, attempt, running = await full(network, key)
    waiting = network.chat(key=key, headers=ASKS)
    await waiting.said(": queue")

    waiting.hang_up()
    await until(lambda: network.serving.service.waiting == 0)
    says("one")(attempt)
    await running.finished()

    assert len(provider.served) == 1


async def test_who_could_only_be_served_too_late_is_refused_at_once_and_told_when_to_come_back(
    network: Network,
) -> None:
    key = await network.consumer(100_000_000)
    provider = await network.provider(slots=1)
    exchanges = [network.chat(key=key) for _ in range(40)]
    await until(lambda: network.serving.service.waiting == 39)
    for number in range(1, 11):  # one every ten seconds: 30 wait, which is 300 s
        attempt = await provider.attempt(number)
        network.advance(10.0)
        says("x")(attempt)
        await until(lambda number=number: sum(each.task.done() for each in exchanges) == number)
    await provider.attempt(11)

    late = await network.chat(key=key).finished()
    told = network.chat(key=await network.consumer(), headers=ASKS)
    await told.said(": queue position=2 estimate_s=20\n\n")

    assert (late.status, late.json["error"]["code"]) == (429, "capacity")
    assert int(late.headers["retry-after"]) == 60  # 300 s less the 120 s that it may wait, at most a minute
    provider.close("closing")
    for exchange in (*exchanges, told):
        await exchange.finished()


async def test_a_request_that_no_budget_could_ever_take_is_refused_and_does_not_wait(network: Network) -> None:
    provider = await network.provider(slots=4, part=says("x"))
    network.gate.heartbeat(provider.provider_id, Capacity(slots=4, active=0, tokens_max=1000))
    key = await network.consumer(100_000_000)

    refused = await network.chat(key=key, max_tokens=30000).finished()

    assert (refused.status, refused.json["error"]["code"]) == (400, "context_too_long")
    assert (await network.chat(key=key, max_tokens=100).finished()).text == "x"


async def test_a_large_request_is_not_starved_by_small_ones(network: Network) -> None:
    provider = await network.provider(slots=4)
    network.gate.heartbeat(provider.provider_id, Capacity(slots=4, active=0, tokens_max=16_000))
    small, large = await network.consumer(100_000_000), await network.consumer(100_000_000)
    running = [network.chat(key=small, max_tokens=3000) for _ in range(4)]
    attempts = [await provider.attempt(number) for number in range(1, 5)]
    waiting = network.chat(key=large, max_tokens=7000)
    await until(lambda: network.serving.service.waiting == 1)

    says("a")(attempts[0])
    await running[0].finished()
    early = network.chat(key=small, max_tokens=3000)
    fifth = await provider.attempt(5)  # it slips in: the large one has not waited for long
    network.advance(STARVED_S)
    says("b")(attempts[1])
    await running[1].finished()
    late = network.chat(key=small, max_tokens=3000)
    await until(lambda: network.serving.service.waiting == 2)
    assert len(provider.served) == 5
    for attempt in (*attempts[2:], fifth):
        says("c")(attempt)
    says("large")(await provider.attempt(6))

    assert (await waiting.finished()).text == "large"
    says("d")(await provider.attempt(7))
    for exchange in (*running, early, late):
        await exchange.finished()
