"""A provider with several models on a real link: it loads on request and for attempts, frees, and says what it can't."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hushnet.foundation.ids import ModelId
from hushnet.provider.engines.base import EngineFailed, ModelSpec
from hushnet.sealing.errors import WireCode
from support.agents import Running, opened, running
from support.provider_bench import answer_bytes, text_of
from support.scripted_engine import ScriptedEngine

A, B = ModelId("a"), ModelId("b")


def specs(folder: Path) -> list[ModelSpec]:
    made = []
    for model in (A, B):
        path = folder / f"{model}.gguf"
        path.write_bytes(bytes(800))
        made.append(ModelSpec(model=model, path=path, slots=2, engine="scripted"))
    return made


def loaded_of(agent: Running) -> list[dict[str, bool]]:
    """Every list of models that was told, as names with whether each is loaded."""
    lists = [agent.gate.all("asked")[0][1].models, *(entry[2] for entry in agent.gate.all("models"))]
    return [{offer.model: offer.is_loaded for offer in offers} for offers in lists]


async def told(agent: Running, **expected: bool) -> None:
    await asyncio.wait_for(agent.gate.until(lambda: loaded_of(agent)[-1] == expected), 60)


async def test_it_offers_loads_serves_and_frees_as_the_coordinator_asks(tmp_path: Path) -> None:
    async with running(tmp_path, specs=specs(tmp_path), memory_budget=1500) as agent:
        link = await agent.link()
        await told(agent, a=True, b=False)
        link.load_model(B)
        await asyncio.wait_for(agent.gate.saw("load_failed"), 60)
        assert agent.gate.all("load_failed") == [("load_failed", link.provider_id, B, "memory")]

        link.unload_model(A)
        link.load_model(B)
        await told(agent, a=False, b=True)
        sealed = agent.seal(model=B)
        _, sink = agent.dispatch(link, sealed)
        await asyncio.wait_for(sink.saw("finished"), 60)
        assert text_of(answer_bytes(opened(sealed, sink))) == "hello"


async def test_an_attempt_for_a_model_that_is_not_loaded_loads_it_first(tmp_path: Path) -> None:
    async with running(tmp_path, specs=specs(tmp_path), memory_budget=1500) as agent:
        link = await agent.link()
        sealed = agent.seal(model=B)
        _, sink = agent.dispatch(link, sealed)
        await asyncio.wait_for(sink.saw("finished"), 60)

        assert text_of(answer_bytes(opened(sealed, sink))) == "hello"
        await told(agent, a=False, b=True)


async def test_an_attempt_for_a_model_that_it_never_had_is_answered_under_seal(tmp_path: Path) -> None:
    async with running(tmp_path, specs=specs(tmp_path)) as agent:
        link = await agent.link()
        _, sink = agent.dispatch(link, agent.seal(model="stranger"))
        await asyncio.wait_for(sink.until(lambda: bool(sink.all("refused") or sink.all("finished"))), 60)

        assert sink.all("refused") == [("refused", WireCode.MODEL_UNAVAILABLE)]


async def test_a_model_that_does_not_load_is_taken_off_the_offers(tmp_path: Path) -> None:
    def engine_of(spec: ModelSpec) -> ScriptedEngine:
        return ScriptedEngine(load_errors=[EngineFailed("damaged")] if spec.model == B else [])

    async with running(tmp_path, specs=specs(tmp_path), memory_budget=1500, engine_of=engine_of) as agent:
        link = await agent.link()
        link.unload_model(A)
        link.load_model(B)
        await told(agent, a=False)
        await asyncio.wait_for(agent.gate.saw("load_failed"), 60)
        assert agent.gate.all("load_failed") == [("load_failed", link.provider_id, B, "failed")]
        await asyncio.wait_for(agent.told.saw("ModelFailed"), 60)
