"""How much a provider's recent failures cost it in the ranking. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

FAILURE_MS: Final = 2_000
"""One failure: another provider that is not two seconds slower is tried first."""
STRIKES: Final = 2
STRIKE_WINDOW_S: Final = 60.0
COOL_DOWN_S: Final = 300.0
"""Two failures within a minute rest a provider for five (the reference system's breaker)."""
COOL_DOWN_MS: Final = 600_000
"""More than any honest estimate: while it cools down, a provider is used only when nobody else is there."""


@dataclass(slots=True)
class Health:
    """The failures of one provider with one model."""

    failed_s: deque[float] = field(default_factory=lambda: deque(maxlen=STRIKES))
    cool_until_s: float = 0.0

    def failed(self, now_s: float) -> None:
        """Count a failure that is the provider's own fault."""
        self.failed_s.append(now_s)
        if len(self.failed_s) == STRIKES and now_s - self.failed_s[0] <= STRIKE_WINDOW_S:
            self.cool_until_s = now_s + COOL_DOWN_S

    def succeeded(self) -> None:
        """A whole answer forgives what came before."""
        self.failed_s.clear()
        self.cool_until_s = 0.0

    def penalty_ms(self, now_s: float) -> int:
        """Return what to add to the provider's estimated cost at `now_s`."""
        if now_s < self.cool_until_s:
            return COOL_DOWN_MS
        return FAILURE_MS * sum(1 for at_s in self.failed_s if now_s - at_s <= STRIKE_WINDOW_S)
