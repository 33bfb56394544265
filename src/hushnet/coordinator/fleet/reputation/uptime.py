"""Uptime of a provider with a model as OpenRouter counts it for providers. Pure: times are Unix milliseconds.

Uptime is what was served over all requests but those that their users were to blame for: a 401, 402, 404, 5xx, an error
in the middle of a stream and one instead of a finish reason count against it, a 400, 413, 429 and 403 do not. From 95 % on
a provider is normal, from 80 % degraded, below it is only fallen back on; with less than 100 requests nothing is said.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

REQUESTS_MIN: Final = 100
NORMAL_SHARE: Final = 0.95
DEGRADED_SHARE: Final = 0.80
HOURS: Final = 24
DAYS: Final = 30
_HOUR_MS: Final = 3_600_000

Count = Annotated[int, Meta(ge=0, le=2**40)]


class UptimeClass(StrEnum):
    """How a provider is treated for its uptime with a model."""

    UNRATED = "unrated"
    NORMAL = "normal"
    DEGRADED = "degraded"
    FALLBACK = "fallback"


def uptime_class(served: int, failed: int) -> UptimeClass:
    """Return the class of so many requests served and failed; those that users are to blame for are in neither."""
    total = served + failed
    if total < REQUESTS_MIN:
        return UptimeClass.UNRATED
    if served >= NORMAL_SHARE * total:
        return UptimeClass.NORMAL
    return UptimeClass.DEGRADED if served >= DEGRADED_SHARE * total else UptimeClass.FALLBACK


class Window(Struct, array_like=True):
    """Counts of the last so many buckets of time, two of them a bucket; `latest` is the newest bucket's number."""

    latest: Count = 0
    counts: Annotated[list[Count], Meta(max_length=2 * DAYS)] = []

    def add(self, bucket: int, *, served: int, failed: int, size: int) -> None:
        """Count into `bucket`; one that is older than the window is forgotten."""
        self._move(bucket, size)
        if bucket > self.latest - size:
            place = 2 * (bucket % size)
            self.counts[place] += served
            self.counts[place + 1] += failed

    def sums(self, bucket: int, size: int) -> tuple[int, int]:
        """Return (served, failed) of the `size` buckets that end with `bucket`."""
        self._move(bucket, size)
        return sum(self.counts[::2]), sum(self.counts[1::2])

    def join(self, other: Window, size: int) -> None:
        """Count another window of the same size in."""
        if len(other.counts) != 2 * size:
            return
        for bucket in range(max(other.latest - size + 1, 0), other.latest + 1):
            place = 2 * (bucket % size)
            self.add(bucket, served=other.counts[place], failed=other.counts[place + 1], size=size)

    def _move(self, bucket: int, size: int) -> None:
        if len(self.counts) != 2 * size:
            self.latest, self.counts = bucket, [0] * (2 * size)
        for passed in range(max(self.latest + 1, bucket - size + 1), bucket + 1):
            self.counts[2 * (passed % size)] = self.counts[2 * (passed % size) + 1] = 0
        self.latest = max(self.latest, bucket)


class Uptime(Struct, array_like=True):
    """The requests of a provider with one model: by the hour for a day, by the day for a month."""

    hours: Window
    days: Window

    @classmethod
    def empty(cls) -> Uptime:
        """Return the uptime of a provider that has served nothing."""
        return cls(Window(), Window())

    def add(self, *, is_served: bool, now_ms: int) -> None:
        """Count a request."""
        hour = now_ms // _HOUR_MS
        served, failed = int(is_served), int(not is_served)
        self.hours.add(hour, served=served, failed=failed, size=HOURS)
        self.days.add(hour // 24, served=served, failed=failed, size=DAYS)

    def day(self, now_ms: int) -> tuple[int, int]:
        """Return (served, failed) of the last 24 hours, the one that runs included."""
        return self.hours.sums(now_ms // _HOUR_MS, HOURS)

    def month(self, now_ms: int) -> tuple[int, int]:
        """Return (served, failed) of the last 30 days, the one that runs included."""
        return self.days.sums(now_ms // _HOUR_MS // 24, DAYS)

    def join(self, other: Uptime) -> None:
        self.hours.join(other.hours, HOURS)
        self.days.join(other.days, DAYS)

    def not_after(self, now_ms: int) -> Uptime:
        """Return this uptime, or an empty one where it was counted by a clock that was ahead."""
        hour = now_ms // _HOUR_MS
        is_ahead = self.hours.latest > hour or self.days.latest > hour // 24
        return Uptime.empty() if is_ahead else self
