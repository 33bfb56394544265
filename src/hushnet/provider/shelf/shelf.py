"""Loads and frees the models of a provider within its memory, one at a time, and keeps what is loaded alive.

Rules: nothing that an attempt uses is freed. A wish of the coordinator's takes free memory only: it says itself which model
goes for another, because it knows which must stay. An attempt for a model that is offered and not loaded loads it, and
may have the model freed that was used longest ago, or a dead engine given up. A model that does not load is not offered
for a while, longer every time: what was in its way may pass. A provider with one model and no `idle_unload_s` keeps it, and offers nothing while its engine is dead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.ids import ModelId
from hushnet.foundation.tasks import TaskSet
from hushnet.provider import notices
from hushnet.provider.engines.base import Engine, EngineBusy, EngineFailed, ModelSpec
from hushnet.provider.notices import Notify
from hushnet.provider.shelf.memory import footprint_bytes, load_s_estimate
from hushnet.provider.shelf.offers import Activity, ShelvedModel, activity_of
from hushnet.provider.supervision import EngineSupervisor, LoadedModel, SupervisionLimits
from hushnet.wire.frames import ModelOffer

_LOG = logging.getLogger(__name__)

UNKNOWN, MEMORY, FAILED = "unknown_model", "memory", "failed"
"""Why a wish to load is refused."""
_LOOK_S_MAX: Final = 5.0
_LOOKS: Final = 10


@dataclass(frozen=True, slots=True)
class ShelfLimits:
    """What the operator allows: bytes of all loaded models together; seconds until an unused one is freed, None never."""

    memory_bytes: int | None = None
    idle_unload_s: float | None = None
    again_s_min: float = 30.0
    again_s_max: float = 600.0
    """For how long a model that did not load is not offered: doubling from the least to the most."""

    def again_s(self, failures: int) -> float:
        """Return the pause in seconds after so many failed loads in a row, 1 or more."""
        return min(self.again_s_min * 2.0 ** min(failures - 1, 30), self.again_s_max)


class Shelf:
    """The models of one provider. `on_change` hears whenever an offer may have changed."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        *,
        make_engine: Callable[[ModelSpec], Engine],
        on_change: Callable[[], None],
        notify: Notify,
        now_s: Callable[[], float],
        limits: ShelfLimits | None = None,
        supervision: SupervisionLimits | None = None,
    ) -> None:
        """Put `specs` on the shelf, nothing loaded; raises `ConfigurationError` when two have the same name."""
        self.is_used: Callable[[LoadedModel], bool] = _never
        """Says whether an attempt uses a model; set by whoever runs attempts."""
        self.on_refused: Callable[[ModelId, str], None] = _ignore
        """Hears of a wish to load that is not granted, with the reason; set by whoever tells the coordinator."""
        self._limits = limits or ShelfLimits()
        self._is_managed = len(specs) > 1 or self._limits.idle_unload_s is not None
        self._on_change = on_change
        self._notify = notify
        self._now_s = now_s
        self._order = asyncio.Lock()
        self._tasks = TaskSet()
        self._models: dict[ModelId, ShelvedModel] = {}
        for spec in specs:
            self._put(spec, make_engine, supervision)

    def _put(
        self, spec: ModelSpec, make_engine: Callable[[ModelSpec], Engine], limits: SupervisionLimits | None
    ) -> None:
        if spec.model in self._models:
            raise ConfigurationError(
                f"two models are called {spec.model}",
                hint="name files differently, or give an attached server's model another name with ?as=NAME",
            )
        supervisor = EngineSupervisor(
            make_engine=partial(make_engine, spec),
            spec=spec,
            on_change=partial(self._changed, spec.model),
            limits=limits,
        )
        self._models[spec.model] = ShelvedModel(spec, supervisor, footprint_bytes(spec), load_s_estimate(spec))

    # What is told of it.

    @property
    def models(self) -> tuple[ModelId, ...]:
        """Every model on the shelf."""
        return tuple(self._models)

    @property
    def slots(self) -> int:
        """Answers that all models on offer take together; 0 while nothing is on offer."""
        return sum(model.slots for model in self._models.values() if self._is_managed or model.loaded is not None)

    @property
    def sole(self) -> LoadedModel | None:
        """What is loaded, where there is nothing to choose; None while it is dead, and where there is a choice."""
        return None if self._is_managed else next(iter(self._models.values())).loaded

    def offers(self) -> list[ModelOffer]:
        """Return what is on offer, loaded or not."""
        offers = (model.offer(is_managed=self._is_managed) for model in self._models.values())
        return [offer for offer in offers if offer is not None]

    def activity(self) -> Activity:
        """Return what runs and waits now."""
        return activity_of(self._models.values(), slots=self.slots)

    def serves(self, loaded: LoadedModel) -> bool:
        """Say whether `loaded` is still what serves its model."""
        model = self._models.get(loaded.spec.model)
        return model is not None and model.loaded is loaded

    # What attempts ask.

    async def obtain(self, model_id: ModelId) -> LoadedModel | None:
        """Return a model, loaded for the caller if need be; None when it is not on offer.

        Raises `EngineBusy` when there is no memory for it, `EngineFailed` when it does not load. A caller that is
        cancelled does not stop the load. Use what is returned, or have `is_used` say so, before the next await.
        """
        model = self._models.get(model_id)
        if model is None:
            return None
        model.waiting += 1
        try:
            while (loaded := model.loaded) is None:
                if not model.is_cold:
                    return None
                await asyncio.shield(self._begin(model))
                _raise_if_refused(model)
            model.used_s = self._now_s()
            return loaded
        finally:
            model.waiting -= 1

    def suspect(self, loaded: LoadedModel | None, *, is_stuck: bool = False) -> None:
        """Have an engine looked at: the one of `loaded`, or all."""
        for model in self._models.values():
            if loaded is None or model.loaded is loaded:
                model.supervisor.suspect(is_stuck=is_stuck)

    # What the coordinator asks.

    def load_requested(self, model_id: ModelId) -> None:
        """Load a model if there is memory for it, or say why not; an engine that died is tried sooner."""
        model = self._models.get(model_id)
        if not self._is_managed:
            self.suspect(None)
        elif model is None or not model.is_offered:
            self.on_refused(model_id, UNKNOWN)
        elif model.supervisor.is_wanted:
            model.supervisor.suspect()
        else:
            self._tasks.spawn(self._grant(model), name="load")

    def unload_requested(self, model_id: ModelId) -> None:
        """Free a model, unless it is used."""
        model = self._models.get(model_id)
        if self._is_managed and model is not None:
            self._tasks.spawn(self._free_unless_used(model), name="unload")

    # What the daemon calls.

    async def open(self) -> bool:
        """Load the first model and those after it that fit, and return True; raises what the first one's engine raises."""
        first, *others = self._models.values()
        async with self._order:
            await self._load(first)
        for model in others:
            if self._fits(model):
                await asyncio.wait((self._begin(model),))
        return True

    async def watch(self) -> None:
        """Keep what is loaded alive, and free what idles, for ever."""
        async with asyncio.TaskGroup() as group:
            for model in self._models.values():
                group.create_task(model.supervisor.watch(), name="engine supervision")
            if self._limits.idle_unload_s is not None:
                group.create_task(self._free_idle(self._limits.idle_unload_s), name="idle models")

    async def aclose(self) -> None:
        """Free everything."""
        await self._tasks.aclose()
        for model in self._models.values():
            await model.supervisor.aclose()

    # Inside.

    def _begin(self, model: ShelvedModel) -> asyncio.Task[None]:
        if model.loading is None or model.loading.done():
            model.loading = self._tasks.spawn(self._bring(model), name="load")
        return model.loading

    async def _grant(self, model: ShelvedModel) -> None:
        """Load for the coordinator."""
        await asyncio.shield(self._begin(model))
        if model.loaded is None and model.refused:
            self.on_refused(model.spec.model, model.refused)

    async def _bring(self, model: ShelvedModel) -> None:
        """Make room, and load; `refused` says why it came to nothing."""
        async with self._order:
            model.refused = ""
            if model.loaded is not None:
                return
            if not await self._has_made_room(model):
                model.refused = MEMORY
                return
            try:
                await self._load(model)
            except Exception as error:  # an engine is a plug-in: whatever it raises, this model is out
                model.refused, model.is_offered = FAILED, False
                model.failures += 1
                self._tasks.spawn(self._offer_again(model), name="offer again")
                _LOG.warning("model did not load", extra={"model": model.spec.model, "error": type(error).__name__})
                self._on_change()
                self._notify(notices.ModelFailed(model.spec.model))

    async def _offer_again(self, model: ShelvedModel) -> None:
        await asyncio.sleep(self._limits.again_s(model.failures))
        model.is_offered = True
        self._on_change()

    async def _load(self, model: ShelvedModel) -> None:
        self._notify(notices.EngineLoading(model.spec.model, model.spec.engine))
        began_s = model.began_s = self._now_s()
        loaded = await model.supervisor.load()
        self._notify(
            notices.EngineLoaded(
                loaded.spec.model,
                loaded.engine.name,
                loaded.slots.total,
                loaded.capabilities.context_tokens,
                tuple(sorted(loaded.capabilities.features)),
                self._now_s() - began_s,
            )
        )

    async def _has_made_room(self, wanted: ShelvedModel) -> bool:
        """Free what is dead, then what was used longest ago, until `wanted` fits, if an attempt waits for it; False when it does not fit."""
        while not self._fits(wanted):
            idle = [each for each in self._models.values() if each.memory_bytes and self._may_free(each)]
            if not idle or not wanted.waiting:
                return False
            await self._free(min(idle, key=lambda each: (each.loaded is not None, each.used_s)))
        return True

    def _fits(self, wanted: ShelvedModel) -> bool:
        """Say whether there is memory for it beside what is loaded; one that is alone is tried in any case."""
        if self._limits.memory_bytes is None:
            return True
        taken = sum(each.memory_bytes for each in self._models.values() if each.supervisor.is_wanted)
        return taken == 0 or taken + wanted.memory_bytes <= self._limits.memory_bytes

    async def _free_unless_used(self, model: ShelvedModel) -> None:
        async with self._order:
            if self._may_free(model):
                await self._free(model)

    async def _free(self, model: ShelvedModel) -> None:
        """Unload; nobody uses it, and nobody can begin to before it is off the offers."""
        await model.supervisor.unload()
        self._notify(notices.ModelFreed(model.spec.model))

    async def _free_idle(self, idle_s: float) -> None:
        while True:
            await asyncio.sleep(min(idle_s / _LOOKS, _LOOK_S_MAX))
            now_s = self._now_s()
            for model in self._models.values():
                if model.loaded is not None and not self._is_idle(model):
                    model.used_s = now_s
                elif model.loaded is not None and now_s - model.used_s >= idle_s:
                    await self._free_unless_used(model)

    def _may_free(self, model: ShelvedModel) -> bool:
        """Whether nobody uses it, or nobody can: a dead engine keeps its memory for its return."""
        return self._is_idle(model) or (model.loaded is None and model.supervisor.is_wanted)

    def _is_idle(self, model: ShelvedModel) -> bool:
        return model.loaded is not None and not model.waiting and not self.is_used(model.loaded)

    def _changed(self, model_id: ModelId) -> None:
        """A supervisor has loaded, lost or freed its engine."""
        model = self._models[model_id]
        if model.loaded is not None:
            model.known = model.loaded.capabilities
            model.failures = 0
            model.used_s = self._now_s()
            if model.began_s is not None:
                model.load_s, model.began_s = model.used_s - model.began_s, None
        self._on_change()
        if model.loaded is None and model.supervisor.is_wanted:
            self._notify(notices.EngineLost(model_id))


def _raise_if_refused(model: ShelvedModel) -> None:
    if model.loaded is None and model.refused == MEMORY:
        raise EngineBusy("there is no memory for another model")
    if model.loaded is None and model.refused == FAILED:
        raise EngineFailed("the model does not load")


def _never(_: LoadedModel) -> bool:
    return False


def _ignore(model: ModelId, reason: str) -> None:
    """Tell nobody."""
