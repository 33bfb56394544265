"""Where a request's time goes until its answer begins, stage by stage: the `X-Timing` header (docs/http.md).

A stopwatch is always in exactly one stage, so the parts add up to the whole: from the end of the request's headers to the
head of the answer, less the wait for the body's bytes. A stage that is entered again (another attempt) adds up. It knows
times and nothing else of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PARSE: Final = 0
AUTH: Final = 1
RESERVE: Final = 2
ROUTE: Final = 3
QUEUE: Final = 4
SEAL: Final = 5
DISPATCH: Final = 6
LOAD: Final = 7
PROVIDER: Final = 8
RELAY: Final = 9
BODY: Final = 10
"""Waiting for the consumer's own bytes: the one stage that is not shown, because it is not ours."""

STAGES: Final = ("parse", "auth", "reserve", "route", "queue", "seal", "dispatch", "load", "provider", "relay")
"""The names of the stages that are shown, in the order of the header."""
X_TIMING: Final = b"x-timing"
STOPWATCH: Final = "hushnet.stopwatch"
"""Where a request's ASGI scope keeps its stopwatch, for whoever writes the head of an error."""
_FORM: Final = ", ".join(f"{name}=%.0f" for name in STAGES).encode("ascii")
_US: Final = 1_000_000


class Stopwatch:
    """One request's clock: it starts in `AUTH`, the first thing that is done for a request."""

    __slots__ = ("_now_s", "_since_s", "_spent_s", "_stage")

    def __init__(self, now_s: Callable[[], float]) -> None:
        """Start; `now_s` gives monotonic seconds."""
        self._now_s = now_s
        self._since_s = now_s()
        self._stage = AUTH
        self._spent_s = [0.0] * (len(STAGES) + 1)

    def enter(self, stage: int, *, at_s: float | None = None) -> None:
        """End the running stage and begin `stage`; `at_s` is when that was, if it was before now."""
        since_s = self._since_s
        now_s = self._now_s() if at_s is None or at_s < since_s else at_s
        self._spent_s[self._stage] += now_s - since_s
        self._stage = stage
        self._since_s = now_s

    @property
    def stage(self) -> int:
        """The stage that runs."""
        return self._stage

    def render(self) -> bytes:
        """Return the header's value: whole microseconds of every stage, the running one up to now."""
        self.enter(self._stage)
        return _FORM % tuple([spent_s * _US for spent_s in self._spent_s[:BODY]])
