"""What a provider tells the person who runs it, as it happens. Values only: no content, no key, no foreign text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.provider.attempt import AttemptReport


@dataclass(frozen=True, slots=True)
class CoordinatorSought:
    """The coordinator has not answered yet; it is asked again after `retry_s`."""

    url: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class EngineLoading:
    model: ModelId
    engine: str


@dataclass(frozen=True, slots=True)
class EngineLoaded:
    model: ModelId
    engine: str
    slots: int
    context_tokens: int
    features: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine died; it is loaded again, and attempts are refused meanwhile."""

    model: ModelId


@dataclass(frozen=True, slots=True)
class ModelFreed:
    """A model that nobody uses was unloaded; it is still on offer."""

    model: ModelId


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """A model could not be loaded and is offered no more."""

    model: ModelId


@dataclass(frozen=True, slots=True)
class Registered:
    """`others` are the models beside the first."""

    provider_id: ProviderId
    model: ModelId
    link_url: str
    network: str
    others: tuple[ModelId, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link is gone; the provider dials again by itself."""

    link_url: str


@dataclass(frozen=True, slots=True)
class KeysRotated:
    """New sealing keys; the statement that endorses them expires at `expires_at` (Unix seconds)."""

    expires_at: int


@dataclass(frozen=True, slots=True)
class Draining:
    running: int
    seconds_max: float


@dataclass(frozen=True, slots=True)
class Stopped:
    served: int
    failed: int


Notice: TypeAlias = (
    CoordinatorSought
    | EngineLoading
    | EngineLoaded
    | EngineLost
    | ModelFreed
    | ModelFailed
    | Registered
    | LinkDown
    | KeysRotated
    | AttemptReport
    | Draining
    | Stopped
)
Notify: TypeAlias = Callable[[Notice], None]
