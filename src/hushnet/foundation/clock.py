"""The only clock: domains take a `Clock`, so that tests and simulations own time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is stored or signed, monotonic time for what is measured."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clock."""

    monotonic_s = staticmethod(time.monotonic)  # read for every message of an answer, so without a frame of its own

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until told to move."""

    def __init__(self, now_ms: int = 1_763_690_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 0.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds` >= 0."""
        if seconds < 0:
            raise ValueError("a clock does not run backwards")
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds
