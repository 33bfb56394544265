"""The replay cache: an envelope runs at most once per provider (section 6).

It lives and dies with the private keys it guards; a full cache refuses and a live id is never evicted.
"""

from __future__ import annotations

import threading

from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import REPLAY_CAPACITY


class ReplayCache:
    """Ids of envelopes that ran, each until its time is over. Safe to use from several threads."""

    __slots__ = ("_by_expiry", "_capacity", "_expiry_of", "_forgotten", "_lock", "_now")

    def __init__(self, capacity: int = REPLAY_CAPACITY) -> None:
        self._capacity = capacity
        self._expiry_of: dict[bytes, int] = {}
        # Ids by the second they expire in: lives are bounded, so there are a few hundred buckets and no sorting.
        self._by_expiry: dict[int, set[bytes]] = {}
        self._lock = threading.Lock()
        self._now = 0
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._expiry_of)

    def __contains__(self, envelope_id: bytes) -> bool:
        return envelope_id in self._expiry_of

    def expire(self, now: int) -> None:
        """Forget the ids whose time is over at `now`."""
        if now <= self._now:
            return
        with self._lock:
            self._now = now
            for second in [second for second in self._by_expiry if second <= now]:
                for envelope_id in self._by_expiry.pop(second):
                    del self._expiry_of[envelope_id]
                self._forgotten = max(self._forgotten, second)

    def insert(self, envelope_id: bytes, *, until: int) -> None:
        """Remember `envelope_id` until the second `until`; raises `replayed`, or `capacity` when full.

        Raises `expired` where ids of that second have been forgotten already: the clock has stepped back, or another
        thread was faster, and nobody can say any more that this one did not run.
        """
        with self._lock:
            if envelope_id in self._expiry_of:
                raise SealingError("replayed")
            if until <= self._forgotten:
                raise SealingError("expired")
            if len(self._expiry_of) >= self._capacity:
                raise SealingError("capacity")
            self._expiry_of[envelope_id] = until
            self._by_expiry.setdefault(until, set()).add(envelope_id)

    def release(self, envelope_id: bytes) -> None:
        """Forget an id whose attempt was refused before any engine work; an id that is not held is no error."""
        with self._lock:
            until = self._expiry_of.pop(envelope_id, None)
            if until is not None:
                bucket = self._by_expiry[until]
                bucket.discard(envelope_id)
                if not bucket:
                    del self._by_expiry[until]
