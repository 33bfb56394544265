"""The median of many rates that change all the time, without keeping or sorting them."""

from __future__ import annotations

import math
from typing import Final

STEPS: Final = 200
"""Eight an octave from 0.1 tokens a second on: the median is exact to a tenth, which is more than the rates are."""
_STALE_MIN: Final = 16
BELIEVED_TIMES: Final = 4.0
BELIEVED_REPORTS_MIN: Final = 6
"""A claim is measured by those of five others at least."""


class Rates:
    """Counts of rates by size; 0 stands for unknown and is not counted."""

    __slots__ = ("_changes", "_counts", "_looked_at", "_median", "_total", "_upper")

    def __init__(self) -> None:
        self._counts = [0] * STEPS
        self._total = 0
        self._changes = 0
        self._median = 0.0
        self._upper = 0.0
        self._looked_at = 0
        """How many were counted when median and quartile were looked for."""

    def add(self, rate: float) -> None:
        """Count a rate in."""
        if rate > 0:
            self._counts[_step(rate)] += 1
            self._total += 1
            self._changes += 1

    def remove(self, rate: float) -> None:
        """Count a rate out that was counted in before."""
        if rate > 0:
            self._counts[_step(rate)] -= 1
            self._total -= 1
            self._changes += 1

    def median(self) -> float:
        """Return the median, 0.0 when nothing is counted; looked for again once an eighth of all has changed."""
        self._look()
        return self._median

    def believed_max(self) -> float:
        """Return what a claim is believed up to: several times the upper quartile, and anything where few have reported.

        Machines for one model differ more than that, and those that are faster than most of the fleet still come first.
        The upper quartile itself moves only when a quarter of all reports lie.
        """
        if self._total < BELIEVED_REPORTS_MIN:
            return math.inf
        self._look()
        return BELIEVED_TIMES * self._upper

    def _look(self) -> None:
        has_few_become_enough = self._looked_at < BELIEVED_REPORTS_MIN <= self._total
        is_stale = self._changes >= max(self._total // 8, min(_STALE_MIN, self._total)) and self._changes
        if has_few_become_enough or is_stale:
            self._changes = 0
            self._looked_at = self._total
            self._median = self._find((self._total + 1) // 2)
            self._upper = self._find(self._total * 3 // 4)

    def _find(self, left: int) -> float:
        if not left:
            return 0.0
        for step, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return _rate(step)
        raise AssertionError("more rates are counted than there are")


def _step(rate: float) -> int:
    """Return the step of a rate: three bits after the leading one, of tenths of tokens a second."""
    value = max(int(rate * 80), 8)
    bits = value.bit_length()
    return min((bits - 4) * 8 + (value >> bits - 4 & 7), STEPS - 1)


def _rate(step: int) -> float:
    """Return the middle of a step."""
    octave, part = divmod(step, 8)
    return (8 + part + 0.5) * (1 << octave) / 80
