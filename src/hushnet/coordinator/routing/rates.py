"""The median of many rates that change all the time, without keeping or sorting them."""

from __future__ import annotations

from typing import Final

STEPS: Final = 200
"""Eight an octave from 0.1 tokens a second on: the median is exact to a tenth, which is more than the rates are."""
_STALE_MIN: Final = 16


class Rates:
    """Counts of rates by size; 0 stands for unknown and is not counted."""

    __slots__ = ("_changes", "_counts", "_median", "_total")

    def __init__(self) -> None:
        self._counts = [0] * STEPS
        self._total = 0
        self._changes = 0
        self._median = 0.0

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
        if self._changes >= max(self._total // 8, min(_STALE_MIN, self._total)) and self._changes:
            self._changes = 0
            self._median = self._find()
        return self._median

    def _find(self) -> float:
        left = (self._total + 1) // 2
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
