"""What waits for the writer, and which of it goes into the next transaction. Pure.

Rules: in the order of arrival, as long as one batch takes everything. Beyond that holds go first, because a consumer waits
for them and nobody waits for a close; a quarter of each batch is for what has waited longest, so that closes never starve.
A hold that overtook and found too little money, or its owner frozen, is asked again in its turn: what it overtook may have
released some, or ended a debt. A batch that was refused comes back in halves, one at a time, with a batch of others between them.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from hushnet.coordinator.ledger.model import Capped, Hold, Insufficient, Operation, Outcome, Refused

_OLDEST_PART: Final = 4


class Waiting:
    """An operation and whoever waits for its outcome; `number` is its place in the order of arrival."""

    __slots__ = ("has_overtaken", "number", "operation", "outcome")

    def __init__(self, operation: Operation, outcome: asyncio.Future[Outcome]) -> None:
        self.operation = operation
        self.outcome = outcome
        self.number = 0
        self.has_overtaken = False

    @property
    def is_unwanted(self) -> bool:
        """Whether this is a hold whose caller has gone: it is not made; anything else is done without its caller."""
        return self.outcome.cancelled() and isinstance(self.operation, Hold)


class Backlog:
    """The operations that have not been committed."""

    def __init__(self, *, batch_max: int) -> None:
        self._batch_max = batch_max
        self._holds: deque[Waiting] = deque()
        self._others: deque[Waiting] = deque()
        self._halves: deque[Sequence[Waiting]] = deque()
        self._is_halfs_turn = True
        self._added = 0

    def __len__(self) -> int:
        return len(self._holds) + len(self._others) + sum(map(len, self._halves))

    def add(self, waiting: Waiting) -> None:
        """Let an operation wait."""
        self._added += 1
        waiting.number = self._added
        (self._holds if isinstance(waiting.operation, Hold) else self._others).append(waiting)

    def next_batch(self) -> list[Waiting]:
        """Take what is to be committed next, in the order of arrival; nothing when all of it was unwanted."""
        has_queued = bool(self._holds or self._others)
        if self._halves and (self._is_halfs_turn or not has_queued):
            self._is_halfs_turn = False
            batch = list(self._halves.popleft())
        else:
            self._is_halfs_turn = True
            batch = self._queued()
            self._note_overtaking(batch)
        return [waiting for waiting in batch if not waiting.is_unwanted]

    def halve(self, batch: Sequence[Waiting]) -> None:
        """Take back a batch that was refused as a whole; its parts are tried by themselves, before its followers' parts."""
        middle = len(batch) // 2
        self._halves.extendleft((batch[middle:], batch[:middle]))

    def asks_again(self, waiting: Waiting, outcome: Outcome) -> bool:
        """Take a hold back that lacks what those it overtook may have brought; say whether it was one."""
        if not waiting.has_overtaken or not isinstance(outcome, Insufficient | Capped | Refused):
            return False
        waiting.has_overtaken = False
        insort(self._others, waiting, key=_number)
        return True

    def clear(self) -> Iterator[Waiting]:
        """Take everything, in no order."""
        while self._halves:
            yield from self._halves.popleft()
        for queue in (self._holds, self._others):
            while queue:
                yield queue.popleft()

    def _queued(self) -> list[Waiting]:
        """Take everything, or of a backlog the oldest up to a quarter, then holds, then again the oldest."""
        if len(self._holds) + len(self._others) <= self._batch_max:
            batch = [*self._holds, *self._others]
            self._holds.clear()
            self._others.clear()
        else:
            batch = [self._oldest() for _ in range(self._batch_max // _OLDEST_PART)]
            while len(batch) < self._batch_max:
                batch.append(self._holds.popleft() if self._holds else self._others.popleft())
        batch.sort(key=_number)
        return batch

    def _note_overtaking(self, batch: Sequence[Waiting]) -> None:
        """Mark what is committed before something that came earlier."""
        left = [half[0].number for half in self._halves]
        if self._others:
            left.append(self._others[0].number)
        if left:
            oldest = min(left)
            for waiting in batch:
                waiting.has_overtaken = waiting.number > oldest

    def _oldest(self) -> Waiting:
        is_hold = not self._others or (self._holds and self._holds[0].number < self._others[0].number)
        return (self._holds if is_hold else self._others).popleft()


def _number(waiting: Waiting) -> int:
    return waiting.number
