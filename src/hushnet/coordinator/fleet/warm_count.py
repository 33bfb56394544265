"""How many of the machines that say they have a model loaded can be counted on, by whose they are.

Not those that rest after failures, are fallen back on only, come and go, or take no requests now: what the router sees of
them tells. Looked at anew every few seconds, at a bounded number of machines; of more than that a part stands for all.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from msgspec import Struct

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.health import COOL_DOWN_MS
from hushnet.coordinator.fleet.reputation.record import FALLBACK_MS
from hushnet.coordinator.fleet.stock import Stock
from hushnet.coordinator.routing.asked import Pair
from hushnet.coordinator.routing.holdings import Held
from hushnet.coordinator.routing.model import Candidate
from hushnet.foundation.ids import AccountId, ModelId

LOOKED_AT_MAX: Final = 256
LOOKS_MAX: Final = 1024
"""Machines that one tick looks at again only because that was a while ago, about a microsecond each."""
LASTS_S: Final = 3.0
"""A machine that begins to rest is missed so much later at least, unless a machine comes or goes meanwhile."""
KEPT_S: Final = 60.0


class Warm(Struct, frozen=True):
    """The machines with one model that are counted on, how many have served it, and both by account."""

    warm: int
    proven: int
    owners: dict[AccountId, Held]
    of: int
    """How many say that they have it."""
    until_s: float


class WarmCount:
    """Counts, and remembers its counts for a moment; `proven` are those that have served what they have loaded."""

    def __init__(self, fleet: Fleet, stock: Stock, proven: Set[Pair]) -> None:
        self._fleet = fleet
        self._stock = stock
        self._proven = proven
        self._known: dict[ModelId, Warm] = {}
        self._looks_left = LOOKS_MAX

    def of(self, model: ModelId, now_s: float) -> Warm:
        """Return who has `model` loaded and can be counted on."""
        known, count = self._known.get(model), self._stock.warm.count(model)
        if known is None or known.of != count:
            known = self._known[model] = self._look(model, count, now_s)
        elif known.until_s <= now_s and self._looks_left > 0:
            self._looks_left -= min(count, LOOKED_AT_MAX)
            known = self._known[model] = self._look(model, count, now_s)
        return known

    def tick(self, now_s: float) -> None:
        """Drop the counts that nobody has asked for in a while, and let so many be made anew."""
        self._looks_left = LOOKS_MAX
        self._known = {model: known for model, known in self._known.items() if now_s < known.until_s + KEPT_S}

    def _look(self, model: ModelId, count: int, now_s: float) -> Warm:
        places = self._stock.warm
        some = places.some(model, LOOKED_AT_MAX) if count > LOOKED_AT_MAX else places.members(model)
        each_for = count / len(some) if some else 1.0
        index, warm, proven = self._fleet.view(model).index, dict[AccountId, int](), dict[AccountId, int]()
        for provider_id in some:
            candidate = index.get(provider_id)
            if candidate is not None and is_counted_on(candidate):
                warm[candidate.owner] = warm.get(candidate.owner, 0) + 1
                if (provider_id, model) in self._proven:
                    proven[candidate.owner] = proven.get(candidate.owner, 0) + 1
        owners = {
            owner: Held(round(seen * each_for), round(proven.get(owner, 0) * each_for)) for owner, seen in warm.items()
        }
        totals = round(sum(warm.values()) * each_for), round(sum(proven.values()) * each_for)
        return Warm(*totals, owners, count, now_s + LASTS_S)


def is_counted_on(candidate: Candidate) -> bool:
    """Say whether the router uses it while there are others."""
    return candidate.failures_ms < COOL_DOWN_MS and candidate.record_ms < FALLBACK_MS
