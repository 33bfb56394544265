"""What every request works with: the collaborators of the service, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.fleet.affinity import AffinityMemory
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.serving.attempt import Attempt
from hushnet.coordinator.serving.model import Consumer, Facts
from hushnet.coordinator.serving.route import Placement
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.serving.store import Budgets, RequestLedger, Tariffs, Telemetry
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import ProviderId
from hushnet.sealing.encapsulation import Encapsulation
from hushnet.sealing.prepared import PreparedKeys
from hushnet.sealing.statements import Recipient


@dataclass(frozen=True, slots=True)
class IdleLimits:
    """When the loop counts as idle. Times in seconds."""

    pause_s: float = 0.002
    """Between two steps: longer than most requests wait for anything, so that a burst is over first."""
    late_s_max: float = 0.001_5
    """A step that comes later than this finds the loop busy; timers are exact to a millisecond."""
    busy_s: float = 0.05
    """How long a busy loop is left alone."""


_DEFAULT: Final = IdleLimits()


class KeyDesk:
    """The prepared keys of a coordinator process, refilled while the event loop has nothing else to do.

    A step is taken a moment after a key was used, and only when it comes on time: a loop that is late is busy, and is left
    alone. A step blocks the loop for one exchange, less than 0.1 ms. Nothing runs while nobody seals.
    """

    def __init__(self, keys: PreparedKeys, now_s: Callable[[], float], limits: IdleLimits = _DEFAULT) -> None:
        """Refill `keys`; `now_s` gives monotonic seconds."""
        self._keys = keys
        self._now_s = now_s
        self._limits = limits
        self._next: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    def take(self, recipient: Recipient) -> Encapsulation | None:
        """Return what is ready for `recipient`, and have more made when there is time."""
        if self._next is None:
            self._schedule(self._limits.pause_s)
        return self._keys.take(recipient)

    def close(self) -> None:
        """Stop, and forget every key."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._keys.forget()

    def _schedule(self, seconds: float) -> None:
        self._due_s = self._now_s() + seconds
        self._next = asyncio.get_running_loop().call_later(seconds, self._step)

    def _step(self) -> None:
        self._next = None
        if self._now_s() - self._due_s > self._limits.late_s_max:
            self._schedule(self._limits.busy_s)
        elif self._keys.prepare():
            self._schedule(self._limits.pause_s)


class PrefixDesk:
    """Who has lately read the beginning of a conversation: the memory of tags, with the time and the account."""

    def __init__(self, fleet: Fleet, now_s: Callable[[], float]) -> None:
        """Remember those of `fleet`; `now_s` gives monotonic seconds."""
        self.memory = AffinityMemory()
        self._fleet = fleet
        self._now_s = now_s
        fleet.watch(self._changed)

    def likely(self, consumer: Consumer, facts: Facts) -> Mapping[ProviderId, int]:
        """Return how many tokens of a request's prompt each provider is likely to have read before."""
        return self.memory.likely(consumer.account_id, facts.model, facts.tags, now_s=self._now_s())

    def note(self, consumer: Consumer, facts: Facts, provider_id: ProviderId) -> None:
        """Remember the provider whose answer is relayed: it has read the whole prompt."""
        self.memory.note(consumer.account_id, facts.model, facts.tags, provider_id, now_s=self._now_s())

    def _changed(self, provider: LiveProvider) -> None:
        is_here = self._fleet.get(provider.provider_id) is provider
        loaded = [model for model, offer in provider.offers.items() if offer.is_loaded] if is_here else ()
        self.memory.offered(provider.provider_id, loaded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """`linger` takes an attempt that has ended and whose provider has not yet said that its slot is free."""

    fleet: Fleet
    placement: Placement
    ledger: RequestLedger
    budgets: Budgets
    tariffs: Tariffs
    clock: Clock
    limits: ServingLimits
    telemetry: Telemetry
    keys: KeyDesk
    prefixes: PrefixDesk
    linger: Callable[[Attempt], None]
