"""One request's life: it drives the stages in order, and whatever happens it ends in the one finaliser.

The life is a task of the service, not of the HTTP request: a consumer that hangs up stops it, but does not end it before
the hold is closed. `stop` may come at any moment, from the consumer, a deadline or the shutdown; it reaches the
provider in the same step of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from hushnet.coordinator.fleet.fleet import Slot
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.ledger.model import Close, FreeUse, UsageOutcome
from hushnet.coordinator.ledger.prices import Reservation, settlement
from hushnet.coordinator.routing.model import RouteRequest
from hushnet.coordinator.serving import settle
from hushnet.coordinator.serving.attempt import SEALERS_OWN, Attempt, AttemptEnd, Ending, failure_of
from hushnet.coordinator.serving.desk import Desk
from hushnet.coordinator.serving.failover import judge
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.model import Consumer, Mode, RequestBody
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.reserve import Free, reserve
from hushnet.coordinator.serving.route import Placed, Waiting
from hushnet.coordinator.serving.transitions import Event, State, advance
from hushnet.foundation.errors import HushnetError, LocalProtocolError
from hushnet.foundation.ids import ProviderId, RequestId
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.limits import RECORD_MAX

_LOG = logging.getLogger(__name__)


class Stop(Enum):
    """Why a request is stopped from outside."""

    HUNG_UP = "hung up"
    TIMED_OUT = "timed out"
    IDLE = "idle"
    STALLED = "stalled"
    SHUTDOWN = "shutdown"


_TOLD: Final[dict[Stop, tuple[WireCode, FailureCode | None]]] = {
    Stop.HUNG_UP: (WireCode.CANCELLED, None),
    Stop.TIMED_OUT: (WireCode.TIMED_OUT, FailureCode.TIMED_OUT),
    Stop.IDLE: (WireCode.TIMED_OUT, FailureCode.TIMED_OUT),
    Stop.STALLED: (WireCode.BACKPRESSURE, FailureCode.BACKPRESSURE),
    Stop.SHUTDOWN: (WireCode.CANCELLED, FailureCode.SHUTTING_DOWN),
}
"""What its provider and its consumer are told."""


@dataclass(slots=True)
class _Tries:
    """What the attempts so far have taught."""

    made: int = 0
    at: Counter[ProviderId] = field(default_factory=Counter)
    excluded: frozenset[ProviderId] = frozenset()
    open_failures: int = 0
    last: Failure | None = None


class Life:
    """One request. `outlet` is what its consumer reads; `run` is its task."""

    def __init__(self, desk: Desk, request_id: RequestId, consumer: Consumer, body: RequestBody) -> None:
        limits = desk.limits
        self.id = request_id
        self.consumer = consumer
        self.body = body
        self.facts = body.facts
        self.state = State.ARRIVED
        self.stopped: Stop | None = None
        self.attempt: Attempt | None = None
        high_water = max(limits.window_bytes * 3 // 4 - RECORD_MAX, limits.window_bytes // 4)
        self.outlet = Outlet(high_water=high_water, on_drained=self._drained)
        self.started_s = desk.clock.monotonic_s()
        self._desk = desk
        self._tariff = desk.tariffs.tariff_of(self.facts.model)
        self._reservation: Reservation | None = None
        self._waiting: Waiting | None = None
        self._waited_s = 0.0
        self._tries = _Tries()
        self._slot: Slot | None = None
        self._full_since: tuple[float, int] | None = None
        self._drafted_s = self.started_s

    # From outside.

    def stop(self, reason: Stop) -> None:
        """Stop the request now, whatever it is doing; again is without effect."""
        if self.stopped is not None or self.state in (State.SETTLING, State.SETTLED):
            if reason is Stop.HUNG_UP:
                self.outlet.abandon()
            return
        self.stopped = reason
        wire_code, failure_code = _TOLD[reason]
        if self._waiting is not None:
            self._desk.placement.abandon(self._waiting)
        if self.attempt is not None:
            self.attempt.stop(wire_code)
        if failure_code is None:
            self.outlet.abandon()
        else:
            self.outlet.fail(Failure(failure_code), is_cut=reason is Stop.STALLED)

    def tick(self, now_s: float) -> None:
        """Look at the deadlines; called by the pulse."""
        limits, attempt = self._desk.limits, self.attempt
        if self.state is State.SETTLING and now_s - self.started_s >= limits.total_s_max:
            self.outlet.abandon()  # the answer is complete and its consumer does not take it
        if self.state in (State.SETTLING, State.SETTLED) or self.stopped is not None:
            return
        if now_s - self.started_s >= limits.total_s_max:
            self.stop(Stop.TIMED_OUT)
        elif attempt is None or attempt.outcome.done():
            return
        elif not attempt.is_committed:
            if now_s - attempt.started_s >= limits.first_content_s_max:
                attempt.stop(WireCode.TIMED_OUT)
        elif self._is_stalled(now_s):
            self.stop(Stop.STALLED)
        elif not self.outlet.is_saturated and now_s - attempt.heard_s >= limits.idle_s_max:
            self.stop(Stop.IDLE)
        elif now_s - self._drafted_s >= limits.draft_s:
            self._drafted_s = now_s
            self._note_draft()

    def _is_stalled(self, now_s: float) -> bool:
        """Whether the consumer's window has been full for the whole grace without one byte drained."""
        if not self.outlet.is_saturated:
            self._full_since = None
            return False
        if self._full_since is None or self._full_since[1] != self.outlet.drains:
            self._full_since = (now_s, self.outlet.drains)
        return now_s - self._full_since[0] >= self._desk.limits.grace_s

    # The task.

    async def run(self) -> None:
        """Serve, then settle; nothing that goes wrong while serving keeps the finaliser from running."""
        try:
            await self._serve()
        except Exception as error:
            _LOG.error("a request failed inside", extra={"request_id": self.id, "error": type(error).__name__})
            if self.attempt is not None:
                self.attempt.stop(WireCode.CANCELLED)
            self.outlet.fail(Failure(FailureCode.INTERNAL))
            if self.state is not State.SETTLED:
                self.state = State.SETTLING
        self.body.drop()
        if self.state is State.SETTLING:
            await self._settle()
            self._advance(Event.CLOSED)

    async def _serve(self) -> None:
        if self.stopped is not None:
            self._advance(Event.STOPPED)
            return
        self._advance(Event.ADMITTED)
        if not await self._reserve():
            return
        while self.stopped is None:
            placed = await self._place()
            if placed is None:
                return
            end = await self._try(placed)
            if end.is_committed or self.stopped is not None:
                self._conclude(end)
                return
            if not self._may_try_again(end):
                return
        self._advance(Event.STOPPED)

    async def _reserve(self) -> bool:
        desk = self._desk
        outcome = await reserve(
            desk.ledger,
            self.id,
            self.consumer,
            self.facts,
            tariff=self._tariff,
            limits=desk.limits,
            now_ms=desk.clock.now_ms(),
        )
        if isinstance(outcome, Failure):
            self._advance(Event.HOLD_REFUSED)
            self.outlet.fail(outcome)
            return False
        self._reservation = None if isinstance(outcome, Free) else outcome
        self._advance(Event.HELD)
        return True

    async def _place(self) -> Placed | None:
        """Find a slot, waiting for it if need be; None when there is none to be had or the request was stopped."""
        desk = self._desk
        outcome = desk.placement.begin(
            self.id,
            self._route_request(),
            account=self.consumer.account_id,
            wait_s=desk.limits.queue_s_max - self._waited_s,
            is_retry=self._tries.made > 0,
        )
        answer = await self._wait(outcome) if isinstance(outcome, Waiting) else outcome
        if isinstance(answer, Placed):
            return answer
        if answer is not None:
            self._fail(self._tries.last or answer)
        self._advance(Event.STOPPED if answer is None else Event.NOBODY_SERVES)
        return None

    async def _wait(self, waiting: Waiting) -> Placed | Failure | None:
        clock = self._desk.clock
        began_s = clock.monotonic_s()
        self._waiting = waiting
        answer = await waiting.answer
        self._waiting = None
        waited_s = clock.monotonic_s() - began_s
        self._waited_s += waited_s
        self._desk.telemetry.queued(seconds=waited_s)
        # Stopped between the queue's answer and now: `abandon` has given the slot back.
        return None if self.stopped is not None else answer

    def _route_request(self) -> RouteRequest:
        facts, tries = self.facts, self._tries
        return RouteRequest(
            model=facts.model,
            prompt_tokens_max=facts.prompt_tokens_max,
            output_tokens_max=facts.output_tokens_max,
            features=facts.features,
            floor=facts.floor,
            recipients=self.body.recipients,
            excluded=tries.excluded,
            avoided=frozenset(tries.at),
        )

    async def _try(self, placed: Placed) -> AttemptEnd:
        """Make one attempt and wait for its end."""
        desk, slot = self._desk, placed.slot
        self._slot = slot
        self._advance(Event.ASSIGNED)
        self._tries.made += 1
        try:
            sealed = await self.body.attempt(slot.provider, placed.entry, now=desk.clock.now_ms() // 1000)
        except SealingError:
            # Its statement has run out, or changed since the request was routed.
            slot.release()
            return AttemptEnd(Ending.REFUSED, is_committed=False, code=WireCode.UNKNOWN_KEY)
        except BaseException:
            slot.release()
            raise
        if self.stopped is not None:
            slot.release()
            return AttemptEnd(Ending.STOPPED, is_committed=False)
        attempt = Attempt(
            slot,
            sealed,
            self.outlet,
            limits=desk.limits,
            is_gathered=self.body.mode is Mode.STANDARD and not self.facts.is_stream,
            on_commit=self._committed,
            now_s=desk.clock.monotonic_s,
        )
        try:
            attempt.start(deadline_s=self.started_s + desk.limits.total_s_max - desk.clock.monotonic_s())
        except HushnetError:
            return AttemptEnd(Ending.LINK_LOST, is_committed=False)
        self.attempt = attempt
        end = await attempt.outcome
        if not attempt.is_over:
            desk.linger(attempt)
        return end

    def _committed(self) -> None:
        self._advance(Event.COMMITTED)
        self.body.drop()
        seconds = self._desk.clock.monotonic_s() - self.started_s
        self._desk.telemetry.first_content(mode=self.body.mode.value, seconds=seconds)

    def _conclude(self, end: AttemptEnd) -> None:
        """The attempt that was committed to has ended, or the request was stopped."""
        if end.ending is Ending.COMPLETE:
            self._advance(Event.ENDED)
            self._desk.fleet.note_served(self._provider(), self.facts.model)
            self.outlet.finish()
        elif self.stopped is not None:
            self._advance(Event.STOPPED)
        else:
            self._advance(Event.BROKEN_OFF)
            if end.code not in SEALERS_OWN:
                self._blame(end)
            self._fail(failure_of(end))

    def _may_try_again(self, end: AttemptEnd) -> bool:
        """Judge an attempt that showed nothing, tell the fleet, and say whether another may follow."""
        tries, limits = self._tries, self._desk.limits
        verdict = judge(end, self.body.mode, open_failures=tries.open_failures)
        provider = self._provider()
        if verdict.is_full:
            self._desk.fleet.note_full(provider, self.facts.model)
        if verdict.is_fault:
            self._blame(end)
        tries.last = verdict.failure
        tries.open_failures += end.code == WireCode.OPEN_FAILED
        tries.at[provider.provider_id] += 1
        if verdict.is_excluded or tries.at[provider.provider_id] >= limits.attempts_at_one_max:
            tries.excluded |= {provider.provider_id}
        recipients = self.body.recipients
        tries_max = limits.attempts_max if recipients is None else len(recipients)
        if verdict.is_final or tries.made >= tries_max:
            self._fail(verdict.failure)
            self._advance(Event.ATTEMPTS_EXHAUSTED)
            return False
        self._advance(Event.ATTEMPT_FAILED)
        return True

    def _fail(self, failure: Failure) -> None:
        """End the answer; an error that the provider sealed for the consumer is shown rather than replaced."""
        attempt = self.attempt
        ended = attempt.outcome.result() if attempt is not None and attempt.outcome.done() else None
        if attempt is None or ended is None or ended.ending is not Ending.ERROR:
            self.outlet.fail(failure)
            return
        reader = attempt.sealed.reader
        if reader.is_forwarding_errors:
            if not ended.is_committed:
                attempt.show_error()
            self.outlet.finish()
        elif ended.code in SEALERS_OWN:
            self.outlet.fail(Failure(failure.code, detail=reader.error_body, status=reader.status))
        else:
            self.outlet.fail(failure)

    def _blame(self, end: AttemptEnd) -> None:
        provider = self._provider()
        self._desk.fleet.note_failed(provider, self.facts.model)
        self._desk.telemetry.attempt_failed(reason=end.ending.name.lower())
        if end.fault:
            self._note_finding(end.fault)

    def _note_finding(self, kind: str) -> None:
        provider = self._provider()
        provider.findings[kind] += 1
        self._desk.telemetry.finding(kind=kind)
        _LOG.warning(
            "finding against a provider",
            extra={"request_id": self.id, "provider_id": provider.provider_id, "code": kind},
        )

    def _provider(self) -> LiveProvider:
        if self._slot is None:
            raise LocalProtocolError("no provider has been chosen yet")
        return self._slot.provider

    # The finaliser.

    async def _settle(self) -> None:
        """Close the hold, or record the free use: once, whatever has happened before."""
        desk, attempt = self._desk, self._billable()
        if attempt is not None:
            await self._delivered(attempt)
        final, fault = settle.proven(attempt) if attempt is not None else (None, "")
        if attempt is not None and attempt.outcome.done():
            fault = fault or attempt.outcome.result().fault
        bill = settle.bill(self.facts, self.outlet.relayed, final=final, fault=fault)
        for kind in bill.findings:
            self._note_finding(kind)
        usage = settle.usage_of(
            self.consumer,
            self.facts,
            self.body.mode,
            attempt,
            bill,
            outcome=self._outcome(),
            tariff_id=self._tariff.id,
        )
        until_ms = desk.clock.now_ms() + round(desk.limits.hold_margin_s * 1000)
        if self._reservation is None:
            use = FreeUse(self.id, self.consumer.account_id, usage)
            await settle.record_for_good(
                desk.ledger, desk.clock, use, retry_s=desk.limits.close_retry_s, until_ms=until_ms
            )
        else:
            close = settlement(self._reservation, usage, self._tariff.price, desk.terms, is_delivered=bill.is_delivered)
            await settle.close_for_good(
                desk.ledger, desk.clock, close, retry_s=desk.limits.close_retry_s, until_ms=until_ms
            )
        seconds = desk.clock.monotonic_s() - self.started_s
        desk.telemetry.request_ended(mode=self.body.mode.value, outcome=usage.outcome.name.lower(), seconds=seconds)

    def _billable(self) -> Attempt | None:
        """Return the attempt whose answer the consumer was given, if there is one."""
        attempt = self.attempt
        return attempt if attempt is not None and attempt.is_committed else None

    async def _delivered(self, attempt: Attempt) -> None:
        """Wait until it is known what was relayed, and for the provider's last word where we cut it short."""
        if self.stopped is not Stop.STALLED and self.outlet.head is not None:
            await self.outlet.emptied()
        is_cut = attempt.outcome.done() and attempt.outcome.result().ending is Ending.STOPPED
        if is_cut and self.outlet.relayed.content_records:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._desk.limits.last_word_s_max):
                    await asyncio.shield(attempt.last_word)

    def _outcome(self) -> UsageOutcome:
        if self.outlet.relayed.is_final:
            return UsageOutcome.COMPLETED
        return UsageOutcome.CANCELLED if self.stopped is Stop.HUNG_UP else UsageOutcome.FAILED_AFTER_CONTENT

    def _note_draft(self) -> None:
        """Tell the ledger what the settlement would be now, for a sweeper that may have to make it."""
        attempt = self._billable()
        if self._reservation is None or attempt is None:
            return
        bill = settle.bill(self.facts, self.outlet.relayed, final=None)
        usage = settle.usage_of(
            self.consumer,
            self.facts,
            self.body.mode,
            attempt,
            bill,
            outcome=UsageOutcome.ORPHANED,
            tariff_id=self._tariff.id,
        )
        draft: Close = settlement(
            self._reservation, usage, self._tariff.price, self._desk.terms, is_delivered=bill.is_delivered
        )
        self._desk.ledger.note_draft(draft)

    def _drained(self, credit: int) -> None:
        if self.attempt is not None:
            self.attempt.drained(credit)

    def _advance(self, event: Event) -> None:
        self.state = advance(self.state, event)

    def __repr__(self) -> str:
        return f"Life({self.id}, {self.state}, {self._tries.made} attempts)"
