"""Why a request is stopped from outside, and its deadlines."""

from __future__ import annotations

from enum import Enum
from typing import Final

from hushnet.coordinator.serving.attempt import Attempt
from hushnet.coordinator.serving.failures import FailureCode
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.sealing.errors import WireCode


class Stop(Enum):
    """What stopped a request."""

    HUNG_UP = "hung up"
    """The consumer is gone."""
    TIMED_OUT = "timed out"
    IDLE = "idle"
    """The provider fell silent in the middle of its answer."""
    STALLED = "stalled"
    """The consumer does not read."""
    SHUTDOWN = "shutdown"


TOLD: Final[dict[Stop, tuple[WireCode, FailureCode | None]]] = {
    Stop.HUNG_UP: (WireCode.CANCELLED, None),
    Stop.TIMED_OUT: (WireCode.TIMED_OUT, FailureCode.TIMED_OUT),
    Stop.IDLE: (WireCode.TIMED_OUT, FailureCode.TIMED_OUT),
    Stop.STALLED: (WireCode.BACKPRESSURE, FailureCode.BACKPRESSURE),
    Stop.SHUTDOWN: (WireCode.CANCELLED, FailureCode.SHUTTING_DOWN),
}
"""What the provider and the consumer are told; nobody is there to be told of a hang-up."""


class Deadlines:
    """The deadlines of one request; the pulse asks, `life` acts."""

    def __init__(self, limits: ServingLimits, *, started_s: float) -> None:
        self.ends_s = started_s + limits.total_s_max
        self._limits = limits
        self._full_since_s = started_s
        self._full_at_drain: int | None = None

    def due(self, now_s: float, attempt: Attempt | None, outlet: Outlet) -> Stop | None:
        """Return what stops the request at `now_s`; None while nothing does."""
        if now_s >= self.ends_s:
            return Stop.TIMED_OUT
        if attempt is None or not attempt.is_committed or attempt.outcome.done():
            return None
        if self._is_stalled(now_s, outlet):
            return Stop.STALLED
        # A provider that waits for credit is not silent, its consumer is slow.
        is_silent = now_s - attempt.heard_s >= self._limits.idle_s_max and not outlet.is_saturated
        return Stop.IDLE if is_silent else None

    def is_late(self, now_s: float, attempt: Attempt) -> bool:
        """Whether an attempt that has shown no content should be given up.

        One that reports generated tokens is alive though it shows nothing (an answer that is not streamed): it is
        late only when it falls silent.
        """
        if attempt.is_generating:
            return now_s - attempt.heard_s >= self._limits.idle_s_max
        return now_s - attempt.started_s >= self._limits.first_content_s_max

    def _is_stalled(self, now_s: float, outlet: Outlet) -> bool:
        """Whether the consumer's window has been full for the whole grace without one write finished."""
        if not outlet.is_saturated:
            self._full_at_drain = None
            return False
        if self._full_at_drain != outlet.drains:
            self._full_at_drain, self._full_since_s = outlet.drains, now_s
        return now_s - self._full_since_s >= self._limits.grace_s
