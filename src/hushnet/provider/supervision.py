"""Keeps the engine alive: loads it, asks for its health, and loads it anew with growing pauses when it died.

While no engine is loaded the provider offers no model and refuses attempts; nothing waits for a dead engine.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hushnet.foundation.errors import HushnetError
from hushnet.provider.engines.base import Capabilities, Engine, Health, ModelSpec
from hushnet.provider.generation import Slots

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SupervisionLimits:
    """Seconds of supervision."""

    health_interval_s: float = 10.0
    health_answer_s_max: float = 5.0
    """An engine that cannot say in this time that it lives is taken for dead."""
    unload_s_max: float = 10.0
    backoff_s_min: float = 0.5
    backoff_s_max: float = 30.0


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that an engine serves now; a reload makes a new one, so nobody mistakes the dead for the living."""

    spec: ModelSpec
    engine: Engine
    capabilities: Capabilities
    slots: Slots = field(compare=False)


class EngineSupervisor:
    """Owns the engine. `on_change` is called whenever `loaded` changed."""

    def __init__(
        self,
        *,
        make_engine: Callable[[], Engine],
        spec: ModelSpec,
        on_change: Callable[[], None],
        limits: SupervisionLimits | None = None,
    ) -> None:
        self._make_engine = make_engine
        self._spec = spec
        self._on_change = on_change
        self._limits = limits or SupervisionLimits()
        self._loaded: LoadedModel | None = None
        self.is_wanted = False
        """Whether the model should be loaded: from its first load until it is unloaded."""
        self._suspicion = asyncio.Event()
        self._is_stuck = False
        self._reviving: asyncio.Task[None] | None = None
        self._letting_go = asyncio.Lock()

    @property
    def loaded(self) -> LoadedModel | None:
        """The model served now; None while the engine is dead or being loaded."""
        return self._loaded

    async def load(self) -> LoadedModel:
        """Load the model; raises what the engine raises, after unloading what was half loaded."""
        self._is_stuck = False  # said of the engine before
        engine = self._make_engine()
        try:
            capabilities = await engine.load(self._spec)
        except BaseException:
            await self._unload(engine)
            raise
        self._loaded = LoadedModel(self._spec, engine, capabilities, Slots(capabilities.slots))
        self.is_wanted = True
        self._on_change()
        return self._loaded

    def suspect(self, *, is_stuck: bool = False) -> None:
        """Ask for a health check now; `is_stuck` says that a request could not be stopped, which is verdict enough."""
        self._is_stuck = self._is_stuck or is_stuck
        self._suspicion.set()

    async def watch(self) -> None:
        """Check the engine for ever, and bring it back when it died."""
        while True:
            try:
                async with asyncio.timeout(self._limits.health_interval_s):
                    await self._suspicion.wait()
            except TimeoutError:
                pass
            self._suspicion.clear()
            loaded = self._loaded
            is_dead = loaded is None or not await self._is_alive(loaded.engine)
            if is_dead and self.is_wanted and self._loaded is loaded:
                await self._let_go()
                await self._bring_back()

    async def unload(self) -> None:
        """Unload a model that nobody uses, or give up one that is being brought back; `load` brings it back."""
        self.is_wanted = False
        await self._call_off()
        async with self._letting_go:  # of an engine that died, too: its memory is free after this
            loaded, self._loaded = self._loaded, None
            self.is_wanted = False
            self._on_change()
            if loaded is not None:
                await self._unload(loaded.engine)

    async def aclose(self) -> None:
        """Unload the engine."""
        loaded, self._loaded = self._loaded, None
        self.is_wanted = False
        if loaded is not None:
            await self._unload(loaded.engine)

    async def _is_alive(self, engine: Engine) -> bool:
        if self._is_stuck:
            return False
        try:
            async with asyncio.timeout(self._limits.health_answer_s_max):
                health = await engine.health()
        except TimeoutError:
            health = Health(is_healthy=False, reason="no_answer")
        except Exception:  # a plug-in that breaks its promise not to raise is as dead as one that says so
            health = Health(is_healthy=False, reason="raised")
        if not health.is_healthy:
            _LOG.warning("engine is not healthy", extra={"kind": engine.name, "reason": health.reason})
        return health.is_healthy

    async def _let_go(self) -> None:
        async with self._letting_go:
            loaded, self._loaded = self._loaded, None
            self._on_change()
            if loaded is not None:
                await self._unload(loaded.engine)

    async def _bring_back(self) -> None:
        """Load until it works, or until `unload` calls it off, which it may have done already."""
        if not self.is_wanted or self._loaded is not None:
            return
        reviving = self._reviving = asyncio.create_task(self._revive(), name="engine revival")
        try:
            await asyncio.wait((reviving,))
        finally:
            await self._call_off()
        if not reviving.cancelled():
            reviving.result()

    async def _call_off(self) -> None:
        if self._reviving is not None and not self._reviving.done():
            self._reviving.cancel()
            await asyncio.wait((self._reviving,))

    async def _revive(self) -> None:
        pause_s = self._limits.backoff_s_min
        while True:
            try:
                await self.load()
            except Exception as error:
                _LOG.warning(
                    "engine did not load", extra={"error": _code_of(error), "duration_ms": round(pause_s * 1000)}
                )
            else:
                _LOG.info("engine loaded again", extra={"model": self._spec.model})
                return
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing
            pause_s = min(pause_s * 2, self._limits.backoff_s_max)

    async def _unload(self, engine: Engine) -> None:
        try:
            async with asyncio.timeout(self._limits.unload_s_max):
                await engine.unload()
        except Exception as error:  # whatever it is, this engine is let go
            _LOG.warning("engine did not unload cleanly", extra={"error": type(error).__name__})


def _code_of(error: Exception) -> str:
    return error.error_code if isinstance(error, HushnetError) else type(error).__name__
