"""How fast a queue moves, from the times at which its tickets were served. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SERVED_MIN: Final = 4
"""Before so many were served, nothing is said about the rest."""
WEIGHT: Final = 0.2
"""Of the newest interval: half of what is known is from the last three."""
STALL: Final = 4.0
"""One interval counts as at most so many usual ones: a stall that is over says little of what comes."""


@dataclass(slots=True)
class Pace:
    """The pace of one model's queue; it begins anew whenever the queue has run empty."""

    began_s: float
    served: int = 0
    _last_s: float = 0.0
    _interval_s: float = 0.0

    def note_served(self, now_s: float) -> None:
        """Count a ticket that left for a provider at `now_s` (monotonic)."""
        since_s = now_s - (self._last_s if self.served else self.began_s)
        if self.served >= SERVED_MIN:
            since_s = min(since_s, STALL * self._interval_s)
        self._interval_s += (since_s - self._interval_s) * (WEIGHT if self.served else 1.0)
        self._last_s = now_s
        self.served += 1

    def estimate_s(self, ahead: int, now_s: float) -> float | None:
        """Return how long somebody with `ahead` tickets before it will wait; None while nobody can tell.

        A silence longer than the interval counts for it: a queue that has stopped promises nothing.
        """
        if self.served < SERVED_MIN:
            return None
        return (ahead + 1) * max(self._interval_s, (now_s - self._last_s) / (ahead + 1))
