"""What is refused before anything runs: the documented status, and nothing held."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.foundation.ids import ModelId
from hushnet.sealing.streaming import MEDIA_REQUEST
from hushnet.wire.frames import ModelOffer
from support.fleet import LIMITS, MODEL, FixedTariff, Network, says


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"{}", 400),
        (b"[" * 100_000, 400),
        (json.dumps({"model": MODEL, "messages": "x"}).encode(), 400),
        (json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": -1}).encode(), 400),
        (
            json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 2**62}).encode(),
            400,
        ),
        (json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "n": 2**61}).encode(), 400),
        (b" " * 3_000_000, 413),
    ],
)
async def test_a_bad_body_is_refused_with_its_status(network: Network, body: bytes, code: int) -> None:
    await network.provider(part=says("hi"))
    key = await network.consumer()

    exchange = await network.post(body, key=key).finished()

    assert exchange.status == code
    assert set(exchange.json["error"]) >= {"message", "type", "param", "code"}
    assert await network.usage(key) == []


async def test_an_unknown_key_is_refused_before_the_body_is_looked_at(network: Network) -> None:
    exchange = await network.post(b"{", key="nobody").finished()

    assert exchange.status == 401
    assert exchange.json["error"]["code"] == "invalid_api_key"


async def test_an_unknown_model_is_404_and_a_known_one_without_providers_503(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    unknown = await network.chat(key=key, model="nobody-has-this").finished()
    provider.close("closing")
    gone = await network.chat(key=key).finished()

    assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")
    assert (gone.status, gone.json["error"]["code"]) == (503, "model_unavailable")
    assert await network.usage(key) == []


async def test_a_model_with_a_price_of_its_own_is_known_though_nobody_serves_it_yet(network: Network) -> None:
    key = await network.consumer()
    network.tariffs.tariff = FixedTariff(id=7)

    exchange = await network.chat(key=key).finished()

    assert exchange.status == 503


async def test_an_empty_balance_is_402_and_reaches_no_provider(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer(micro_usd=10)

    exchange = await network.chat(key=key).finished()

    assert (exchange.status, exchange.json["error"]["code"]) == (402, "insufficient_funds")
    assert provider.served == []


async def test_a_feature_that_nobody_has_is_refused_at_once(network: Network) -> None:
    await network.provider(part=says("hi"))
    key = await network.consumer()

    exchange = await network.chat(key=key, logprobs=True).finished()

    assert (exchange.status, exchange.json["error"]["code"]) == (400, "unsupported_feature")


async def test_a_floor_above_everybody_is_refused_at_once(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    exchange = await network.send_sealed(network.seal(provider, trust="hardware"), key=key).finished()

    assert (exchange.status, exchange.json["code"]) == (503, "no_provider_at_floor")


@pytest.mark.parametrize("content_type", ["application/json", MEDIA_REQUEST])
async def test_an_encoded_body_is_415(network: Network, content_type: str) -> None:
    key = await network.consumer()

    exchange = await network.post(
        b"{}", key=key, content_type=content_type, headers={"content-encoding": "gzip"}
    ).finished()

    assert exchange.status == 415


async def test_another_content_type_is_415(network: Network) -> None:
    key = await network.consumer()

    exchange = await network.post(b"{}", key=key, content_type="text/plain").finished()

    assert exchange.status == 415


async def test_a_broken_envelope_is_400_as_problem_json(network: Network) -> None:
    key = await network.consumer()

    exchange = await network.post(b"HSE1 and then nothing", key=key, content_type=MEDIA_REQUEST).finished()

    assert exchange.status == 400
    assert exchange.headers["content-type"] == "application/problem+json"
    assert exchange.json["code"] == "bad_envelope"


async def test_an_envelope_for_another_endpoint_is_400(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    exchange = await network.send_sealed(network.seal(provider, endpoint="/v1/messages"), key=key).finished()

    assert exchange.status == 400


@pytest.mark.parametrize("seconds", [-600, 600])
async def test_an_envelope_from_another_time_is_clock_skew(network: Network, seconds: int) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    exchange = await network.send_sealed(network.seal(provider, now=network.now + seconds), key=key).finished()

    assert (exchange.status, exchange.json["code"]) == (400, "clock_skew")
    assert provider.served == []


async def test_the_same_envelope_twice_is_409_and_runs_once(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    sealed = network.seal(provider)

    first = await network.send_sealed(sealed, key=key).finished()
    second = await network.send_sealed(sealed, key=key).finished()

    assert first.status == 200
    assert (second.status, second.json["code"]) == (409, "duplicate_envelope")
    assert len(await network.usage(key)) == 1


async def test_keys_that_nobody_knows_are_422(network: Network) -> None:
    provider, stranger = await network.provider(part=says("hi")), await network.provider(part=says("hi"))
    key = await network.consumer()
    sealed = network.seal(stranger)
    stranger.close("closing")

    exchange = await network.send_sealed(sealed, key=key).finished()

    assert (exchange.status, exchange.json["code"]) == (422, "keys_stale")
    assert provider.served == []


async def test_recipients_that_serve_another_model_are_503(network: Network) -> None:
    await network.provider(part=says("hi"))
    other = await network.provider(
        models=[ModelOffer(model=ModelId("other"), context_tokens=4096, slots=1)], part=says("hi")
    )
    key = await network.consumer()

    exchange = await network.send_sealed(network.seal(other), key=key).finished()

    assert (exchange.status, exchange.json["code"]) == (503, "recipients_unavailable")


async def test_no_route_reaches_a_provider_without_a_hold(database_path: Path) -> None:
    async with Network.open(database_path, limits=replace(LIMITS, output_tokens_default=1 << 20)) as network:
        provider = await network.provider(part=says("hi"))
        key = await network.consumer(micro_usd=1_000_000)

        exchange = await network.chat(key=key, max_tokens=None).finished()

        assert exchange.status == 402
        assert provider.served == []
