"""One request's life: it drives the stages in order, and whatever happens it ends in the one finaliser.

The life is a task of the service, not of the HTTP request: a consumer that hangs up stops it, but does not end it before
the hold is closed. `stop` may come at any moment, from the consumer, a deadline or the shutdown; it reaches the
provider in the same step of the event loop.
"""

from __future__ import annotations

import logging
import math
from typing import Final

from hushnet.coordinator.serving.attempt import SEALERS_OWN, Attempt, Ending
from hushnet.coordinator.serving.desk import Desk
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.model import Consumer, RequestBody
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.race import Ended, Race
from hushnet.coordinator.serving.reserve import Free, reserve
from hushnet.coordinator.serving.route import Placed, Waiting
from hushnet.coordinator.serving.rules.failover import failure_of, is_fault_of_provider
from hushnet.coordinator.serving.rules.stops import TOLD, Deadlines, Stop
from hushnet.coordinator.serving.rules.tries import Tries
from hushnet.coordinator.serving.settle import Finaliser, note_finding
from hushnet.coordinator.serving.store import RequestClaim
from hushnet.coordinator.serving.transitions import Event, State, advance
from hushnet.coordinator.telemetry import timing
from hushnet.foundation.ids import RequestId
from hushnet.sealing.errors import WireCode

_LOG = logging.getLogger(__name__)
_OVER: Final = frozenset({State.SETTLING, State.SETTLED})

LOOK_S: Final = 0.5
"""How exact the deadlines are, which are counted in seconds; only a slow consumer is looked at with every pass."""


class Life:
    """One request. `outlet` is what its consumer reads; `run` is its task."""

    def __init__(
        self,
        desk: Desk,
        request_id: RequestId,
        consumer: Consumer,
        body: RequestBody,
        watch: timing.Stopwatch,
        *,
        is_told_its_place: bool = False,
        claim: RequestClaim | None = None,
    ) -> None:
        self.id = request_id
        self.body = body
        self.state = State.ARRIVED
        self.stopped: Stop | None = None
        self.has_begun = False  # whether the books may know of it: a hold was asked for and not refused, or none needed
        window = desk.limits.window_bytes
        self._has_waited_cold = False
        self.outlet = Outlet(high_water=window * 3 // 4, on_drained=self._drained, credit_step=window // 4)
        self._claim = claim
        self._desk = desk
        self._consumer = consumer
        self.look_s = 0.0
        self._started_s = self._drafted_s = desk.clock.monotonic_s()
        self._deadlines = Deadlines(desk.limits, started_s=self._started_s)
        tariff = desk.tariffs.tariff_of(body.facts.model) if consumer.prepaid is None else consumer.prepaid.tariff
        self._finaliser = Finaliser(desk, request_id, consumer, body, self.outlet, tariff)
        self._watch = watch
        self._tries = Tries(price=self._finaliser.tariff.price)
        self._race = Race(
            desk,
            body,
            self.outlet,
            account=consumer.account_id,
            ends_s=self._deadlines.ends_s,
            on_won=self._won,
        )
        self._waiting: Waiting | None = None
        self._waited_s = 0.0
        self._is_told_its_place = is_told_its_place
        self._tells_s = 0.0

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that speaks for the request (`Race.lead`)."""
        return self._race.lead

    # From outside.

    @property
    def is_cold_start(self) -> bool:
        """Whether the answer had to wait until a provider had loaded the model."""
        return self._has_waited_cold or (self.attempt is not None and self.attempt.slot.is_cold)

    def timing(self) -> bytes:
        """Return where the time went, as an answer's head says it; asked once, when the head is written."""
        winner = self._race.winner
        if winner is not None and self._watch.stage in (timing.LOAD, timing.PROVIDER):
            self._end_load(winner)
            # A whole answer begins with its last record.
            self._watch.enter(timing.RELAY, at_s=winner.heard_s)
        return self._watch.render()

    def stop(self, reason: Stop) -> None:
        """Stop the request now, whatever it is doing; the first reason stands."""
        if reason is Stop.HUNG_UP:
            self.outlet.abandon()
        if self.stopped is not None or self.state in _OVER:
            return
        self.stopped = reason
        wire_code, failure_code = TOLD[reason]
        if failure_code is not None:
            self.outlet.fail(Failure(failure_code), is_cut=reason is Stop.STALLED)
        if self._waiting is not None:
            self._desk.placement.abandon(self._waiting)
        self._race.stop(wire_code)

    def tick(self, now_s: float) -> None:
        """Look at the deadlines and the draft; called by the pulse, from `look_s` on or while the consumer's window is full."""
        self.look_s = now_s + LOOK_S
        self._tell_its_place()
        winner = self._race.winner
        due = self._deadlines.due(now_s, winner, self.outlet)
        if due is not None:
            if self.state is State.SETTLING:
                self.outlet.abandon()  # the answer is complete and its consumer does not take it
            self.stop(due)
        elif self.stopped is not None:
            return
        elif winner is None:
            self._hurry(now_s)
        elif not winner.outcome.done() and now_s - self._drafted_s >= self._desk.limits.draft_s:
            self._drafted_s = now_s
            self._finaliser.note_draft(winner)

    def _hurry(self, now_s: float) -> None:
        """Give up on attempts that have shown nothing for too long, and call for a backup of one that is slow."""
        for attempt in tuple(self._race.out):
            if self._deadlines.is_late(now_s, attempt):
                attempt.stop(WireCode.TIMED_OUT)
        if self._is_backup_due(now_s):
            self._race.call()

    def _is_backup_due(self, now_s: float) -> bool:
        out = self._race.out
        is_slow = self._race.winner is None and len(out) == 1 and self._deadlines.is_slow(now_s, out[0])
        return is_slow and self._tries.may_go_on(self.body, self._desk.limits)

    # The task.

    async def run(self) -> None:
        """Serve, then settle; nothing that goes wrong while serving keeps the finaliser from running."""
        try:
            await self._serve()
        except Exception as error:
            _LOG.error("a request failed inside", extra={"request_id": self.id, "error": type(error).__name__})
            self._break_off()
        self.body.drop()
        if self.state is State.SETTLING:
            outcome = await self._finaliser.settle(self._race.winner, self.stopped)
            self._advance(Event.CLOSED)
            seconds = self._desk.clock.monotonic_s() - self._started_s
            self._desk.telemetry.request_ended(mode=self.body.mode.value, outcome=outcome.name.lower(), seconds=seconds)
        self.outlet.part()
        self._race.part()

    async def _serve(self) -> None:
        if self.stopped is not None and self._consumer.prepaid is None:  # else something is held, and has to be closed
            self._advance(Event.STOPPED)
            return
        self._advance(Event.ADMITTED)
        if not await self._reserve():
            return
        while self.stopped is None:
            placed = await self._place()
            if placed is None:
                return
            self._advance(Event.ASSIGNED)
            self._tries.made += 1
            await self._race.send(placed, self._watch)
            if not await self._see_through():
                return
        self._advance(Event.STOPPED)

    async def let_go(self) -> None:
        """Let the client's key for this request be used again, unless the books may know of it."""
        if self._claim is not None and not self.has_begun:
            await self._claim.release()

    async def _reserve(self) -> bool:
        desk, self.has_begun = self._desk, True
        outcome = await reserve(
            desk.ledger,
            self.id,
            self._consumer,
            self.body.facts,
            budgets=desk.budgets,
            tariff=self._finaliser.tariff,
            limits=desk.limits,
            now_ms=desk.clock.now_ms(),
        )
        if isinstance(outcome, Failure):
            self.has_begun = outcome.is_unsure
            await self.let_go()  # before its consumer hears of it
            self._advance(Event.HOLD_REFUSED)
            self.outlet.fail(outcome)
            return False
        self._watch.enter(timing.ROUTE)
        self._finaliser.reservation = None if isinstance(outcome, Free) else outcome
        self._advance(Event.HELD)
        return True

    async def _place(self) -> Placed | None:
        """Find a slot, waiting for it if need be; None when there is none to be had or the request was stopped."""
        self._tries.cached = self._desk.prefixes.likely(self._consumer, self.body.facts)
        outcome = self._desk.placement.begin(
            self.id,
            self._tries.route_request(self.body),
            account=self._consumer.account_id,
            size=self.body.size,
            wait_s=self._desk.limits.queue_s_max - self._waited_s,
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
        self._has_waited_cold |= waiting.is_cold
        self._watch.enter(timing.QUEUE)
        self._tell_its_place()
        answer = await waiting.answer
        self._waiting = None
        waited_s = clock.monotonic_s() - began_s
        self._waited_s += waited_s
        self._desk.telemetry.queued(seconds=waited_s)
        # Stopped between the queue's answer and this step: `abandon` has given the slot back.
        return None if self.stopped is not None else answer

    def _tell_its_place(self) -> None:
        """Tell a consumer that asked for it where in the queue it is, as often as the pulse looks at deadlines."""
        now_s = self._desk.clock.monotonic_s()
        if not self._is_told_its_place or self._waiting is None or now_s < self._tells_s:
            return
        self._tells_s = now_s + LOOK_S
        if (place := self._desk.placement.place_of(self._waiting)) is not None:
            estimate = "unknown" if place.estimate_s is None else str(math.ceil(place.estimate_s))
            self.outlet.tell(f": queue position={place.ahead + 1} estimate_s={estimate}\n\n".encode())

    async def _see_through(self) -> bool:
        """Wait until who won has ended, or nobody is out any more; False when no other attempt is to follow."""
        race = self._race
        while True:
            for ended in race.take_ended():
                if race.winner is None or ended.attempt is not race.winner:
                    self._judge(ended)
            if self.stopped is not None or (race.winner is not None and race.winner.outcome.done()):
                self._conclude()
                return False
            if not race.out:
                return self._may_try_again()
            if race.is_called:
                await self._hedge()
            else:
                await race.news()

    async def _hedge(self) -> None:
        """Send a backup, if somebody who was not tried has room that nobody waits for."""
        race, desk = self._race, self._desk
        if self._is_backup_due(desk.clock.monotonic_s()):  # much may have happened since it was called for
            asked = self._tries.backup_request(self.body, race.out[0].slot.provider)
            placed = desk.placement.spare(self.id, asked)
            if placed is not None:
                self._advance(Event.HEDGED)
                self._tries.made += 1
                await race.send(placed)
        race.is_called = False

    def _won(self) -> None:
        self._advance(Event.COMMITTED)
        winner = self._race.winner
        if winner is not None:
            self._desk.prefixes.note(self._consumer, self.body.facts, winner.slot.provider.provider_id)
        if winner is not None and self.body.facts.is_stream:
            self._end_load(winner)
            self._watch.enter(timing.RELAY, at_s=winner.heard_s)
        self.body.drop()
        seconds = self._desk.clock.monotonic_s() - self._started_s
        self._desk.telemetry.first_content(mode=self.body.mode.value, seconds=seconds)

    def _end_load(self, attempt: Attempt) -> None:
        """Count what came after the provider said that it had loaded the model as its work."""
        loaded_s = attempt.slot.provider.loaded_s.get(attempt.slot.model)
        if self._watch.stage == timing.LOAD and loaded_s is not None:
            self._watch.enter(timing.PROVIDER, at_s=loaded_s)

    def _conclude(self) -> None:
        """The attempt that won has ended, or the request was stopped."""
        winner = self._race.winner
        if winner is None:
            self._advance(Event.STOPPED)
            return
        ended = Ended(winner.slot.provider, winner.outcome.result(), winner)
        if ended.end.ending is Ending.COMPLETE:
            self._advance(Event.ENDED)
            self._desk.fleet.note_served(ended.provider, self.body.facts.model, began_s=winner.started_s)
            self._desk.placement.pool.served(winner.slot, self._desk.clock.monotonic_s() - winner.started_s)
            self.outlet.finish()
        elif self.stopped is not None:
            self._advance(Event.STOPPED)
            if self.stopped is Stop.IDLE:
                self._blame(ended)
        else:
            self._advance(Event.BROKEN_OFF)
            if is_fault_of_provider(ended.end):
                self._blame(ended)
            self._fail(failure_of(ended.end))

    def _judge(self, ended: Ended) -> None:
        """Judge an attempt that showed nothing, and tell the fleet; without effect when the request was stopped."""
        if self.stopped is not None:
            return
        end, provider = ended.end, ended.provider
        verdict = self._tries.learn(end, provider, self.body.mode, self._desk.limits)
        if end.code == WireCode.NOT_FOR_ME:
            # Nobody but this relay can be at fault: an alarm (docs/sealing.md section 11).
            _LOG.error(
                "an envelope went to another provider than it was made for",
                extra={"request_id": self.id, "provider_id": provider.provider_id},
            )
        if verdict.is_full:
            refused = ended.attempt.slot if ended.attempt is not None else None
            self._desk.fleet.note_full(provider, self.body.facts.model, refused)
        if verdict.is_fault:
            self._blame(ended)
        elif end.ending is Ending.OUTRUN and ended.attempt is not None and not ended.attempt.is_backup:
            self._desk.fleet.note_outrun(provider, self.body.facts.model)
        if self._race.out and self._race.winner is None:
            self._advance(Event.ONE_FAILED)

    def _may_try_again(self) -> bool:
        """Say whether another attempt may follow those that have failed; end the answer otherwise."""
        if self._tries.may_go_on(self.body, self._desk.limits):
            self._advance(Event.ATTEMPT_FAILED)
            self._watch.enter(timing.ROUTE)
            return True
        self._fail(self._tries.last or Failure(FailureCode.PROVIDER_FAILED))
        self._advance(Event.ATTEMPTS_EXHAUSTED)
        return False

    def _fail(self, failure: Failure) -> None:
        """End the answer; an error that the provider sealed for the consumer is shown rather than replaced."""
        attempt = self.attempt
        if attempt is None or not attempt.outcome.done() or attempt.outcome.result().ending is not Ending.ERROR:
            self.outlet.fail(failure)
            return
        end, reader = attempt.outcome.result(), attempt.reader
        if reader.is_forwarding_errors:
            if not end.is_committed:
                attempt.show_error()
            self.outlet.finish()
        elif end.code in SEALERS_OWN:
            self.outlet.fail(Failure(failure.code, detail=reader.error_body, status=reader.status))
        else:
            self.outlet.fail(failure)

    def _blame(self, ended: Ended) -> None:
        end = ended.end
        self._desk.telemetry.attempt_failed(reason=end.ending.name.lower())
        if not end.fault or ended.attempt is None:
            self._desk.fleet.note_failed(ended.provider, self.body.facts.model)
        elif not end.is_committed:  # the finaliser notes the faults of the attempt that it bills
            note_finding(self._desk, ended.attempt, end.fault, self.id)

    def _break_off(self) -> None:
        """A bug: give up on the attempts, tell the consumer, and let the finaliser make the best of it."""
        self._race.stop(WireCode.CANCELLED)
        self._race.take_ended()
        self.outlet.fail(Failure(FailureCode.INTERNAL))
        if self.state is not State.SETTLED:
            self.state = State.SETTLING

    def _drained(self, credit: int) -> None:
        if self._race.winner is not None:
            self._race.winner.drained(credit)

    def _advance(self, event: Event) -> None:
        self.state = advance(self.state, event)

    def __repr__(self) -> str:
        return f"Life({self.id}, {self.state}, {self._tries.made} attempts)"
