"""A conversation goes on where it was: tags, the memory of who served, and the choice that follows from both."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from hushnet.foundation.redaction import Secret
from hushnet.sdk.async_client import AsyncClient
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.settings import ConsumerSettings
from hushnet.sealing.envelope import parse_envelope
from support.fleet import MODEL, NETWORK, Network, ScriptedProvider, says, until

CANARY = "marmalade-canary-5512"
LONG = f"{CANARY} " * 400
"""About 3,000 tokens by the router's estimate: reading them takes a provider of 400 tokens a second many seconds."""
FAST, FASTER = 40.0, 200.0
Turns = list[dict[str, str]]


def said(*texts: str) -> Turns:
    """Make a conversation of turns that alternate, the user's first."""
    return [{"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(texts)]


async def ask(network: Network, key: str, messages: Turns, **members: Any) -> str:
    """Send a standard request and return the id of the provider that answered."""
    exchange = await network.chat(key=key, messages=messages, **members).finished()
    assert exchange.status == 200, exchange.body
    return exchange.headers["hushnet-provider"]


async def two(network: Network) -> tuple[ScriptedProvider, ScriptedProvider]:
    """Let two providers join of which the second is cheaper by more than the window of ties."""
    return (
        await network.provider(part=says("hi"), decode_tokens_s=FAST),
        await network.provider(part=says("hi"), decode_tokens_s=FASTER),
    )


@asynccontextmanager
async def sdk(network: Network, key: str, tmp_path: Path, **options: Any) -> AsyncIterator[AsyncClient]:
    """Run the SDK's own client against the coordinator's application."""
    transport = httpx.ASGITransport(app=network.application)
    settings = ConsumerSettings("http://127.0.0.1:8470", Secret(key), NETWORK, tmp_path)
    http = httpx.AsyncClient(transport=transport)
    async with AsyncClient(settings=settings, http_client=http, **options) as client:
        client.session.clock = network.clock
        yield client


async def test_the_second_turn_goes_where_the_first_was_read_although_another_is_cheaper(network: Network) -> None:
    slow, _ = await two(network)
    key = await network.consumer()
    assert await ask(network, key, said(LONG), route={"only": [slow.provider_id]}) == slow.provider_id

    again = [await ask(network, key, said(LONG, "hi", f"and {turn}?")) for turn in range(4)]

    assert set(again) == {slow.provider_id}


async def test_a_conversation_of_another_account_or_another_beginning_goes_by_cost(network: Network) -> None:
    slow, fast = await two(network)
    mine, others = await network.consumer(), await network.consumer()
    await ask(network, mine, said(LONG), route={"only": [slow.provider_id]})

    assert await ask(network, others, said(LONG, "hi", "and?")) == fast.provider_id
    assert await ask(network, mine, said("Say: " + LONG, "hi", "and?")) == fast.provider_id


async def test_a_provider_that_has_unloaded_the_model_has_read_nothing(network: Network) -> None:
    slow, fast = await two(network)
    key = await network.consumer()
    await ask(network, key, said(LONG), route={"only": [slow.provider_id]})

    network.gate.models_changed(slow.provider_id, [replace(slow.offers[0], is_loaded=False, load_s=0.01)])
    network.gate.models_changed(slow.provider_id, slow.offers)

    assert await ask(network, key, said(LONG, "hi", "and?")) == fast.provider_id


async def test_a_follow_up_goes_elsewhere_while_its_provider_is_loaded(network: Network) -> None:
    slow, fast = await two(network)
    key = await network.consumer()
    await ask(network, key, said(LONG), route={"only": [slow.provider_id]})

    slow.report(tokens_queued=40_000)
    assert await ask(network, key, said(LONG, "hi", "busy?")) == fast.provider_id
    slow.report(tokens_queued=0, active=4)
    assert await ask(network, key, said(LONG, "hi", "full?")) == fast.provider_id


async def test_a_provider_that_came_back_has_read_nothing(network: Network) -> None:
    slow, fast = await two(network)
    key = await network.consumer()
    await ask(network, key, said(LONG), route={"only": [slow.provider_id]})

    slow.close("restarted")
    slow.closed = None
    await slow.join()

    assert await ask(network, key, said(LONG, "hi", "still?")) == fast.provider_id


async def test_after_ten_minutes_a_follow_up_goes_by_cost_again(network: Network) -> None:
    slow, fast = await two(network)
    key = await network.consumer()
    await ask(network, key, said(LONG), route={"only": [slow.provider_id]})
    network.clock.advance(601)

    assert await ask(network, key, said(LONG, "hi", "still?")) == fast.provider_id


async def test_only_the_provider_whose_answer_was_relayed_is_remembered(network: Network) -> None:
    slow, fast = await two(network)
    fast.part = lambda attempt: attempt.lose()
    key = await network.consumer()
    assert await ask(network, key, said(LONG)) == slow.provider_id

    fast.part = says("hi")
    account = network.account_of(key)
    memory = network.serving.service._desk.prefixes.memory
    (known,) = {served.provider_id for entry in memory._accounts[account].values() for served in entry}
    assert known == slow.provider_id


async def test_a_provider_gets_one_salt_a_conversation_and_another_from_another_account(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    mine, others = await network.consumer(), await network.consumer()
    await ask(network, mine, said("one"))
    await ask(network, mine, said("one", "hi", "two"))
    await ask(network, mine, said("another"))
    await ask(network, others, said("one"))

    salts = [attempt.opened.meta["cache_salt"] for attempt in provider.served]
    assert salts[0] == salts[1]
    assert len({*salts}) == 3


async def test_nothing_of_the_text_is_in_what_leaves_confidential(network: Network, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    await network.provider(part=says("hi"))
    key = await network.consumer()
    exchange = network.chat(key=key, messages=said(CANARY, "hi", CANARY))
    (life,) = await until_running(network)
    facts = repr(life.body.facts)
    await exchange.finished()

    memory = network.serving.service._desk.prefixes.memory
    kept = repr(memory._accounts) + repr(memory._epochs)
    assert len(life.body.facts.tags) == 2
    assert CANARY not in facts + kept + caplog.text
    assert all(len(tag.tag) == 16 for tag in life.body.facts.tags)


async def until_running(network: Network) -> list[Any]:
    lives = network.serving.service._lives
    await until(lambda: lives)
    return list(lives)


async def test_a_sealed_conversation_goes_on_where_it_was_through_the_sdk(network: Network, tmp_path: Path) -> None:
    providers = [await network.provider(part=says("hi"), decode_tokens_s=FAST) for _ in range(6)]
    key = await network.consumer()
    async with sdk(network, key, tmp_path, policy=VerificationPolicy(recipients=2)) as client:
        messages = said(LONG)
        first = await client.chat.completions.create(model=MODEL, messages=messages)
        for turn in range(5):
            messages += [{"role": "assistant", "content": "hi"}, {"role": "user", "content": f"and {turn}?"}]
            answer = await client.chat.completions.create(model=MODEL, messages=messages)
            assert answer.facts.provider_id == first.facts.provider_id

    (served,) = [provider for provider in providers if provider.served]
    assert len(served.served) == 6
    assert len({attempt.opened.meta["cache_salt"] for attempt in served.served}) == 1


async def test_a_sealed_follow_up_goes_elsewhere_while_its_provider_is_loaded(network: Network, tmp_path: Path) -> None:
    providers = [await network.provider(part=says("hi"), decode_tokens_s=FAST) for _ in range(2)]
    key = await network.consumer()
    async with sdk(network, key, tmp_path) as client:
        first = await client.chat.completions.create(model=MODEL, messages=said(LONG))
        (served,) = [each for each in providers if each.provider_id == first.facts.provider_id]
        served.report(tokens_queued=40_000)
        second = await client.chat.completions.create(model=MODEL, messages=said(LONG, "hi", "and?"))

    assert second.facts.provider_id != first.facts.provider_id


async def test_a_client_without_affinity_sends_neither_tags_nor_salts(network: Network, tmp_path: Path) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    async with sdk(network, key, tmp_path, affinity=False) as client:
        await client.chat.completions.create(model=MODEL, messages=said("one", "hi", "two"))

    assert "cache_salt" not in provider.served[0].opened.meta
    assert len(network.serving.service._desk.prefixes.memory) == 0


async def test_the_sdk_s_tags_are_in_the_clear_and_hold_nothing_of_the_text(network: Network, tmp_path: Path) -> None:
    await network.provider(part=says("hi"))
    key = await network.consumer()
    seen: list[httpx.Request] = []
    async with sdk(network, key, tmp_path) as client:
        client.transport._client.event_hooks = {"request": [_collect(seen)]}
        await client.chat.completions.create(model=MODEL, messages=said(CANARY, CANARY, CANARY))
    (post,) = [request for request in seen if request.method == "POST"]

    assert post.headers["hushnet-affinity"].count(",") == 1
    assert CANARY not in str(post.headers)
    assert parse_envelope(post.content).header.cache is None


def _collect(seen: list[httpx.Request]) -> Any:
    async def collect(request: httpx.Request) -> None:
        seen.append(request)

    return collect


@pytest.mark.parametrize("value", ["AAAA", "A" * 22, "A" * 22 + ".99", ",", "A" * 5000])
async def test_a_sealed_request_with_malformed_tags_is_refused_before_anything_is_held(
    network: Network, value: str
) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    exchange = await network.send_sealed(network.seal(provider), key=key, **{"hushnet-affinity": value}).finished()

    assert (exchange.status, exchange.json["code"]) == (400, "bad_affinity")
    assert exchange.json["hint"]
    assert provider.served == []


async def test_standard_requests_bring_no_tags_of_their_own(network: Network) -> None:
    """What a stock client sends under that name is not believed, and not refused either."""
    await network.provider(part=says("hi"))
    key = await network.consumer()
    body = {"model": MODEL, "messages": said("one"), "stream": True, "max_tokens": 9}

    exchange = network.post(json.dumps(body).encode(), key=key, headers={"hushnet-affinity": "junk"})

    assert (await exchange.finished()).status == 200
