"""What machines were asked to do with models and have not done yet; who does not do it is left alone for a while. Pure.

Bounded by what is asked: a pair of provider and model has one entry, and goes with its provider.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Struct

from hushnet.foundation.ids import ModelId, ProviderId

Pair: TypeAlias = tuple[ProviderId, ModelId]


class _Failures(Struct):
    count: int
    until_s: float


class Asked:
    """Loads, or unloads, under way. Times are monotonic seconds."""

    def __init__(self, *, back_off_s: float, back_off_s_max: float) -> None:
        """Leave who fails alone for `back_off_s`, doubled each time up to `back_off_s_max`."""
        self.pending: dict[Pair, float] = {}
        """What is under way, with the time at which each counts as failed."""
        self._back_off_s = back_off_s
        self._back_off_s_max = back_off_s_max
        self._failures: dict[Pair, _Failures] = {}

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pending)

    def done(self, pair: Pair) -> None:
        """It is as was asked: earlier failures are forgiven."""
        self.pending.pop(pair, None)
        self._failures.pop(pair, None)

    def failed(self, pair: Pair, now_s: float) -> None:
        """It was refused, or did not come in time; without effect when nobody had asked."""
        if self.pending.pop(pair, None) is not None:
            self.blame(pair, now_s)

    def blame(self, pair: Pair, now_s: float) -> None:
        """Count a failure, whoever had asked."""
        known = self._failures.get(pair)
        count = known.count + 1 if known is not None else 1
        pause_s = min(self._back_off_s * 2.0 ** min(count - 1, 16), self._back_off_s_max)
        self._failures[pair] = _Failures(count, now_s + pause_s)

    def failures(self, pair: Pair) -> int:
        """Return how often it has failed in a row."""
        known = self._failures.get(pair)
        return 0 if known is None else known.count

    def rests(self, pair: Pair, now_s: float) -> bool:
        """Say whether it is left alone now."""
        known = self._failures.get(pair)
        return known is not None and now_s < known.until_s

    def left(self, provider_id: ProviderId) -> None:
        """The provider is gone, and what it was asked for with it."""
        for known in (self.pending, self._failures):
            for pair in [pair for pair in known if pair[0] == provider_id]:
                del known[pair]

    def expire(self, now_s: float) -> None:
        """Count what is late as failed, and forget failures of long ago."""
        for pair in [pair for pair, until_s in self.pending.items() if until_s <= now_s]:
            self.failed(pair, now_s)
        # Who has kept quiet for long after its pause may fail anew from the beginning.
        over_s = now_s - self._back_off_s_max
        for pair in [pair for pair, failures in self._failures.items() if failures.until_s < over_s]:
            del self._failures[pair]
