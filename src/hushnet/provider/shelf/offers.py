"""One model on the shelf, and what the link tells of all of them: offers, and what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hushnet.provider.engines.base import Capabilities, ModelSpec
from hushnet.provider.supervision import EngineSupervisor, LoadedModel
from hushnet.wire.frames import ModelCapacity, ModelOffer

CONTEXT_TOKENS_UNKNOWN: Final = 8_192
"""The context of a model that was never loaded and whose file does not say: what the engines take by themselves."""
_RATE_MAX: Final = 1e7
_LOAD_S_MIN: Final = 0.1


@dataclass(eq=False, slots=True)
class ShelvedModel:
    """A model of this provider. `load_s` is an estimate until it has been loaded once."""

    spec: ModelSpec
    supervisor: EngineSupervisor
    memory_bytes: int
    load_s: float
    known: Capabilities | None = None
    """What probing found when it was last loaded."""
    waiting: int = 0
    """Attempts that wait for it to be loaded, or are about to begin with it."""
    used_s: float = 0.0
    began_s: float | None = None
    """When the load that goes on was begun."""
    is_offered: bool = True
    """False for a while after it could not be loaded."""
    failures: int = 0
    """Loads in a row that failed."""
    refused: str = ""
    """Why the last load came to nothing: a word of `shelf`."""
    loading: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> LoadedModel | None:
        return self.supervisor.loaded

    @property
    def is_cold(self) -> bool:
        """Whether it is offered, and takes a load first."""
        return self.is_offered and not self.supervisor.is_wanted

    @property
    def slots(self) -> int:
        """Answers at the same time; 0 while its engine is being brought back, or it is offered no more."""
        if self.loaded is not None:
            return self.loaded.slots.total
        if not self.is_cold:
            return 0
        return self.spec.slots if self.known is None else self.known.slots

    def offer(self, *, is_managed: bool) -> ModelOffer | None:
        """Return what the link says of it; None when it is not on offer now."""
        able = self.known if self.loaded is None else self.loaded.capabilities
        if self.loaded is None and not (is_managed and self.is_cold):
            return None
        return ModelOffer(
            model=self.spec.model,
            build=self.spec.build,
            context_tokens=able.context_tokens if able else self.spec.context_tokens or CONTEXT_TOKENS_UNKNOWN,
            features=tuple(sorted(able.features)) if able else (),
            slots=self.slots,
            is_loaded=self.loaded is not None,
            is_template_sound=able.is_template_sound if able else None,
            load_s=max(round(self.load_s, 1), _LOAD_S_MIN) if is_managed else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Activity:
    """What runs and waits in all engines together. Rates are of the fastest engine, 0 when nothing was measured."""

    slots: int = 0
    active: int = 0
    waiting: int = 0
    tokens_active: int = 0
    decode_tokens_s: float = 0.0
    prefill_tokens_s: float = 0.0
    per_model: tuple[ModelCapacity, ...] = ()


def activity_of(models: Iterable[ShelvedModel], *, slots: int) -> Activity:
    """Add up what the loaded of `models` do."""
    pairs = [(each.loaded, each.loaded.engine.capacity()) for each in models if each.loaded is not None]
    return Activity(
        slots=slots,
        active=sum(loaded.slots.active for loaded, _ in pairs),
        waiting=sum(loaded.slots.waiting for loaded, _ in pairs),
        tokens_active=sum(max(0, engine.tokens_active) for _, engine in pairs),
        decode_tokens_s=max((_rate(engine.decode_tokens_s) for _, engine in pairs), default=0.0),
        prefill_tokens_s=max((_rate(engine.prefill_tokens_s) for _, engine in pairs), default=0.0),
        per_model=tuple(
            ModelCapacity(
                model=loaded.spec.model,
                slots=loaded.slots.total,
                active=loaded.slots.active,
                queued=loaded.slots.waiting,
                decode_tokens_s=_rate(engine.decode_tokens_s),
                prefill_tokens_s=_rate(engine.prefill_tokens_s),
            )
            for loaded, engine in pairs
        ),
    )


def _rate(tokens_s: float) -> float:
    """Bring an engine's figure within what a frame may carry; what is not a number counts as unknown."""
    return min(tokens_s, _RATE_MAX) if tokens_s > 0 else 0.0
