"""Models are loaded and freed within the memory, never under an attempt, and what does not load is not offered for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hushnet.foundation.clock import SystemClock
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.ids import ModelId
from hushnet.provider.engines.base import Capabilities, EngineBusy, EngineFailed, Health, ModelSpec
from hushnet.provider.hardware import Gpu, Hardware
from hushnet.provider.shelf import Shelf, ShelfLimits
from hushnet.provider.shelf.memory import budget_bytes, footprint_bytes, load_s_estimate
from hushnet.provider.supervision import LoadedModel, SupervisionLimits
from hushnet.wire.frames import ModelOffer
from support.links import Chronicle
from support.scripted_engine import ScriptedEngine

A, B, C = (ModelId(name) for name in "abc")
FILE_BYTES = 800
"""A model of this size takes 1,000 bytes of memory: a budget of 2,000 holds two."""
PATIENT = SupervisionLimits(
    health_interval_s=1000.0, health_answer_s_max=0.5, unload_s_max=0.5, backoff_s_min=0.001, backoff_s_max=0.002
)


class GatedEngine(ScriptedEngine):
    """Loads when it is told to."""

    def __init__(self, may_load: asyncio.Event) -> None:
        super().__init__()
        self.may_load = may_load

    async def load(self, spec: ModelSpec) -> Capabilities:
        self.started.set()
        await self.may_load.wait()
        return await super().load(spec)


class Shelved:
    """A shelf, its engines by model, and what it told."""

    def __init__(self, folder: Path, models: tuple[ModelId, ...], make: Callable[[ModelSpec], ScriptedEngine]) -> None:
        self.folder = folder
        self.engines: dict[ModelId, list[ScriptedEngine]] = {model: [] for model in models}
        self.story = Chronicle()
        self.used: list[LoadedModel] = []
        self._make = make
        self.shelf: Shelf

    def build(self, limits: ShelfLimits) -> None:
        self.shelf = Shelf(
            [self._spec(model) for model in self.engines],
            make_engine=self._engine,
            on_change=lambda: self.story.note("changed", self.loaded),
            notify=lambda notice: self.story.note(type(notice).__name__, getattr(notice, "model", None)),
            now_s=SystemClock().monotonic_s,
            limits=limits,
            supervision=PATIENT,
        )
        self.shelf.is_used = lambda loaded: loaded in self.used
        self.shelf.on_refused = lambda model, reason: self.story.note("refused", model, reason)

    @property
    def loaded(self) -> list[ModelId]:
        return [offer.model for offer in self.shelf.offers() if offer.is_loaded]

    @property
    def offers(self) -> dict[ModelId, ModelOffer]:
        return {offer.model: offer for offer in self.shelf.offers()}

    async def saw(self, *entry: object) -> None:
        await asyncio.wait_for(self.story.until(lambda: entry in self.story.entries), 60)

    def _spec(self, model: ModelId) -> ModelSpec:
        path = self.folder / f"{model}.gguf"
        path.write_bytes(bytes(FILE_BYTES))
        return ModelSpec(model=model, path=path, slots=3, context_tokens=512, engine="scripted")

    def _engine(self, spec: ModelSpec) -> ScriptedEngine:
        engine = self._make(spec)
        self.engines[spec.model].append(engine)
        return engine


@asynccontextmanager
async def shelved(
    folder: Path,
    *models: ModelId,
    memory: int | None = 2000,
    idle_unload_s: float | None = None,
    again_s: float = 1000.0,
    make: Callable[[ModelSpec], ScriptedEngine] = lambda _: ScriptedEngine(),
) -> AsyncIterator[Shelved]:
    it = Shelved(folder, models, make)
    it.build(ShelfLimits(memory, idle_unload_s, again_s, again_s))
    await it.shelf.open()
    watching = asyncio.create_task(it.shelf.watch())
    try:
        yield it
    finally:
        watching.cancel()
        await asyncio.wait((watching,))
        await it.shelf.aclose()
        for engine in (each for made in it.engines.values() for each in made):
            assert engine.unloads == 1


async def test_what_fits_is_loaded_at_the_start_and_the_rest_is_offered_with_the_time_it_takes(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, B, C) as it:
        assert it.loaded == [A, B]
        cold = it.offers[C]
        assert (cold.is_loaded, cold.slots, cold.context_tokens, cold.features) == (False, 3, 512, ())
        assert cold.load_s >= 1.0
        assert all(offer.load_s > 0 for offer in it.offers.values())
        assert it.shelf.slots == 2 + 2 + 3
        assert it.shelf.sole is None


async def test_a_model_that_was_loaded_before_is_offered_with_what_it_was_found_to_do(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, B) as it:
        it.shelf.unload_requested(B)
        await it.saw("ModelFreed", B)

        assert it.offers[B].features == ("json_schema", "logprobs")
        assert (it.offers[B].is_loaded, it.offers[B].context_tokens, it.offers[B].slots) == (False, 1024, 2)


async def test_an_attempt_loads_its_model_in_the_place_of_the_one_used_longest_ago(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, B, C) as it:
        await it.shelf.obtain(A)
        loaded = await it.shelf.obtain(C)

        assert loaded is not None
        assert loaded.spec.model == C
        assert it.shelf.serves(loaded)
        assert it.loaded == [A, C]


async def test_nothing_is_freed_under_an_attempt(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, B, C) as it:
        for model in (A, B):
            loaded = await it.shelf.obtain(model)
            assert loaded is not None
            it.used.append(loaded)
        it.shelf.unload_requested(A)
        with pytest.raises(EngineBusy):
            await it.shelf.obtain(C)

        assert it.loaded == [A, B]
        assert it.offers[C].is_loaded is False


async def test_a_wish_loads_into_free_memory_and_is_refused_where_there_is_none(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, B, C) as it:
        it.shelf.load_requested(C)
        await it.saw("refused", C, "memory")
        assert it.loaded == [A, B]

        it.shelf.unload_requested(B)
        it.shelf.load_requested(C)
        await it.saw("EngineLoaded", C)
        assert it.loaded == [A, C]


async def test_a_wish_for_a_stranger_is_refused(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, B) as it:
        it.shelf.load_requested(ModelId("stranger"))

        assert it.story.all("refused") == [("refused", "stranger", "unknown_model")]
        assert await it.shelf.obtain(ModelId("stranger")) is None


async def test_attempts_that_come_together_load_once_and_one_that_leaves_stops_nobody(tmp_path: Path) -> None:
    gate = asyncio.Event()

    def make(spec: ModelSpec) -> ScriptedEngine:
        return GatedEngine(gate) if spec.model == B else ScriptedEngine()

    async with shelved(tmp_path, A, B, memory=1000, make=make) as it:
        waiting = [asyncio.create_task(it.shelf.obtain(B)) for _ in range(3)]
        await asyncio.wait_for(it.story.until(lambda: bool(it.engines[B])), 60)
        waiting[0].cancel()
        gate.set()
        first, *others = await asyncio.gather(*waiting, return_exceptions=True)

        assert isinstance(first, asyncio.CancelledError)
        assert others == [others[0], others[0]]
        assert len(it.engines[B]) == 1
        assert it.loaded == [B]


async def test_a_model_that_does_not_load_is_not_offered_for_a_while_and_the_others_go_on(tmp_path: Path) -> None:
    def make(spec: ModelSpec) -> ScriptedEngine:
        return ScriptedEngine(load_errors=[ConfigurationError("damaged")] if spec.model == C else [])

    async with shelved(tmp_path, A, B, C, make=make) as it:
        with pytest.raises(EngineFailed):
            await it.shelf.obtain(C)

        assert set(it.offers) == {A, B}
        assert it.story.all("ModelFailed") == [("ModelFailed", C)]
        assert await it.shelf.obtain(C) is None
        assert await it.shelf.obtain(A) is not None


async def test_a_model_that_did_not_load_is_offered_again_and_loads_once_it_can(tmp_path: Path) -> None:
    errors: list[Exception] = [EngineFailed("no memory just now"), EngineFailed("nor now")]

    def make(spec: ModelSpec) -> ScriptedEngine:
        return ScriptedEngine(load_errors=[errors.pop()] if spec.model == C and errors else [])

    async with shelved(tmp_path, A, B, C, again_s=0.01, make=make) as it:
        for _ in range(2):
            await asyncio.wait_for(it.story.until(lambda: C in it.offers), 60)
            with pytest.raises(EngineFailed):
                await it.shelf.obtain(C)
        await asyncio.wait_for(it.story.until(lambda: C in it.offers), 60)
        assert await it.shelf.obtain(C) is not None


def test_the_pause_of_a_model_that_does_not_load_grows_to_ten_minutes() -> None:
    limits = ShelfLimits()
    assert [limits.again_s(failures) for failures in (1, 2, 3, 6, 10_000)] == [30.0, 60.0, 120.0, 600.0, 600.0]


async def test_a_wish_for_a_model_that_does_not_load_is_answered(tmp_path: Path) -> None:
    def make(spec: ModelSpec) -> ScriptedEngine:
        return ScriptedEngine(load_errors=[EngineFailed("no")] if spec.model == B else [])

    async with shelved(tmp_path, A, B, memory=1000, make=make) as it:
        it.shelf.unload_requested(A)
        it.shelf.load_requested(B)
        await it.saw("refused", B, "failed")
        assert B not in it.offers


async def test_what_nobody_uses_is_freed_after_its_time_and_what_is_used_stays(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, B, idle_unload_s=0.05) as it:
        loaded = await it.shelf.obtain(A)
        assert loaded is not None
        it.used.append(loaded)
        await it.saw("ModelFreed", B)
        assert it.loaded == [A]

        it.used.clear()
        await it.saw("ModelFreed", A)
        assert await it.shelf.obtain(A) is not None


async def test_a_dead_engine_is_not_on_offer_until_it_is_back(tmp_path: Path) -> None:
    gate = asyncio.Event()
    made = 0

    def make(spec: ModelSpec) -> ScriptedEngine:
        nonlocal made
        made += spec.model == A
        return GatedEngine(gate) if spec.model == A and made > 1 else ScriptedEngine()

    async with shelved(tmp_path, A, B, make=make) as it:
        it.engines[A][0].health_now = Health(is_healthy=False)
        it.shelf.suspect(None)
        await it.saw("EngineLost", A)
        assert list(it.offers) == [B]
        assert await it.shelf.obtain(A) is None

        gate.set()
        await asyncio.wait_for(it.story.until(lambda: A in it.loaded), 60)


@pytest.mark.parametrize("is_asked", [True, False])
async def test_a_dead_engine_that_does_not_come_back_gives_its_memory_to_another_model(
    tmp_path: Path, is_asked: bool
) -> None:
    made = 0

    def make(spec: ModelSpec) -> ScriptedEngine:
        nonlocal made
        made += spec.model == A
        return GatedEngine(asyncio.Event()) if spec.model == A and made == 2 else ScriptedEngine()

    async with shelved(tmp_path, A, B, memory=1000, make=make) as it:
        it.engines[A][0].health_now = Health(is_healthy=False)
        it.shelf.suspect(None)
        await asyncio.wait_for(it.story.until(lambda: bool(it.story.all("EngineLost"))), 60)
        if is_asked:
            it.shelf.unload_requested(A)
            await it.saw("ModelFreed", A)

        assert await it.shelf.obtain(B) is not None
        assert it.loaded == [B]
        assert await it.shelf.obtain(A) is not None


async def test_a_freed_model_is_not_brought_back_by_supervision(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, B) as it:
        it.shelf.unload_requested(A)
        await it.saw("ModelFreed", A)
        for _ in range(3):
            it.shelf.suspect(None)
            for _ in range(5):
                await asyncio.sleep(0)

        assert len(it.engines[A]) == 1
        assert it.story.all("EngineLost") == []


async def test_a_sole_model_is_neither_freed_nor_offered_with_a_load_time(tmp_path: Path) -> None:
    async with shelved(tmp_path, A, memory=1) as it:
        it.shelf.unload_requested(A)
        it.shelf.load_requested(A)
        assert it.offers[A].load_s == 0.0
        assert it.shelf.sole is not None
        assert it.shelf.slots == 2

        it.engines[A][0].health_now = Health(is_healthy=False)
        it.shelf.suspect(it.shelf.sole)
        await it.saw("EngineLost", A)
        await asyncio.wait_for(it.story.until(lambda: len(it.engines[A]) == 2 and it.shelf.sole is not None), 60)


async def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    it = Shelved(tmp_path, (A,), lambda _: ScriptedEngine())
    spec = it._spec(A)

    with pytest.raises(ConfigurationError, match="two models are called a"):
        Shelf([spec, spec], make_engine=it._make, on_change=list, notify=print, now_s=float)


def test_a_file_says_how_much_memory_and_time_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(bytes(FILE_BYTES))
    file = ModelSpec(model=A, path=path)

    assert footprint_bytes(file) == 1000
    assert footprint_bytes(ModelSpec(model=A, url="http://127.0.0.1/v1")) == 0
    assert load_s_estimate(file) == pytest.approx(1.0, abs=0.01)


def test_the_budget_is_most_of_the_accelerators_or_of_the_machine() -> None:
    plain = Hardware("Linux", "cpu", 4, 4, memory_bytes_total=1000)
    gpus = (Gpu("one", 500, 400, "1"), Gpu("two", 500, 500, "1"))

    assert budget_bytes(plain) == 750
    assert budget_bytes(Hardware("Linux", "cpu", 4, 4, memory_bytes_total=10_000, gpus=gpus)) == 900
