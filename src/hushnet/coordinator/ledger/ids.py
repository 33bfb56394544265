"""Fact ids: 63 bits, ordered by time, made by this process and never by the database.

`(ms since 2025-01-01) << 22 | lane << 14 | sequence << 1 | phase`. A hold's id is even and is the request's id; its one
finaliser is `id | 1`. The lane's lease makes ids of different processes disjoint: no id carries a millisecond beyond it.
"""

from __future__ import annotations

from typing import Final

from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError

EPOCH_MS: Final = 1_735_689_600_000
_MS_SHIFT: Final = 22
_LANE_SHIFT: Final = 14
_SEQUENCES: Final = 1 << 13
ID_MAX: Final = (1 << 63) - 1


def id_ms(fact: int) -> int:
    """Return the millisecond (since 1970 UTC) that an id carries."""
    return (fact >> _MS_SHIFT) + EPOCH_MS


def first_id_at(ms: int) -> int:
    """Return the smallest id that carries `ms`; 0 for a time before 2025."""
    return max(0, ms - EPOCH_MS) << _MS_SHIFT


class FactIds:
    """The ids of one claim of one lane: ascending, even, none at or below `last_fact`."""

    def __init__(self, lane: int, clock: Clock, *, last_fact: int, until_ms: int) -> None:
        self._lane_bits = lane << _LANE_SHIFT
        self._clock = clock
        self._ms = id_ms(last_fact)
        self._sequence = _SEQUENCES - 1
        self._until_ms = until_ms

    def extend(self, until_ms: int) -> None:
        """Let ids carry milliseconds up to the renewed lease's end."""
        self._until_ms = until_ms

    def next(self) -> int:
        """Return a fresh id; raises `CapacityError` when the lease does not reach this far.

        A clock that runs backwards and a millisecond whose sequence is used up both go on from the last id.
        """
        now_ms = self._clock.now_ms()
        if now_ms > self._ms:
            ms, sequence = now_ms, 0
        elif self._sequence + 1 < _SEQUENCES:
            ms, sequence = self._ms, self._sequence + 1
        else:
            ms, sequence = self._ms + 1, 0
        if ms > self._until_ms:
            raise CapacityError("the ledger's lease has ended", code="busy", retry_after_s=1.0)
        self._ms, self._sequence = ms, sequence
        return (ms - EPOCH_MS) << _MS_SHIFT | self._lane_bits | sequence << 1
