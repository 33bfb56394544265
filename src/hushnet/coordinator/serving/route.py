"""From a request to a slot: at once when somebody has room, else through the fair queue.

The queue of a model is looked at whenever something about its candidates changes (a report, a freed slot, a provider
that came or went), in fair order; who can be placed is placed there and then, in the same step of the event loop, so a
slot is never promised to somebody who has left. What has changed of one provider is held against those who wait by that
provider alone: the others could not take them before, and nothing about them is new.

Nobody is starved either: once a request has waited for `STARVED_S`, one provider that could serve it, and has room for
smaller ones only, is kept for it (`admission/keeping.py`). And nobody waits in vain: a request that any provider could
serve, and that the queue's pace would serve only after its time, is refused at once, with the time at which it is worth
another try.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from sys import maxsize
from typing import Final, TypeAlias

from msgspec.structs import replace

from hushnet.coordinator.admission.keeping import Keeping, fits
from hushnet.coordinator.admission.pace import SERVED_MIN, Pace
from hushnet.coordinator.admission.queue import FairQueue, Ticket
from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.warm_pool import WarmPool
from hushnet.coordinator.routing.filters import has_room
from hushnet.coordinator.routing.model import Assignment, Reason, Refusal, RouteRequest, Wait
from hushnet.coordinator.routing.router import WAIT_S_MAX, WAIT_S_MIN, View, route
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.store import Silence, Telemetry
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, ModelId, ProviderId, RequestId

PASSED_OVER_MAX: Final = 64
"""Waiting requests of one model that one look may pass over: they wait for other providers than the one with room."""
STARVED_S: Final = 15.0
"""A request with a large token budget needs several small ones to end at one provider before it fits."""
Room: TypeAlias = tuple[int, int]
"""Slots and tokens that are left at one provider."""
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
        self._keeping = Keeping()
        self._open: Counter[ModelId] = Counter()
        """Those who wait and would go to anybody: their turns are the queue's pace."""
        self._demand: Counter[ModelId] = Counter()
        """Those who wait and name no provider in clear: what the warm pool is for."""
        self._rooms: dict[ModelId, dict[ProviderId, Room]] = {}
        """The most room that a provider has had since those who wait were last held against it."""
        fleet.subscribe(self.capacity_changed)
        fleet.watch(self._note_room)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(self._queue.waiting(model) for model in self._queue.models())

    def waiting_for(self, model: ModelId) -> int:
        """Return how many requests wait for `model`."""
        return self._queue.waiting(model)

    def demand(self, model: ModelId) -> int:
        """Return how many requests wait for `model` that name no provider."""
        return self._demand[model]

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
        if not is_retry and not _names_providers(request):
            self.pool.arrived(request.model)
        seed = _seed_of(request_id)
        now_s = self._clock.monotonic_s()
        outcome = self._try(request, seed)
        if not isinstance(outcome, Wait):
            return outcome
        waiting = Waiting(request, seed, asyncio.get_running_loop().create_future(), now_s)
        waiting.is_cold = self.pool.is_cold(request.model)
        waiting.ticket = self._queue.join(
            request.model, account, waiting, deadline_s=now_s + wait_s, size=size, is_retry=is_retry
        )
        if waiting.ticket is not None:
            self._joined(waiting, now_s)
        estimate_s = None if is_retry else self._estimate_s(waiting)
        if waiting.ticket is None or wait_s <= 0 or (estimate_s or 0.0) > wait_s:
            self.abandon(waiting)
            late_s = outcome.after_s if estimate_s is None else estimate_s - wait_s
            return Failure(FailureCode.CAPACITY, retry_after_s=min(max(late_s, outcome.after_s), WAIT_S_MAX))
        if not _names_providers(request):
            self.pool.waits(request.model)
        return waiting

    def place_of(self, waiting: Waiting) -> QueuePlace | None:
        """Say where a request stands in its queue; None once it does not wait any more."""
        if waiting.ticket is None or not waiting.ticket.is_waiting:
            return None
        everybody = self._queue.in_order(waiting.request.model)
        ahead = sum(1 for _ in takewhile(lambda ticket: ticket is not waiting.ticket, everybody))
        return QueuePlace(ahead, self._estimate_s(waiting))

    def spare(self, request_id: RequestId, request: RouteRequest) -> Placed | None:
        """Place an attempt that can be done without: only in room that is there now, and that nobody waits for."""
        if self._queue.waiting(request.model):
            return None
        outcome = self._try(request, _seed_of(request_id))
        return outcome if isinstance(outcome, Placed) else None

    def abandon(self, waiting: Waiting) -> None:
        """Leave the queue; a slot that was already given comes back."""
        if waiting.ticket is not None and self._queue.leave(waiting.ticket):
            self._free(self._left(waiting), waiting.request.model)
        if not waiting.answer.done():
            waiting.answer.set_result(None)
        elif isinstance(placed := waiting.answer.result(), Placed):
            placed.slot.release()

    def capacity_changed(self, models: Iterable[ModelId], provider: LiveProvider | None) -> None:
        """Look at the queues of `models` and place who can be placed; `provider` is who has changed, if it was one."""
        for model in models:
            if self._queue.waiting(model) and (provider is None or self._has_more_room(provider, model)):
                self._drain(model, provider)

    def expire(self) -> None:
        """Refuse those whose time in the queue is over, and see who has waited for long; called by the pulse."""
        now_s = self._clock.monotonic_s()
        for ticket in self._queue.expired(now_s):
            self._free(self._left(ticket.item), ticket.model)
            if not ticket.item.answer.done():
                outcome = route(self._fleet.view(ticket.model), ticket.item.request, seed=ticket.item.seed)
                after_s = outcome.after_s if isinstance(outcome, Wait) else WAIT_S_MAX
                ticket.item.answer.set_result(Failure(FailureCode.CAPACITY, retry_after_s=after_s))
        for model in dict.fromkeys((*self._queue.models(), *self._keeping.models)):
            starved: dict[AccountId, Waiting] = {}  # one of each account, or one could have everything kept
            for each in self._queue.in_order(model):
                if now_s - each.item.since_s >= STARVED_S:
                    starved.setdefault(each.account, each.item)
            view = self._fleet.view(model)
            for provider_id in self._keeping.renew(model, [(each, each.request) for each in starved.values()], view):
                self._free(provider_id, model)

    def _drain(self, model: ModelId, provider: LiveProvider | None) -> None:
        passed_over = 0
        freed: list[ProviderId] = []
        for ticket in self._queue.in_order(model):
            if not ticket.is_waiting:
                continue  # served or refused by a step that this one set off
            waiting = ticket.item
            if provider is not None and not self._may_take(provider, waiting):
                continue
            outcome = self._try(waiting.request, waiting.seed, waiting)
            if isinstance(outcome, Wait):
                passed_over += 1
                if passed_over >= PASSED_OVER_MAX:
                    break
                continue
            is_served = isinstance(outcome, Placed)
            self._queue.leave(ticket, is_served=is_served)
            if is_served and _is_open(waiting.request) and (pace := self._paces.get(model)) is not None:
                pace.note_served(self._clock.monotonic_s())
            kept = self._left(waiting)
            if kept is not None:
                freed.append(kept)
            waiting.answer.set_result(outcome)
        for provider_id in freed:  # it was kept for one that has been served, perhaps elsewhere
            self._free(provider_id, model)

    def _joined(self, waiting: Waiting, now_s: float) -> None:
        model = waiting.request.model
        self._demand[model] += not _names_providers(waiting.request)
        if _is_open(waiting.request):
            if not self._open[model]:
                self._paces[model] = Pace(now_s)
            self._open[model] += 1

    def _free(self, provider_id: ProviderId | None, model: ModelId) -> None:
        """Hold those who wait against a provider that was kept for another."""
        provider = None if provider_id is None else self._fleet.get(provider_id)
        if provider is not None:
            self._drain(model, provider)

    def _left(self, waiting: Waiting) -> ProviderId | None:
        """Count a request out, and forget what is only known while it waits; returns who was kept for it."""
        model = waiting.request.model
        self._demand[model] -= not _names_providers(waiting.request)
        self._open[model] -= _is_open(waiting.request)
        if not self._open[model]:
            del self._open[model]
            self._paces.pop(model, None)
        if not self._queue.waiting(model):
            del self._demand[model]
            self._rooms.pop(model, None)
        return self._keeping.release(model, waiting)

    def _note_room(self, provider: LiveProvider) -> None:
        for model, rooms in self._rooms.items():
            known = rooms.get(provider.provider_id)
            if known is not None and model in provider.offers:
                slots, tokens = _room_of(provider, model)
                rooms[provider.provider_id] = min(known[0], slots), min(known[1], tokens)

    def _has_more_room(self, provider: LiveProvider, model: ModelId) -> bool:
        """Whether a provider has room, and more than when those who wait were last held against it."""
        if model not in provider.offers:
            return False
        room = _room_of(provider, model)
        rooms = self._rooms.setdefault(model, {})
        before = rooms.get(provider.provider_id)
        rooms[provider.provider_id] = room
        return room[0] > 0 and (before is None or room[0] > before[0] or room[1] > before[1])

    def _may_take(self, provider: LiveProvider, waiting: Waiting) -> bool:
        request = waiting.request
        candidate = self._fleet.view(request.model).index.get(provider.provider_id)
        if candidate is None or not has_room(candidate, request) or not fits(candidate, request):
            return False
        return provider.provider_id not in self._keeping.barred(request.model, waiting)

    def _estimate_s(self, waiting: Waiting) -> float | None:
        """Estimate when the turn of a request comes that would go to anybody; None where nobody can tell."""
        pace = self._paces.get(waiting.request.model)
        if pace is None or pace.served < SERVED_MIN or waiting.ticket is None or not _is_open(waiting.request):
            return None
        before = takewhile(lambda each: each is not waiting.ticket, self._queue.in_order(waiting.request.model))
        return pace.estimate_s(sum(_is_open(each.item.request) for each in before), self._clock.monotonic_s())

    def _try(self, request: RouteRequest, seed: int, waiting: Waiting | None = None) -> Placed | Failure | Wait:
        began_s = self._clock.monotonic_s()
        view = self._fleet.view(request.model)
        barred = self._keeping.barred(request.model, waiting)
        decision = route(view, _without(request, barred), seed=seed)
        if barred and not isinstance(decision, Assignment):
            # Nobody else: find out whether it could be served at all.
            decision = route(view, request, seed=seed)
            decision = Wait(WAIT_S_MIN) if isinstance(decision, Assignment) else decision
        self._telemetry.decided(decision, seconds=self._clock.monotonic_s() - began_s)
        match decision:
            case Assignment():
                slot = self._fleet.take(decision.provider_id, request)
                self.pool.placed(slot)
                return Placed(slot, decision.entry)
            case Wait():
                return decision
            case Refusal():
                return Failure(code_of(decision.reason, request, view), retry_after_s=None)


def _without(request: RouteRequest, barred: frozenset[ProviderId]) -> RouteRequest:
    return replace(request, excluded=request.excluded | barred) if barred else request


def _names_providers(request: RouteRequest) -> bool:
    """Whether a request names in clear who may serve it: what it waits for says nothing of the others."""
    asked = request.preferences
    return bool(asked.only) or (asked.own is not None and asked.own.is_only)


def _is_open(request: RouteRequest) -> bool:
    """Whether a request would go to anybody."""
    return request.recipients is None and not _names_providers(request)


def _room_of(provider: LiveProvider, model: ModelId) -> Room:
    tokens = provider.load.tokens_left()
    return provider.load.slots_left(model, provider.offers[model].slots), maxsize if tokens is None else tokens


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
