"""Two real models, memory for one, a real link and a real coordinator: a cold start is told, a pin is kept, the idle is freed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.foundation.ids import ModelId
from hushnet.provider.engines.base import ModelSpec
from hushnet.provider.engines.registry import load_engine
from hushnet.provider.models.builtin import builtin_model
from support.control import Account, Network, network

ONE, TWO = ModelId("tiny-one"), ModelId("tiny-two")


def two_models() -> dict[str, Any]:
    """Serve the built-in model under two names, with memory for one of them."""
    path, build = builtin_model()
    made = [ModelSpec(model=name, path=path, slots=2, context_tokens=512, build=build) for name in (ONE, TWO)]
    budget = int(path.stat().st_size * 1.5)
    return {"specs": made, "engine_of": lambda spec: load_engine(spec.engine), "memory_budget": budget}


async def ask(consumer: Account, model: ModelId) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "What is Hushnet?"}], "max_tokens": 8}
    answer = await consumer.http.post("/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]
    return answer


async def when(net: Network, reached: Callable[[dict[ModelId, bool]], bool]) -> None:
    """Wait until the coordinator knows of each model whether it is loaded, as wanted."""
    changed, fleet = asyncio.Event(), net.coordinator.serving.fleet
    fleet.watch(lambda _: changed.set())
    async with asyncio.timeout(60):
        while not reached(loaded_now(fleet)):
            changed.clear()
            await changed.wait()


def loaded_now(fleet: Fleet) -> dict[ModelId, bool]:
    return {model: any(offer.is_loaded for offer in offers) for model, offers in fleet.models().items()}


async def people(net: Network) -> tuple[Account, Account]:
    return await net.account("consumer", credit_usd="1.00"), await net.account("earner", scope="provider")


async def test_a_model_on_disk_is_loaded_for_its_request_and_the_consumer_is_told(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        consumer, earner = await people(net)
        async with net.provider(tmp_path / "agent", earner.key, **two_models()):
            await when(net, lambda loaded: loaded == {ONE: True, TWO: False})
            warm, cold = await ask(consumer, ONE), await ask(consumer, TWO)
            await when(net, lambda loaded: loaded == {ONE: False, TWO: True})
            again = await ask(consumer, TWO)

            assert "hushnet-cold-start" not in warm.headers
            assert cold.headers["hushnet-cold-start"] == "true"
            assert "load=0," not in cold.headers["x-timing"]
            assert "hushnet-cold-start" not in again.headers
            metrics = (await net.public.get("/metrics")).text
            assert 'hush_warm_pool_total{kind="cold_start",reason="request"} 1' in metrics


async def test_a_pinned_model_takes_the_place_of_an_idle_one_without_any_request(tmp_path: Path) -> None:
    async with network(tmp_path, serving__pinned_models="tiny-two=1", serving__model_dwell_s=1.0) as net:
        consumer, earner = await people(net)
        async with net.provider(tmp_path / "agent", earner.key, **two_models()):
            await when(net, lambda loaded: loaded == {ONE: False, TWO: True})

            assert "hushnet-cold-start" not in (await ask(consumer, TWO)).headers
