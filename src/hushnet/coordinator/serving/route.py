"""From a request to a slot: at once when somebody has room, else through the fair queue.

The queue of a model is looked at whenever something about its candidates changes (a report, a freed slot, a provider
that came or went), in fair order; who can be placed is placed there and then, in the same step of the event loop, so a
slot is never promised to somebody who has left. What has changed of one provider is held against those who wait by that
provider alone: the others could not take them before, and nothing about them is new.

Nobody is starved either: once a request has waited for `STARVED_S`, a provider that could serve it, and has room for
smaller ones only, is kept for it. And nobody waits in vain: a request that the queue's pace would serve only after its time is refused at once, with the time
at which it is worth another try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hushnet.coordinator.admission.pace import Pace
from hushnet.coordinator.admission.queue import FairQueue, Ticket
from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.warm_pool import WarmPool
from hushnet.coordinator.routing.filters import has_room, obstacle
from hushnet.coordinator.routing.model import Assignment, Candidate, Reason, Refusal, RouteRequest, Wait
from hushnet.coordinator.routing.router import WAIT_S_MAX, WAIT_S_MIN, View, route
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.store import Silence, Telemetry
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, ModelId, ProviderId, RequestId

PASSED_OVER_MAX: Final = 64
"""Waiting requests of one model that one look may pass over: they wait for other providers than the one with room."""
STARVED_S: Final = 15.0
"""A request with a large token budget needs several small ones to end at one provider before it fits."""
STARVED_MAX: Final = 8
"""Of each model: for so many of those who have waited for long, room is kept."""
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
    Reason.REGION_UNAVAILABLE: FailureCode.REGION_UNAVAILABLE,
    Reason.BUILD_UNAVAILABLE: FailureCode.BUILD_UNAVAILABLE,
    Reason.PRICE_UNAVAILABLE: FailureCode.PRICE_UNAVAILABLE,
    Reason.PROVIDER_UNAVAILABLE: FailureCode.PROVIDER_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A slot, and the envelope's entry that goes with it in sealed mode."""

    slot: Slot
    entry: int | None


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """How many are served before a request, and the seconds until its turn where the queue's pace is known."""

    ahead: int
    estimate_s: float | None


@dataclass(eq=False, slots=True)
class Waiting:
    """A place in the queue. `answer` resolves to what the queue decided; None when the request itself left."""

    request: RouteRequest
    seed: int
    answer: asyncio.Future[Placed | Failure | None]
    since_s: float
    ticket: Ticket[Waiting] | None = None
    is_cold: bool = False
    """Nobody had the model loaded when it began to wait."""


class Placement:
    """Joins router, fleet and queue."""

    def __init__(
        self,
        fleet: Fleet,
        queue: FairQueue[Waiting],
        clock: Clock,
        pool: WarmPool,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.pool = pool
        self._fleet = fleet
        self._telemetry = telemetry or Silence()
        self._queue = queue
        self._clock = clock
        self._paces: dict[ModelId, Pace] = {}
        self._starved: dict[ModelId, list[Waiting]] = {}
        fleet.subscribe(self.capacity_changed)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(self._queue.waiting(model) for model in self._queue.models())

    def waiting_for(self, model: ModelId) -> int:
        """Return how many requests wait for `model`."""
        return self._queue.waiting(model)

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
        if not is_retry:
            self.pool.arrived(request.model)
        seed = _seed_of(request_id)
        now_s = self._clock.monotonic_s()
        outcome = self._try(request, seed)
        if not isinstance(outcome, Wait):
            return outcome
        waiting = Waiting(request, seed, asyncio.get_running_loop().create_future(), now_s)
        waiting.is_cold = self.pool.is_cold(request.model)
        if self._queue.waiting(request.model) == 0:
            self._paces[request.model] = Pace(now_s)
        waiting.ticket = self._queue.join(
            request.model, account, waiting, deadline_s=now_s + wait_s, size=size, is_retry=is_retry
        )
        estimate_s = self._estimate_s(waiting.ticket, now_s)
        if waiting.ticket is None or wait_s <= 0 or (estimate_s or 0.0) > wait_s:
            self.abandon(waiting)
            late_s = outcome.after_s if estimate_s is None else estimate_s - wait_s
            return Failure(FailureCode.CAPACITY, retry_after_s=min(max(late_s, outcome.after_s), WAIT_S_MAX))
        self.pool.waits(request.model)
        return waiting

    def place_of(self, waiting: Waiting) -> QueuePlace | None:
        """Say where a request stands in its queue; None once it does not wait any more."""
        if waiting.ticket is None or not waiting.ticket.is_waiting:
            return None
        estimate_s = self._estimate_s(waiting.ticket, self._clock.monotonic_s())
        return QueuePlace(self._queue.ahead_of(waiting.ticket), estimate_s)

    def spare(self, request_id: RequestId, request: RouteRequest) -> Placed | None:
        """Place an attempt that can be done without: only in room that is there now, and that nobody waits for."""
        if self._queue.waiting(request.model):
            return None
        outcome = self._try(request, _seed_of(request_id))
        return outcome if isinstance(outcome, Placed) else None

    def abandon(self, waiting: Waiting) -> None:
        """Leave the queue; a slot that was already given comes back."""
        if waiting.ticket is not None:
            self._queue.leave(waiting.ticket)
        if not waiting.answer.done():
            waiting.answer.set_result(None)
        elif isinstance(placed := waiting.answer.result(), Placed):
            placed.slot.release()

    def capacity_changed(self, models: Iterable[ModelId], provider: LiveProvider | None) -> None:
        """Look at the queues of `models` and place who can be placed; `provider` is who has changed, if it was one."""
        for model in models:
            if self._queue.waiting(model):
                self._drain(model, provider)

    def expire(self) -> None:
        """Refuse those whose time in the queue is over, and see who has waited for long; called by the pulse."""
        now_s = self._clock.monotonic_s()
        for ticket in self._queue.expired(now_s):
            if not ticket.item.answer.done():
                outcome = route(self._fleet.view(ticket.model), ticket.item.request, seed=ticket.item.seed)
                after_s = outcome.after_s if isinstance(outcome, Wait) else WAIT_S_MAX
                ticket.item.answer.set_result(Failure(FailureCode.CAPACITY, retry_after_s=after_s))
        self._starved.clear()
        for model in self._queue.models():
            long = {  # one of each account, or the largest requests of one could keep everything
                each.account: each.item
                for each in self._queue.in_order(model)
                if now_s - each.item.since_s >= STARVED_S
            }
            if long:
                self._starved[model] = list(islice(long.values(), STARVED_MAX))

    def _drain(self, model: ModelId, provider: LiveProvider | None) -> None:
        passed_over = 0
        for ticket in self._queue.in_order(model):
            if not ticket.is_waiting:
                continue  # served or refused by a step that this one set off
            waiting = ticket.item
            if provider is not None and not self._may_take(provider, waiting.request):
                continue
            outcome = self._try(waiting.request, waiting.seed, waiting)
            if isinstance(outcome, Wait):
                passed_over += 1
                if passed_over >= PASSED_OVER_MAX:
                    return
                continue
            is_served = isinstance(outcome, Placed)
            self._queue.leave(ticket, is_served=is_served)
            if is_served and (pace := self._paces.get(model)) is not None:
                pace.note_served(self._clock.monotonic_s())
            waiting.answer.set_result(outcome)

    def _may_take(self, provider: LiveProvider, request: RouteRequest) -> bool:
        candidate = self._fleet.view(request.model).index.get(provider.provider_id)
        return candidate is not None and has_room(candidate, request) and _fits(candidate, request)

    def _estimate_s(self, ticket: Ticket[Waiting] | None, now_s: float) -> float | None:
        pace = None if ticket is None else self._paces.get(ticket.model)
        return None if ticket is None or pace is None else pace.estimate_s(self._queue.ahead_of(ticket), now_s)

    def _is_kept(self, provider_id: ProviderId, model: ModelId, waiting: Waiting | None) -> bool:
        """Say whether a provider is kept for others, who have waited for long; `waiting` is who asks, if it waits."""
        candidate = self._fleet.view(model).index.get(provider_id)
        for starved in self._starved.get(model, ()):
            if starved is waiting or candidate is None:
                return False
            is_waiting = starved.ticket is not None and starved.ticket.is_waiting
            if is_waiting and _fits(candidate, starved.request):
                return True
        return False

    def _try(self, request: RouteRequest, seed: int, waiting: Waiting | None = None) -> Placed | Failure | Wait:
        began_s = self._clock.monotonic_s()
        view = self._fleet.view(request.model)
        decision = route(view, request, seed=seed)
        self._telemetry.decided(decision, seconds=self._clock.monotonic_s() - began_s)
        match decision:
            case Assignment():
                if self._starved and self._is_kept(decision.provider_id, request.model, waiting):
                    return Wait(WAIT_S_MIN)
                slot = self._fleet.take(decision.provider_id, request)
                self.pool.placed(slot)
                return Placed(slot, decision.entry)
            case Wait():
                return decision
            case Refusal():
                return Failure(code_of(decision.reason, request, view), retry_after_s=None)


def _fits(candidate: Candidate, request: RouteRequest) -> bool:
    """Whether a provider could ever serve a request; in sealed mode only those can that its envelope names."""
    entry = None if request.recipients is None else request.recipients.get(candidate.provider_id)
    if request.recipients is not None and (entry is None or entry.key_id not in candidate.key_ids):
        return False
    return obstacle(candidate, request) is None


def _seed_of(request_id: RequestId) -> int:
    return (request_id * _SPREAD & 0xFFFFFFFFFFFFFFFF) >> 32


def code_of(reason: Reason, request: RouteRequest, view: View) -> FailureCode:
    """Say why nobody serves `request`; where it named its providers itself, say that rather than that nobody is there."""
    asked = request.preferences
    if reason not in (Reason.MODEL_UNAVAILABLE, Reason.PROVIDER_UNAVAILABLE):
        return _CODES[reason]
    if asked.own is not None and asked.own.is_only:
        if not view.index.owned_by(asked.own.account):
            return FailureCode.OWN_PROVIDER_LACKS_MODEL
        if request.recipients is not None:
            return FailureCode.RECIPIENTS_UNAVAILABLE
    return FailureCode.PROVIDER_UNAVAILABLE if asked.only else _CODES[reason]
