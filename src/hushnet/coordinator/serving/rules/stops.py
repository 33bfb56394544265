"""Why a request is stopped from outside, and its deadlines.

A consumer is stalled when its window here is full and it has stopped reading (ADR 0031). Whoever reads slowly is not: the
kernel of a reader tells of reading in steps, when it has freed a whole one, so a step's time at the slowest pace that is
served comes before the grace.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from hushnet.coordinator.serving.attempt import Attempt
from hushnet.coordinator.serving.failures import FailureCode
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.rules.progress import ReaderLook
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


STEP_BYTES_MAX: Final = 512 * 1024
"""The largest step in which kernels were seen to tell of a reader's progress: readers at 0.2 and 1 MB/s whose receive
buffers had grown to megabytes (ADR 0031). No step is larger than all that a connection has taken."""


class Deadlines:
    """The deadlines of one request; the pulse asks, `life` acts."""

    def __init__(self, limits: ServingLimits, *, started_s: float) -> None:
        self.ends_s = started_s + limits.total_s_max
        self._limits = limits
        self._full_since_s: float | None = None
        self._moved_s = started_s
        self._reached = (0, 0)

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
        return now_s - attempt.started_s >= self._first_content_s(attempt)

    def is_slow(self, now_s: float, attempt: Attempt) -> bool:
        """Whether an attempt that has shown no content should get a backup: nothing came for a part of its time."""
        limits = self._limits
        if not limits.hedge_share or attempt.is_generating:
            return False
        return now_s - attempt.started_s >= limits.hedge_share * self._first_content_s(attempt)

    def _first_content_s(self, attempt: Attempt) -> float:
        """How long an attempt may show nothing: longer where its provider has to load the model first."""
        return self._limits.first_content_s_max + min(attempt.slot.load_s, self._limits.load_s_max)

    def _is_stalled(self, now_s: float, outlet: Outlet) -> bool:
        """Whether the consumer's window is full and its reader has stopped."""
        if not outlet.is_saturated:
            self._full_since_s = None
            return False
        look = outlet.reader.look() if outlet.reader is not None else None
        full_since_s = self._note(now_s, outlet.drains, look)
        if look is not None and look.is_shut:
            step_s = min(look.acknowledged, STEP_BYTES_MAX) / self._limits.pace_bytes_s_min
            return now_s - max(full_since_s, self._moved_s + step_s) >= self._limits.grace_s
        # A line that loses packets, or a platform that does not tell: writes that finish are all there is to see.
        return now_s - max(full_since_s, self._moved_s) >= self._limits.patience_s

    def _note(self, now_s: float, drains: int, look: ReaderLook | None) -> float:
        """Note when the reader moved last; returns since when the window has been full."""
        reached = (drains, look.acknowledged if look is not None else 0)
        if self._full_since_s is None:
            self._full_since_s = now_s
            # It may have been shut for long: what our socket holds had to fill up first.
            self._moved_s = now_s - look.quiet_s if look is not None and look.is_shut else now_s
        elif reached != self._reached:
            self._moved_s = now_s
        self._reached = reached
        return self._full_since_s
