"""Statistics of rounds: percentiles, the middle and the extremes, and ratios that are taken inside one round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, with the lowest and the highest."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.3g} ({self.low:.3g}-{self.high:.3g})"


def spread(values: Sequence[float]) -> Spread:
    """Return median and extremes of at least one value."""
    return Spread(median(values), min(values), max(values))


def percentiles(values: Sequence[float], at: Sequence[float] = (50, 95, 99)) -> tuple[float, ...]:
    """Return the values at those percents, nearest rank; zeros when there are none."""
    ordered = sorted(values)
    return tuple(ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0 for percent in at)


def ratios(rounds: Sequence[Mapping[str, float]], over: str, under: str) -> list[float]:
    """Return `over` / `under` of each round that has both: what another round's noise can't touch."""
    return [taken[over] / taken[under] for taken in rounds if taken.get(under) and over in taken]


def differences(rounds: Sequence[Mapping[str, float]], of: str, minus: str) -> list[float]:
    """Return `of` - `minus` of each round that has both."""
    return [taken[of] - taken[minus] for taken in rounds if of in taken and minus in taken]
