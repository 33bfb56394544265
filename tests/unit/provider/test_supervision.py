"""An engine that died, hangs or will not let go of a request is replaced; one that is well is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.engines.base import EngineFailed, Health, ModelSpec
from hushnet.provider.supervision import EngineSupervisor, SupervisionLimits
from support.links import Chronicle
from support.provider_bench import MODEL
from support.scripted_engine import ScriptedEngine

PATIENT = SupervisionLimits(
    health_interval_s=1000.0, health_answer_s_max=0.02, unload_s_max=0.02, backoff_s_min=0.001, backoff_s_max=0.002
)


class Watched:
    """A supervisor that watches, every engine that it made, and what changed."""

    def __init__(self, make: Callable[[int], ScriptedEngine]) -> None:
        self.engines: list[ScriptedEngine] = []
        self.changes = Chronicle()
        self._make = make
        self.supervisor = EngineSupervisor(
            make_engine=self._next,
            spec=ModelSpec(model=MODEL),
            on_change=lambda: self.changes.note("loaded" if self.supervisor.loaded else "lost"),
            limits=PATIENT,
        )

    def _next(self) -> ScriptedEngine:
        self.engines.append(self._make(len(self.engines)))
        return self.engines[-1]

    async def saw(self, word: str, times: int = 1) -> None:
        await asyncio.wait_for(self.changes.saw(word, times=times), 60)


@asynccontextmanager
async def watched(make: Callable[[int], ScriptedEngine] = lambda _: ScriptedEngine()) -> AsyncIterator[Watched]:
    it = Watched(make)
    await it.supervisor.load()
    watching = asyncio.create_task(it.supervisor.watch())
    try:
        yield it
    finally:
        watching.cancel()
        await asyncio.wait((watching,))
        await it.supervisor.aclose()


async def test_a_healthy_engine_is_left_alone_however_often_it_is_suspected() -> None:
    async with watched() as it:
        for _ in range(3):
            it.supervisor.suspect()
            for _ in range(5):
                await asyncio.sleep(0)

        assert it.changes.entries == [("loaded",)]


async def test_an_engine_that_will_not_let_go_is_replaced_although_it_says_that_it_is_well() -> None:
    async with watched() as it:
        it.supervisor.suspect(is_stuck=True)
        await it.saw("loaded", times=2)

        assert it.engines[0].unloads == 1
        loaded = it.supervisor.loaded
        assert loaded is not None
        assert loaded.engine is it.engines[1]
        it.supervisor.suspect()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(it.engines) == 2


async def test_what_was_said_of_an_engine_is_not_held_against_the_next_one() -> None:
    async with watched() as it:
        it.supervisor.suspect(is_stuck=True)
        await it.supervisor.unload()
        await it.supervisor.load()
        it.supervisor.suspect()
        for _ in range(10):
            await asyncio.sleep(0)

        assert [word for (word,) in it.changes.entries] == ["loaded", "lost", "loaded"]


class Silent(ScriptedEngine):
    async def health(self) -> Health:
        await asyncio.Event().wait()
        return self.health_now


class Raising(ScriptedEngine):
    async def health(self) -> Health:
        raise RuntimeError("no engine raises here")


class Clinging(ScriptedEngine):
    async def unload(self) -> None:
        self.unloads += 1
        await asyncio.Event().wait()


class Breaking(ScriptedEngine):
    async def unload(self) -> None:
        self.unloads += 1
        raise RuntimeError("the native library is gone")


@pytest.mark.parametrize("broken", [Silent, Raising])
async def test_an_engine_that_gives_no_sign_of_life_is_replaced(broken: type[ScriptedEngine]) -> None:
    async with watched(lambda index: broken() if index == 0 else ScriptedEngine()) as it:
        it.supervisor.suspect()
        await it.saw("loaded", times=2)

        assert [word for (word,) in it.changes.entries] == ["loaded", "lost", "loaded"]


@pytest.mark.parametrize("broken", [Clinging, Breaking])
async def test_an_engine_that_does_not_unload_is_let_go(broken: type[ScriptedEngine]) -> None:
    async with watched(lambda index: broken() if index == 0 else ScriptedEngine()) as it:
        it.engines[0].health_now = Health(is_healthy=False)
        it.supervisor.suspect()
        await it.saw("loaded", times=2)

        assert it.engines[0].unloads == 1


async def test_loading_is_tried_until_it_works_and_nothing_is_loaded_meanwhile() -> None:
    def make(index: int) -> ScriptedEngine:
        return ScriptedEngine(load_errors=[EngineFailed("not yet")] if 0 < index < 5 else [])

    async with watched(make) as it:
        it.supervisor.suspect(is_stuck=True)
        await it.saw("lost")
        assert it.supervisor.loaded is None
        await it.saw("loaded", times=2)

        assert len(it.engines) == 6
        assert [engine.unloads for engine in it.engines[:5]] == [1] * 5


async def test_the_first_load_fails_loudly() -> None:
    it = Watched(lambda _: ScriptedEngine(load_errors=[ConfigurationError("no such file")]))

    with pytest.raises(ConfigurationError):
        await it.supervisor.load()

    assert it.engines[0].unloads == 1
    assert it.supervisor.loaded is None
    await it.supervisor.aclose()
