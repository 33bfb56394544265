"""Two honest ends, any order of events: nobody is accused, nothing is lost, every attempt ends once.

The wire between them keeps the order of each direction, as a WebSocket does, and delivers whenever hypothesis says so.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hushnet.foundation.errors import CapacityError
from hushnet.foundation.ids import AttemptId
from hushnet.foundation.redaction import Secret
from hushnet.provider.link.introduction import document_of
from hushnet.sealing.records import Kind
from hushnet.wire import events as ev
from hushnet.wire.coordinator_session import CoordinatorSession
from hushnet.wire.errors import LinkLost
from hushnet.wire.frames import Capacity
from hushnet.wire.limits import LinkLimits
from hushnet.wire.provider_session import ProviderSession
from support.links import HEAD, NETWORK, identity, record

LIMITS = LinkLimits(control_frames_burst=10**6, attempts_open_max=8)
DOCUMENT = document_of(identity().statement())


@dataclass
class Run:
    """One attempt as both ends have seen it."""

    envelope: bytes
    has_arrived: bool = False
    is_cancelled: bool = False
    is_told: bool = False
    has_final: bool = False
    is_done: bool = False
    written: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)


class Link(RuleBasedStateMachine):
    """The rules are what serving, the handler and the network may do."""

    @initialize()
    def register(self) -> None:
        self.coordinator = CoordinatorSession(network=NETWORK, nonce=bytes(32), limits=LIMITS, now_s=0.0)
        self.provider = ProviderSession(limits=LIMITS, now_s=0.0)
        self.down: deque[tuple[str, bytes]] = deque()
        self.up: deque[tuple[str, bytes]] = deque()
        self.runs: dict[AttemptId, Run] = {}
        self.is_draining = False
        self.send_down()
        self.deliver_down()
        self.provider.register(
            token=Secret("t"),
            agent_version="1",
            statement=DOCUMENT,
            models=(),
            capacity=Capacity(slots=1, active=0),
            challenge_signature=bytes(64),
        )
        self.send_up()
        self.deliver_up()
        self.coordinator.admit(identity().provider_id, 0.0)
        self.send_down()
        self.deliver_down()

    # Serving.

    @rule(size=st.sampled_from([1, 70_000, 200_000]), credit=st.sampled_from([1, 100, 100_000]))
    def dispatch(self, size: int, credit: int) -> None:
        envelope = bytes([len(self.runs) % 256]) * size
        try:
            attempt = self.coordinator.dispatch(envelope, deadline_ms=1, credit_bytes=credit)
        except (CapacityError, LinkLost):
            assert len(self.coordinator.attempts) == LIMITS.attempts_open_max or self.is_draining
            return
        self.runs[attempt] = Run(envelope)

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0, 10**6))
    def cancel(self, pick: int) -> None:
        attempt = self.pick(pick)
        self.coordinator.attempts.cancel(attempt, 207)
        self.runs[attempt].is_cancelled = True

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0, 10**6), bytes_=st.sampled_from([1, 50, 5000]))
    def grant(self, pick: int, bytes_: int) -> None:
        self.coordinator.attempts.grant(self.pick(pick), bytes_)

    # The handler.

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0, 10**6), size=st.sampled_from([20, 300, 40_000]), is_hasty=st.booleans())
    def write(self, pick: int, size: int, is_hasty: bool) -> None:
        attempt = self.pick(pick)
        run = self.runs[attempt]
        is_ready = self.provider.attempts.is_ready(attempt)
        if not run.has_arrived or run.has_final or run.is_done or not (is_ready or (is_hasty and size < 1000)):
            return
        if run.is_told and len(run.written) > 3:
            return  # an honest handler stops after a cancel
        raw = record(Kind.CONTENT, size=size, seq=len(run.written)) if run.written else HEAD
        run.written.append(raw)
        self.provider.attempts.write(attempt, raw)

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0, 10**6))
    def end(self, pick: int) -> None:
        attempt = self.pick(pick)
        run = self.runs[attempt]
        if run.has_arrived and run.written and not run.has_final and not run.is_done:
            run.has_final = True
            run.written.append(record(Kind.END, seq=len(run.written)))
            self.provider.attempts.write(attempt, run.written[-1])

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0, 10**6))
    def finish(self, pick: int) -> None:
        attempt = self.pick(pick)
        run = self.runs[attempt]
        if run.has_final or (run.is_told and not run.is_done):
            run.is_done = True
            self.provider.attempts.finish(attempt)

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0, 10**6))
    def refuse(self, pick: int) -> None:
        attempt = self.pick(pick)
        run = self.runs[attempt]
        if run.has_arrived and not run.written and not run.is_done:
            run.is_done = True
            self.provider.attempts.refuse(attempt, 201)

    @precondition(lambda self: not self.is_draining)
    @rule(is_asked_by_provider=st.booleans())
    def drain(self, is_asked_by_provider: bool) -> None:
        self.is_draining = True
        if is_asked_by_provider:
            self.provider.start_draining()
        else:
            self.coordinator.drain("shutdown")

    # The wire.

    @rule(messages=st.integers(1, 3))
    def send_down(self, messages: int = 100) -> None:
        self.coordinator.attempts.settle_grants()
        self._send(self.coordinator, self.down, messages)

    @rule(messages=st.integers(1, 3))
    def send_up(self, messages: int = 100) -> None:
        self._send(self.provider, self.up, messages)

    @rule(messages=st.integers(1, 5))
    def deliver_down(self, messages: int = 10**9) -> None:
        while self.down and messages:
            messages -= 1
            kind, raw = self.down.popleft()
            received = self.provider.receive_text(raw) if kind == "text" else self.provider.receive_binary(raw)
            for event in received:
                self._hear_at_provider(event)

    @rule(messages=st.integers(1, 5))
    def deliver_up(self, messages: int = 10**9) -> None:
        while self.up and messages:
            messages -= 1
            kind, raw = self.up.popleft()
            take = self.coordinator.receive_text if kind == "text" else self.coordinator.receive_binary
            for event in take(raw, 0.0):
                self._hear_at_coordinator(event)

    @invariant()
    def nobody_is_accused(self) -> None:
        if hasattr(self, "runs"):
            assert not self.coordinator.is_closed
            assert not self.provider.is_closed

    def teardown(self) -> None:
        if not hasattr(self, "runs"):
            return
        for attempt in self.runs:
            self.coordinator.attempts.cancel(attempt, 207)
        self._settle()
        for attempt, run in self.runs.items():
            if run.has_arrived and not run.is_done:
                run.is_done = True
                self.provider.attempts.finish(attempt)
        self._settle()
        assert len(self.coordinator.attempts) == len(self.provider.attempts) == 0
        for run in self.runs.values():
            assert len(run.endings) == 1, run
            assert run.received == run.written

    # Inside.

    def pick(self, number: int) -> AttemptId:
        return list(self.runs)[number % len(self.runs)]

    def _settle(self) -> None:
        for _ in range(300):
            self.send_down()
            self.deliver_down()
            self.send_up()
            self.deliver_up()

    @staticmethod
    def _send(session: Any, wire: deque[tuple[str, bytes]], messages: int) -> None:
        while (raw := session.lanes.next_control()) is not None:
            wire.append(("text", raw))
        while messages and (raw := session.lanes.next_message()) is not None:
            messages -= 1
            wire.append(("binary", raw))
            while (raw := session.lanes.next_control()) is not None:
                wire.append(("text", raw))

    def _hear_at_provider(self, event: Any) -> None:
        match event:
            case ev.AttemptArrived():
                assert event.envelope == self.runs[event.attempt].envelope
                self.runs[event.attempt].has_arrived = True
            case ev.AttemptCancelled():
                assert self.runs[event.attempt].is_cancelled or self.runs[event.attempt].endings == []
                self.runs[event.attempt].is_told = True
            case ev.HelloArrived() | ev.RegistrationAccepted() | ev.CreditArrived() | ev.DrainAsked():
                pass
            case _:
                raise AssertionError(event)

    def _hear_at_coordinator(self, event: Any) -> None:
        match event:
            case ev.RecordsArrived():
                assert not self.runs[event.attempt].endings
                self.runs[event.attempt].received += [each.raw for each in event.records]
            case ev.AttemptFinished():
                self.runs[event.attempt].endings.append("finished")
            case ev.AttemptRefused():
                self.runs[event.attempt].endings.append("refused")
            case ev.RegisterArrived() | ev.DrainingStarted():
                pass
            case _:
                raise AssertionError(event)


TestLink = Link.TestCase
TestLink.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
