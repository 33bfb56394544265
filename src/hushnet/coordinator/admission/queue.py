"""Requests that wait for a provider: one queue a model, round robin over accounts, bounded in length and time.

Rules: each account's turn comes once a round, so that a thousand requests of one account delay another account's request
by one; a retry goes before the other requests of its account (its provider failed, its time is running) and before nobody
else's. Nobody waits past the deadline on its ticket. Nothing here is asynchronous; a ticket that is served or leaves is out
at once.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hushnet.foundation.ids import AccountId, ModelId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many may wait. Time limits are on the tickets."""

    waiting_max: int = 512
    """A model's queue: at 4 slots and 5 s a request, 512 requests are the 120 s that anybody may wait, five times over."""
    account_waiting_max: int = 128
    """One account's part of a model's queue."""
    waiting_bytes_max: int = 256 * 1024 * 1024
    """Bodies of everybody who waits, all models together: a sealed one has up to 16 MiB."""


@dataclass(eq=False, slots=True)
class Ticket(Generic[T]):
    """One request's place; `item` is what the owner of the queue wants back."""

    model: ModelId
    account: AccountId
    item: T
    deadline_s: float
    size: int = 0
    is_waiting: bool = True


@dataclass(slots=True)
class _ModelQueue(Generic[T]):
    lanes: OrderedDict[AccountId, deque[Ticket[T]]] = field(default_factory=OrderedDict)
    waiting: int = 0


class FairQueue(Generic[T]):
    """All queues of one coordinator process."""

    def __init__(self, limits: QueueLimits | None = None) -> None:
        self._limits = limits or QueueLimits()
        self._models: dict[ModelId, _ModelQueue[T]] = {}
        self._waiting_bytes = 0

    def join(
        self,
        model: ModelId,
        account: AccountId,
        item: T,
        *,
        deadline_s: float,
        size: int = 0,
        is_retry: bool = False,
    ) -> Ticket[T] | None:
        """Take a place until `deadline_s` (monotonic seconds) for a request that keeps `size` bytes.

        None when the queue, the account's lane or the memory for those who wait is full.
        """
        queue = self._models.setdefault(model, _ModelQueue())
        lane = queue.lanes.get(account)
        is_lane_full = lane is not None and len(lane) >= self._limits.account_waiting_max
        is_memory_full = self._waiting_bytes + size > self._limits.waiting_bytes_max
        if queue.waiting >= self._limits.waiting_max or is_memory_full or is_lane_full:
            self._drop_if_empty(model)
            return None
        if lane is None:
            lane = queue.lanes[account] = deque()
        ticket = Ticket(model, account, item, deadline_s, size)
        self._waiting_bytes += size
        (lane.appendleft if is_retry else lane.append)(ticket)
        queue.waiting += 1
        return ticket

    def leave(self, ticket: Ticket[T], *, is_served: bool = False) -> bool:
        """Give the place up; False when the ticket had left before. A served account goes to the end of the round."""
        if not ticket.is_waiting:
            return False
        ticket.is_waiting = False
        self._waiting_bytes -= ticket.size
        queue = self._models[ticket.model]
        lane = queue.lanes[ticket.account]
        lane.remove(ticket)
        queue.waiting -= 1
        if not lane:
            del queue.lanes[ticket.account]
        elif is_served:
            queue.lanes.move_to_end(ticket.account)
        self._drop_if_empty(ticket.model)
        return True

    def in_order(self, model: ModelId) -> Iterator[Ticket[T]]:
        """Iterate over a model's tickets in the order in which they should be served, as of the call."""
        queue = self._models.get(model)
        if queue is None:
            return iter(())
        return iter(_fair_order(queue.lanes))

    def expired(self, now_s: float) -> list[Ticket[T]]:
        """Remove and return every ticket whose deadline has come."""
        late = [
            ticket
            for queue in self._models.values()
            for lane in queue.lanes.values()
            for ticket in lane
            if ticket.deadline_s <= now_s
        ]
        for ticket in late:
            self.leave(ticket)
        return late

    def waiting(self, model: ModelId) -> int:
        """Return how many wait for `model`."""
        queue = self._models.get(model)
        return 0 if queue is None else queue.waiting

    def models(self) -> tuple[ModelId, ...]:
        """Return the models that somebody waits for."""
        return tuple(self._models)

    def _drop_if_empty(self, model: ModelId) -> None:
        if not self._models[model].waiting:
            del self._models[model]


def _fair_order(lanes: OrderedDict[AccountId, deque[Ticket[T]]]) -> list[Ticket[T]]:
    turns = [list(lane) for lane in lanes.values()]
    rounds = max((len(lane) for lane in turns), default=0)
    return [lane[turn] for turn in range(rounds) for lane in turns if turn < len(lane)]
