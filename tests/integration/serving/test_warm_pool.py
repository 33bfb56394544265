"""Models are loaded where they are asked for, kept where they are pinned, freed where nobody asks, and a cold start is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.routing.warmth import WarmLimits
from hushnet.foundation.ids import ModelId
from hushnet.sealing.errors import WireCode
from hushnet.wire.frames import Capacity, ModelOffer
from support.fleet import LIMITS, MODEL, Network, ScriptedProvider, refuses, says, until

OTHER = ModelId("other")


def offer(model: ModelId = MODEL, *, is_loaded: bool = True, load_s: float = 20.0, slots: int = 4) -> ModelOffer:
    return ModelOffer(model=model, context_tokens=8192, slots=slots, is_loaded=is_loaded, load_s=load_s)


COLD = offer(is_loaded=False)


def offers(provider: ScriptedProvider, *models: ModelOffer) -> None:
    provider.coordinator.gate.models_changed(provider.provider_id, models)


def parts_of(header: str) -> dict[str, int]:
    return {name: int(us) for name, _, us in (part.partition("=") for part in header.split(", "))}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_for_a_model_that_nobody_has_loaded_goes_to_who_loads_it_and_says_so(
    network: Network, stream: bool
) -> None:
    provider = await network.provider(models=[COLD])
    exchange = network.chat(key=await network.consumer(), stream=stream)
    attempt = await provider.attempt()
    network.clock.advance(12.0)
    offers(provider, offer())
    network.clock.advance(2.0)
    says("warm now")(attempt)
    await exchange.finished()

    assert "warm now" in (exchange.text if stream else exchange.json["choices"][0]["message"]["content"])
    assert exchange.headers["hushnet-cold-start"] == "true"
    parts = parts_of(exchange.headers["x-timing"])
    assert (parts["load"], parts["provider"]) == (12_000_000, 2_000_000)


async def test_an_answer_of_a_loaded_model_says_nothing_of_a_cold_start(network: Network) -> None:
    await network.provider(models=[offer()], part=says("hello"))
    exchange = await network.chat(key=await network.consumer()).finished()

    assert "hushnet-cold-start" not in exchange.headers
    assert parts_of(exchange.headers["x-timing"])["load"] == 0


async def test_who_has_the_model_loaded_is_preferred_however_fast_the_other_is(network: Network) -> None:
    cold = await network.provider(models=[COLD], decode_tokens_s=400.0)
    warm = await network.provider(models=[offer()], part=says("hello"))
    await network.chat(key=await network.consumer()).finished()

    assert (len(warm.served), len(cold.served)) == (1, 0)


async def test_an_attempt_at_a_provider_that_loads_first_has_that_much_longer_to_its_first_content(
    network: Network,
) -> None:
    provider = await network.provider(models=[offer(is_loaded=False, load_s=40.0)])
    exchange = network.chat(key=await network.consumer())
    attempt = await provider.attempt()
    network.advance(LIMITS.first_content_s_max + 39.0)

    assert attempt.cancelled is None
    network.advance(1.0)
    await until(lambda: attempt.cancelled is WireCode.TIMED_OUT)
    await exchange.finished()


async def test_demand_beyond_the_loaded_machines_has_another_load_before_it_is_needed(network: Network) -> None:
    warm = await network.provider(models=[offer()])
    cold = await network.provider(models=[COLD])
    key = await network.consumer()
    exchanges = [network.chat(key=key) for _ in range(4)]
    await until(lambda: len(warm.served) == 4)
    for _ in range(3):
        network.advance(1.0)

    assert cold.wishes == [("load", MODEL)]
    assert warm.wishes == []
    for attempt in warm.served:
        says("done")(attempt)
    for exchange in exchanges:
        await exchange.finished()


async def test_a_queue_without_a_loaded_machine_asks_for_a_load_at_once_and_once(network: Network) -> None:
    provider = await network.provider(models=[COLD], part=says("loaded"))
    provider.report(slots=0)  # as an agent says that offers nothing loaded and has no room for what waits
    key = await network.consumer()
    exchanges = [network.chat(key=key) for _ in range(3)]
    await until(lambda: network.serving.service.waiting == 3)

    assert provider.wishes == [("load", MODEL)]
    assert network.serving.service.pool.loading == 1
    offers(provider, offer())
    provider.report(slots=4)
    for exchange in exchanges:
        assert (await exchange.finished()).text == "loaded"
        assert exchange.headers["hushnet-cold-start"] == "true"


async def test_a_refused_load_goes_to_another_machine(database_path: Path) -> None:
    limits = replace(LIMITS, pins={MODEL: 1})
    async with Network.open(database_path, limits=limits) as pinned:
        first = await pinned.provider(models=[offer(is_loaded=False, load_s=5.0)])
        second = await pinned.provider(models=[COLD])
        pinned.advance(1.0)
        assert (first.wishes, second.wishes) == ([("load", MODEL)], [])

        pinned.gate.load_failed(first.provider_id, MODEL, "memory")
        pinned.advance(1.0)
        assert second.wishes == [("load", MODEL)]


async def test_a_refused_load_wakes_nobody_who_waits(network: Network) -> None:
    provider = await network.provider()
    told: list[object] = []
    network.serving.fleet.subscribe(lambda models, _: told.extend(models))
    network.gate.load_failed(provider.provider_id, MODEL, "memory")

    assert told == []
    network.gate.heartbeat(provider.provider_id, Capacity(slots=4, active=0))
    assert told == [MODEL]


async def test_a_model_that_is_offered_no_more_counts_as_a_load_that_failed(database_path: Path) -> None:
    async with Network.open(database_path, limits=replace(LIMITS, pins={MODEL: 1})) as pinned:
        first = await pinned.provider(models=[offer(is_loaded=False, load_s=5.0), offer(OTHER)])
        second = await pinned.provider(models=[COLD])
        pinned.advance(1.0)
        offers(first, offer(OTHER))
        pinned.advance(1.0)

        assert second.wishes == [("load", MODEL)]
        assert pinned.serving.service.pool.loading == 1


async def test_an_unused_model_is_freed_a_pinned_one_stays_and_one_that_cannot_be_reloaded_is_left_alone(
    database_path: Path,
) -> None:
    limits = replace(LIMITS, pins={OTHER: 1}, warm=WarmLimits(dwell_s=60.0))
    async with Network.open(database_path, limits=limits) as pinned:
        several = await pinned.provider(models=[offer(), offer(OTHER)])
        single = await pinned.provider(models=[offer(load_s=0.0)])
        pinned.advance(59.0)
        assert several.wishes == []
        pinned.advance(1.0)

        assert several.wishes == [("unload", MODEL)]
        assert single.wishes == []


async def test_a_model_in_use_is_not_freed(database_path: Path) -> None:
    async with Network.open(database_path, limits=replace(LIMITS, warm=WarmLimits(dwell_s=20.0))) as pinned:
        provider = await pinned.provider(models=[offer()])
        exchange = pinned.chat(key=await pinned.consumer())
        attempt = await provider.attempt()
        attempt.head()
        attempt.say("long")
        for _ in range(60):
            attempt.say("er")
            pinned.advance(10.0)
        assert provider.wishes == []
        attempt.end()
        await exchange.finished()


async def test_a_machine_without_memory_frees_what_nobody_uses_before_it_loads(database_path: Path) -> None:
    limits = replace(LIMITS, pins={OTHER: 1}, warm=WarmLimits(dwell_s=30.0))
    async with Network.open(database_path, limits=limits) as pinned:
        provider = await pinned.provider(models=[offer(), offer(OTHER, is_loaded=False)])
        provider.report(memory_bytes_total=100, memory_bytes_free=5)
        pinned.advance(29.0)
        assert provider.wishes == []
        pinned.advance(1.0)

        assert provider.wishes == [("unload", MODEL), ("load", OTHER)]


async def test_a_provider_that_refuses_while_it_loads_does_not_end_the_request(network: Network) -> None:
    broken = await network.provider(models=[offer(is_loaded=False, load_s=1.0)], part=refuses(WireCode.CAPACITY))
    slower = await network.provider(models=[COLD], part=says("hello"))
    exchange = await network.chat(key=await network.consumer()).finished()

    assert exchange.text == "hello"
    assert (len(broken.served), len(slower.served)) == (1, 1)
    assert exchange.headers["hushnet-cold-start"] == "true"
