"""How much of a model is asked for: rates that forget, and from them how many machines should have it loaded.

Pure: every time is passed in, in monotonic seconds. A rate is kept with three memories. On a ramp an estimate lags by its
memory times the slope, so the two shorter ones tell the slope, and with it the rate when a load that begins now is done;
the longest one keeps a lull from being taken for the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp
from typing import Final

RISE_S: Final = 15.0
"""The short memory: at one request a second, chance moves the estimate by a fifth; a crowd shows after three seconds."""
SLOPE_S: Final = 45.0
"""The second one: three times the first tells a ramp from chance without being late for it."""
FALL_S: Final = 300.0
"""The long memory: a lull of a few minutes takes no model out of memory."""
AHEAD_S_MAX: Final = 60.0
"""No ramp is carried on further: a crowd that doubles in a minute has not come for ever."""
SERVICE_SHARE: Final = 0.3
"""What the latest answer counts in the service time (the reference system's alpha)."""
SERVICE_S_FIRST: Final = 5.0
"""A model that has served nobody yet: a chat answer of 200 tokens at 40 a second."""
SERVICE_S_MAX: Final = 600.0
"""The longest that a request may run; a longer report is none."""


@dataclass(slots=True)
class Demand:
    """The demand for one model: requests a second with each memory, as of `at_s`, and how long an answer takes."""

    at_s: float
    rising: float = 0.0
    sloping: float = 0.0
    falling: float = 0.0
    service_s: float = SERVICE_S_FIRST

    def arrived(self, now_s: float) -> None:
        """Count a request in, whatever becomes of it."""
        self._forget(now_s)
        self.rising += 1.0 / RISE_S
        self.sloping += 1.0 / SLOPE_S
        self.falling += 1.0 / FALL_S

    def served(self, seconds: float) -> None:
        """Take note of how long an answer held its slot, less the time for loading."""
        if 0.0 <= seconds <= SERVICE_S_MAX:
            self.service_s += SERVICE_SHARE * (seconds - self.service_s)

    def rate(self, now_s: float, *, ahead_s: float = 0.0) -> float:
        """Return the forecast in requests a second, `ahead_s` from now."""
        self._forget(now_s)
        slope = max(self.rising - self.sloping, 0.0) / (SLOPE_S - RISE_S)
        return max(self.rising + slope * min(ahead_s, AHEAD_S_MAX), self.falling)

    def _forget(self, now_s: float) -> None:
        passed_s = now_s - self.at_s
        if passed_s > 0.0:
            self.rising *= exp(-passed_s / RISE_S)
            self.sloping *= exp(-passed_s / SLOPE_S)
            self.falling *= exp(-passed_s / FALL_S)
            self.at_s = now_s


def machines_wanted(*, rate: float, service_s: float, queue: int, concurrency: float, burst_share: float) -> int:
    """Return how many machines the demand fills, by Little's law, and a share more for what comes at once.

    `concurrency` is how many answers at a time one machine writes at a good pace.
    """
    filled = ceil((rate * service_s + queue) / max(concurrency, 1.0))
    return filled + int(filled * burst_share)
