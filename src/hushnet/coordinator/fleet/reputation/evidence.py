"""Evidence for and against: sums that decay with time, weighed against a prior. Pure: times are Unix milliseconds.

A newcomer stands at the prior, and so does, after long enough, whoever is not heard of. Amounts that come in another
order give the same sums, as long as they stay below the bound on their weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import Annotated

from msgspec import Meta, Struct

HOUR_MS = 3_600_000.0
AMOUNT_MAX = 1e9

Amount = Annotated[float, Meta(ge=0.0, le=AMOUNT_MAX)]
Moment = Annotated[int, Meta(ge=0, le=2**53)]


class Tally(Struct, array_like=True):
    """Amounts for and against as they weigh at `at_ms`; a `Measure` says how they fade."""

    good: Amount = 0.0
    bad: Amount = 0.0
    at_ms: Moment = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How one kind of evidence is weighed."""

    prior: float
    """The mean of a newcomer, 0..1."""
    prior_weight: float
    """How much evidence moves the mean half the way; above 0."""
    half_life_ms: float = 24 * HOUR_MS
    weight_max: float = inf
    """Evidence weighs no more than this together: a long good past does not outweigh a bad day."""

    def add(self, tally: Tally, *, good: float = 0.0, bad: float = 0.0, now_ms: int) -> None:
        """Count amounts >= 0 in, as of `now_ms`; what is older than the tally comes in as faded as it would be."""
        if now_ms >= tally.at_ms:
            fade = self._fade(now_ms - tally.at_ms)
            tally.good, tally.bad, tally.at_ms = tally.good * fade, tally.bad * fade, now_ms
        else:
            fade = self._fade(tally.at_ms - now_ms)
            good, bad = good * fade, bad * fade
        tally.good += good
        tally.bad += bad
        most = min(self.weight_max, AMOUNT_MAX)
        if (weight := tally.good + tally.bad) > most:
            tally.good *= most / weight
            tally.bad = most - tally.good

    def join(self, tally: Tally, other: Tally) -> None:
        """Count another tally of the same kind in."""
        self.add(tally, good=other.good, bad=other.bad, now_ms=other.at_ms)

    def weigh(self, now_ms: int, *tallies: Tally) -> tuple[float, float]:
        """Return what is for and against as of `now_ms`, of all tallies together."""
        good = bad = 0.0
        for tally in tallies:
            if not tally.good + tally.bad:
                continue
            fade = self._fade(max(now_ms - tally.at_ms, 0))
            good += tally.good * fade
            bad += tally.bad * fade
        return good, bad

    def mean(self, now_ms: int, *tallies: Tally) -> float:
        """Return the share of what is for, in 0..1: the prior where there is no evidence."""
        return self.balance(*self.weigh(now_ms, *tallies))

    def balance(self, good: float, bad: float) -> float:
        """Return the share of what is for, the prior weighed in."""
        return (self.prior * self.prior_weight + good) / (self.prior_weight + good + bad)

    def lasting(self, milliseconds: int) -> float:
        """Return what a state that has lasted so long weighs now, in hours: each of them faded by its age."""
        return (1.0 - self._fade(milliseconds)) * self.half_life_ms / (log(2) * HOUR_MS)

    def _fade(self, milliseconds: int) -> float:
        return float(0.5 ** (milliseconds / self.half_life_ms))
