"""From a request to a slot: at once when somebody has room, else through the fair queue.

The queue of a model is looked at whenever something about its candidates changes (a report, a freed slot, a provider
that came or went), in fair order; who can be placed is placed there and then, in the same step of the event loop, so a
slot is never promised to somebody who has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.admission.queue import FairQueue, Ticket
from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.routing.model import Assignment, Reason, Refusal, RouteRequest, Wait
from hushnet.coordinator.routing.router import WAIT_S_MAX, route
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, ModelId, RequestId

PASSED_OVER_MAX: Final = 64
"""Waiting requests of one model that one look may pass over: they wait for other providers than the one with room."""
_SPREAD: Final = 0x9E3779B97F4A7C15

_CODES: Final = {
    Reason.MODEL_UNAVAILABLE: FailureCode.MODEL_UNAVAILABLE,
    Reason.FEATURES_UNAVAILABLE: FailureCode.FEATURES_UNAVAILABLE,
    Reason.CONTEXT_UNAVAILABLE: FailureCode.CONTEXT_UNAVAILABLE,
    Reason.TRUST_UNAVAILABLE: FailureCode.TRUST_UNAVAILABLE,
    Reason.RECIPIENTS_UNAVAILABLE: FailureCode.RECIPIENTS_UNAVAILABLE,
    Reason.KEYS_STALE: FailureCode.KEYS_STALE,
    Reason.EXHAUSTED: FailureCode.PROVIDER_FAILED,
    Reason.BUSY: FailureCode.CAPACITY,
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A slot, and the envelope's entry that goes with it in sealed mode."""

    slot: Slot
    entry: int | None


@dataclass(eq=False, slots=True)
class Waiting:
    """A place in the queue. `answer` resolves to what the queue decided; None when the request itself left."""

    request: RouteRequest
    seed: int
    answer: asyncio.Future[Placed | Failure | None]
    ticket: Ticket[Waiting] | None = None


class Placement:
    """Joins router, fleet and queue."""

    def __init__(self, fleet: Fleet, queue: FairQueue[Waiting], clock: Clock) -> None:
        self._fleet = fleet
        self._queue = queue
        self._clock = clock
        fleet.subscribe(self.capacity_changed)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(self._queue.waiting(model) for model in self._queue.models())

    def begin(
        self,
        request_id: RequestId,
        request: RouteRequest,
        *,
        account: AccountId,
        size: int,
        wait_s: float,
        is_retry: bool,
    ) -> Placed | Failure | Waiting:
        """Place a request now, say why it can't be, or let it wait for up to `wait_s`; it keeps `size` bytes meanwhile."""
        seed = (request_id * _SPREAD & 0xFFFFFFFFFFFFFFFF) >> 32
        if self._queue.waiting(request.model) == 0:
            outcome = self._try(request, seed)
            if not isinstance(outcome, Wait):
                return outcome
            after_s = outcome.after_s
        else:
            after_s = 1.0
        waiting = Waiting(request, seed, asyncio.get_running_loop().create_future())
        waiting.ticket = self._queue.join(
            request.model,
            account,
            waiting,
            deadline_s=self._clock.monotonic_s() + wait_s,
            size=size,
            is_retry=is_retry,
        )
        if waiting.ticket is None or wait_s <= 0:
            self.abandon(waiting)
            return Failure(FailureCode.CAPACITY, retry_after_s=max(after_s, 1.0))
        # Those who came before have their turn first; this request may still be placed in the same step.
        self.capacity_changed((request.model,))
        return waiting

    def abandon(self, waiting: Waiting) -> None:
        """Leave the queue; a slot that was already given comes back."""
        if waiting.ticket is not None:
            self._queue.leave(waiting.ticket)
        if not waiting.answer.done():
            waiting.answer.set_result(None)
        elif isinstance(placed := waiting.answer.result(), Placed):
            placed.slot.release()

    def capacity_changed(self, models: Iterable[ModelId]) -> None:
        """Look at the queues of `models` and place who can be placed."""
        for model in models:
            if self._queue.waiting(model):
                self._drain(model)

    def expire(self) -> None:
        """Refuse those whose time in the queue is over; called by the pulse."""
        for ticket in self._queue.expired(self._clock.monotonic_s()):
            if not ticket.item.answer.done():
                outcome = route(self._fleet.view(ticket.model), ticket.item.request, seed=ticket.item.seed)
                after_s = outcome.after_s if isinstance(outcome, Wait) else WAIT_S_MAX
                ticket.item.answer.set_result(Failure(FailureCode.CAPACITY, retry_after_s=after_s))

    def _drain(self, model: ModelId) -> None:
        passed_over = 0
        for ticket in self._queue.in_order(model):
            if not ticket.is_waiting:
                continue  # served or refused by a step that this one set off
            outcome = self._try(ticket.item.request, ticket.item.seed)
            if isinstance(outcome, Wait):
                passed_over += 1
                if passed_over >= PASSED_OVER_MAX:
                    return
                continue
            self._queue.leave(ticket, is_served=isinstance(outcome, Placed))
            ticket.item.answer.set_result(outcome)

    def _try(self, request: RouteRequest, seed: int) -> Placed | Failure | Wait:
        decision = route(self._fleet.view(request.model), request, seed=seed)
        match decision:
            case Assignment():
                return Placed(self._fleet.take(decision.provider_id, request), decision.entry)
            case Wait():
                return decision
            case Refusal():
                return Failure(_CODES[decision.reason], retry_after_s=None)
