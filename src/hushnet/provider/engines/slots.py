"""Who may use the engine now: its slots, the queue before them, and the load that both make.

The queue is ours and not the engine's, so that a request which still waits can be cancelled at once and counted truly.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from hushnet.provider.engines.base import EngineBusy, EngineCapacity, EngineFailed

EWMA_WEIGHT = 0.3
"""The newest answer's share of a rate: three answers make most of it."""


@dataclass(slots=True)
class Slot:
    """One place in the engine. `cache_salt` names whose prefix its cache holds; None is nobody's."""

    index: int
    cache_salt: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Lease:
    """A slot while one request holds it, and what that request has used so far.

    `may_reuse_prefix` is true only when the slot's cache was left by a request with the same salt
    (docs/sealing.md section 5: prefix caches are never shared without one).
    """

    slot: Slot
    may_reuse_prefix: bool
    prompt_tokens: int = 0
    output_tokens: int = 0


class SlotPool:
    """Hands out `slots` places first come, first served; refuses when `queue_max` requests wait already."""

    def __init__(self, slots: int, *, queue_max: int) -> None:
        self._slots = slots
        self._queue_max = queue_max
        self._free = deque(Slot(index) for index in range(slots))
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._leases: list[Lease] = []
        self._decode_tokens_s = 0.0
        self._prefill_tokens_s = 0.0

    async def acquire(self, cache_salt: str | None = None) -> Lease:
        """Wait for a slot. Raises `EngineBusy` when too many wait; a cancelled wait leaves no trace."""
        if self._waiting or not self._free:
            await self._wait_for_turn()
        slot = self._pick(cache_salt)
        lease = Lease(slot, may_reuse_prefix=cache_salt is not None and slot.cache_salt == cache_salt)
        slot.cache_salt = cache_salt
        self._leases.append(lease)
        return lease

    def release(self, lease: Lease) -> None:
        """Give the slot back and wake the longest waiting request."""
        self._leases.remove(lease)
        self._free.append(lease.slot)
        self._wake_next()

    def close(self) -> None:
        """Fail whoever waits; what runs keeps its lease."""
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(EngineFailed("the engine was unloaded"))

    def note_rates(self, *, decode_tokens_s: float, prefill_tokens_s: float) -> None:
        """Fold one finished answer's speeds into the averages; 0 means unknown."""
        self._decode_tokens_s = _ewma(self._decode_tokens_s, decode_tokens_s)
        self._prefill_tokens_s = _ewma(self._prefill_tokens_s, prefill_tokens_s)

    def capacity(self) -> EngineCapacity:
        """Report the load now."""
        return EngineCapacity(
            slots=self._slots,
            active=len(self._leases),
            queued=sum(not turn.done() for turn in self._waiting),
            tokens_active=sum(lease.prompt_tokens + lease.output_tokens for lease in self._leases),
            decode_tokens_s=self._decode_tokens_s,
            prefill_tokens_s=self._prefill_tokens_s,
        )

    async def _wait_for_turn(self) -> None:
        if len(self._waiting) >= self._queue_max:
            raise EngineBusy("every slot of the engine is taken and its queue is full", retry_after_s=1.0)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._wake_next()
        try:
            await turn
        except BaseException:
            self._waiting.remove(turn)
            self._wake_next()
            raise
        self._waiting.remove(turn)

    def _wake_next(self) -> None:
        """Grant a turn for each free slot that is not granted yet; a granted turn keeps its place until it is taken."""
        granted = sum(turn.done() for turn in self._waiting)
        for turn in self._waiting:
            if granted >= len(self._free):
                return
            if not turn.done():
                turn.set_result(None)
                granted += 1

    def _pick(self, cache_salt: str | None) -> Slot:
        """Take the free slot that holds this salt's prefix, or the one that was free longest."""
        if cache_salt is not None:
            for slot in self._free:
                if slot.cache_salt == cache_salt:
                    self._free.remove(slot)
                    return slot
        return self._free.popleft()


def _ewma(average: float, newest: float) -> float:
    if newest <= 0:
        return average
    return newest if average == 0 else average + EWMA_WEIGHT * (newest - average)
