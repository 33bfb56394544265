"""How much a provider's recent failures cost it in the ranking. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Final

FAILURE_MS: Final = 2_000
"""One failure: another provider that is not two seconds slower is tried first."""
STRIKES: Final = 2
STRIKE_WINDOW_S: Final = 60.0
COOL_DOWN_S: Final = 300.0
"""Two failures within a minute rest a provider for five (the reference system's breaker)."""
COOL_DOWN_MS: Final = 600_000
"""More than any honest estimate: while it cools down, a provider is used only when nobody else is there."""
REFUSALS: Final = 3
REST_S: Final = 60.0
"""Three refusals within a minute for want of room that the provider's own report shows rest it for one."""
REFUSALS_APART_S: Final = 2.0
"""Less than a heartbeat. What is refused at once is one refusal: whoever lost a race for the last slot loses it once."""


@dataclass(slots=True)
class Health:
    """The failures of one provider with one model."""

    failed_s: deque[float] = field(default_factory=lambda: deque(maxlen=STRIKES))
    refused_s: deque[float] = field(default_factory=lambda: deque(maxlen=REFUSALS))
    cool_until_s: float = 0.0
    outrun_s: float = -inf
    """When a backup was last faster, though it began later. A provider that hangs is cancelled in every such race before
    it could time out: without this it would be chosen again and again."""

    def failed(self, now_s: float) -> None:
        """Count a failure that is the provider's own fault."""
        self.failed_s.append(now_s)
        if len(self.failed_s) == STRIKES and now_s - self.failed_s[0] <= STRIKE_WINDOW_S:
            self.cool_until_s = now_s + COOL_DOWN_S

    def refused(self, now_s: float) -> None:
        """Count a refusal for want of room where the provider's own word leaves some: a stale report, or a false one."""
        if self.refused_s and now_s - self.refused_s[-1] < REFUSALS_APART_S:
            return
        self.refused_s.append(now_s)
        if len(self.refused_s) == REFUSALS and now_s - self.refused_s[0] <= STRIKE_WINDOW_S:
            self.cool_until_s = max(self.cool_until_s, now_s + REST_S)

    def outrun(self, now_s: float) -> None:
        """Note that a backup was faster: that is no failure and never leads to a cool-down."""
        self.outrun_s = now_s

    def succeeded(self, began_s: float) -> bool:
        """Forgive what came before a whole answer's attempt began; says whether there was anything.

        An answer that began before the last failure proves nothing of what went wrong since.
        """
        last_s = max((self.outrun_s, *self.failed_s, *self.refused_s))
        if not -inf < last_s <= began_s:
            return False
        self.failed_s.clear()
        self.refused_s.clear()
        self.cool_until_s = 0.0
        self.outrun_s = -inf
        return True

    def penalty_ms(self, now_s: float) -> int:
        """Return what to add to the provider's estimated cost at `now_s`."""
        if now_s < self.cool_until_s:
            return COOL_DOWN_MS
        strikes = (*self.failed_s, *self.refused_s, self.outrun_s)
        return FAILURE_MS * sum(1 for at_s in strikes if now_s - at_s <= STRIKE_WINDOW_S)
