"""How long a word and its echo take on a link, smoothed as TCP does it (RFC 6298 section 2). Pure: time is passed in."""

from __future__ import annotations

import math
from typing import Final

_SMOOTHING: Final = 0.125
ROUND_TRIP_S_MAX: Final = 10.0
"""A longer silence is a link that the heartbeat's own deadline ends."""


class RoundTrip:
    """One question at a time is open; one that is still open when the next is due took at least that long."""

    __slots__ = ("_asked_s", "_smooth_s", "_token")

    def __init__(self) -> None:
        self._token = b""
        self._asked_s = -math.inf
        self._smooth_s: float | None = None

    def is_due(self, now_s: float, *, every_s: float) -> bool:
        """Say whether the last question was so long ago."""
        return now_s - self._asked_s >= every_s

    def ask(self, token: bytes, now_s: float) -> None:
        """Begin with `token`, which the peer cannot guess and therefore not answer before it has come."""
        if self._token:
            self._note(now_s - self._asked_s)
        self._token, self._asked_s = token, now_s

    def answer(self, token: bytes, now_s: float) -> None:
        """Take an echo; one that answers no open question is ignored."""
        if self._token and token == self._token:
            self._token = b""
            self._note(now_s - self._asked_s)

    @property
    def ms(self) -> int:
        """The smoothed round trip in milliseconds, 0 before the first."""
        return round(1000 * self._smooth_s) if self._smooth_s is not None else 0

    def _note(self, took_s: float) -> None:
        took_s = min(max(took_s, 0.0), ROUND_TRIP_S_MAX)
        before = self._smooth_s
        self._smooth_s = took_s if before is None else before + _SMOOTHING * (took_s - before)
