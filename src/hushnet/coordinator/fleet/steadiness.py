"""How much a provider that comes and goes is set back. Pure: time is passed in.

A link costs the coordinator signatures, a row in the book and a word to every other worker, and a request on a link that
ends is work done twice. A few joins a minute are free: machines are restarted. Each one more doubles what a request there
is reckoned to cost, until the provider has stayed; past a bound it is turned away for the rest of the minute.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_S: Final = 60.0
JOINS_FREE: Final = 3
"""Joins within the window that cost nothing."""
JOINS_MAX: Final = 30
"""Joins within the window after which the next is refused: an agent that dials on with its pauses makes fewer."""
UNSTEADY_MS: Final = 2_000
UNSTEADY_MS_MAX: Final = 600_000
"""Used only when nobody else is there."""


@dataclass(slots=True)
class Steadiness:
    """The joins of one provider, over all its links."""

    _joined_s: deque[float] = field(default_factory=lambda: deque(maxlen=JOINS_MAX))
    _last_link: int = -1

    def joined(self, now_s: float, *, link: int) -> None:
        """Count a join; `link` tells links apart, so that news of one that is known counts for nothing."""
        if link != self._last_link:
            self._last_link = link
            self._joined_s.append(now_s)

    def joins(self, now_s: float) -> int:
        """Return how often it joined within the window."""
        return sum(1 for at_s in self._joined_s if now_s - at_s <= WINDOW_S)

    def may_join(self, now_s: float) -> bool:
        return len(self._joined_s) < JOINS_MAX or now_s - self._joined_s[0] > WINDOW_S

    def penalty_ms(self, now_s: float) -> int:
        """Return what to add to the provider's estimated cost at `now_s`."""
        if len(self._joined_s) <= JOINS_FREE:
            return 0
        beyond = self.joins(now_s) - JOINS_FREE
        return min(UNSTEADY_MS << beyond - 1, UNSTEADY_MS_MAX) if beyond > 0 else 0
