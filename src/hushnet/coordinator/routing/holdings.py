"""What a plan for loaded models looks at and what it says: machines, the models they hold, loads and unloads. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from hushnet.foundation.ids import AccountId, ModelId, ProviderId


class Why(StrEnum):
    """The reason of an action."""

    PIN = "pin"
    """The operator wants it loaded on more machines than have it."""
    QUEUE = "queue"
    """Requests wait for it."""
    DEMAND = "demand"
    """The forecast fills more machines than have it."""
    IDLE = "idle"
    """Nobody has used it there for a while, and fewer machines are enough."""
    DISPLACED = "displaced"
    """Its memory is needed for another model."""


class Load(Struct, frozen=True):
    """Ask the provider to load the model."""

    provider_id: ProviderId
    model: ModelId
    why: Why


class Unload(Struct, frozen=True):
    """Ask the provider to free the model."""

    provider_id: ProviderId
    model: ModelId
    why: Why


Action: TypeAlias = Load | Unload


class Holding(Struct, frozen=True):
    """One model at one machine; `used_s` is when it was loaded or last used. A `load_s` of 0 is never loaded or unloaded."""

    is_loaded: bool
    load_s: float
    running: int = 0
    used_s: float = 0.0
    is_proven: bool = True
    """It has served the model since it was loaded there."""


class Machine(Struct, frozen=True):
    """One provider. Without `has_memory` it must give up a model before it loads another."""

    provider_id: ProviderId
    holdings: Mapping[ModelId, Holding]
    has_memory: bool = True
    owner: AccountId | None = None
    """Whose it is, where that is known."""

    @property
    def running(self) -> int:
        return sum(holding.running for holding in self.holdings.values())


class Held(Struct, frozen=True):
    """What one account's machines have of a model: how many have it loaded, and of them how many have served it."""

    warm: int
    proven: int


class ModelState(Struct, frozen=True):
    """One model in the fleet: how many machines have it loaded, slots of one, how long one loads, requests that wait."""

    warm: int
    slots: float = 1.0
    load_s: float = 0.0
    queue: int = 0
    owners: Mapping[AccountId, Held] = {}
    """By whose they are; whose is not known is whose word is taken."""
    proven: int | None = None
    """How many of those that have it loaded have served it; None: all."""
