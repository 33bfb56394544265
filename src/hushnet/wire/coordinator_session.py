"""The coordinator's end of one link, without I/O: bytes and commands in, events and queued frames out.

`receive_*`, `tick` and `lose` return events in order; commands queue frames in `lanes`. Times are seconds of one
monotonic clock. A breached rule never raises: it becomes `FaultFound` (the link goes on) or `LinkEnded` (errors.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from hushnet.foundation.errors import LocalProtocolError, RemoteProtocolError
from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Record
from hushnet.wire import events as ev
from hushnet.wire import frames as fr
from hushnet.wire.codec import FROM_PROVIDER, decode_provider_frame, encode_checked, encode_control, split_data
from hushnet.wire.coordinator_attempts import CoordinatorAttempts
from hushnet.wire.errors import LinkFault, LinkLost, Reach
from hushnet.wire.lanes import Lanes
from hushnet.wire.limits import LINK_VERSIONS, LinkLimits, Pace
from hushnet.wire.reports import Report, Reports
from hushnet.wire.transitions import COORDINATOR_LINK, LinkState

Events: TypeAlias = list[ev.CoordinatorEvent]

_FAULT_WINDOW_S: Final = 60.0
_TAKES_RECORDS: Final = tuple(state for state in LinkState if (state, "<- record") in COORDINATOR_LINK)
"""A tuple, searched by identity: a look-up in the table would hash the state once for every message."""
_NO_COMMON_VERSION: Final = "this coordinator speaks other versions of the link; update the older of the two"
_BUSY: Final = "the coordinator is busy; the provider tries again by itself"


class CoordinatorSession:
    """One link as the coordinator sees it, from the hello to the end."""

    def __init__(
        self,
        *,
        network: str,
        nonce: bytes,
        limits: LinkLimits,
        now_s: float,
        versions: Sequence[int] = LINK_VERSIONS,
    ) -> None:
        self.state = LinkState.GREETED
        self.lanes = Lanes()
        self.attempts = CoordinatorAttempts(self.lanes, limits)
        self.provider_id: ProviderId | None = None
        self.version = 0
        self._patient_until_s = now_s + limits.register_s
        self._limits = limits
        self._versions = tuple(versions)
        self._frames = Pace(limits.control_frames_per_s, burst=limits.control_frames_burst, now_s=now_s)
        self._reports = Reports(limits, now_s=now_s)
        self._faults = Pace(limits.faults_max / _FAULT_WINDOW_S, burst=limits.faults_max, now_s=now_s)
        hello = fr.Hello(versions=self._versions, network=network, nonce=nonce, register_within_s=limits.register_s)
        self.lanes.push_control(encode_checked(hello))

    def __repr__(self) -> str:
        return f"<CoordinatorSession {self.state} {len(self.attempts)} attempts, {self.lanes!r}>"

    @property
    def is_closed(self) -> bool:
        return self.state is LinkState.CLOSED

    @property
    def is_registered(self) -> bool:
        return self.state is LinkState.SERVING or self.state is LinkState.DRAINING

    @property
    def deadline_s(self) -> float:
        """When `tick` has something to do next; what arrives may bring it nearer."""
        return min(self._patient_until_s, self._reports.due_s)

    # What arrives.

    def receive_text(self, raw: bytes, now_s: float) -> Events:
        """Take one text message."""
        if self.is_closed:
            return []
        if not self._frames.take(now_s):
            return self._end(LinkFault.TOO_MANY_FRAMES)
        try:
            frame = decode_provider_frame(raw)
        except RemoteProtocolError as error:
            return self._end(LinkFault(error.error_code))
        return [] if frame is None else self._take(frame, now_s)

    def receive_contents(self, raw: bytes) -> tuple[list[tuple[AttemptId, Record]], int]:
        """Take the plain content that a binary message begins with: its records in order, and where the rest begins.

        The way of nearly everything that a link carries; whoever calls it gives the rest, if any, to `receive_binary`.
        """
        return self.attempts.take_contents(raw) if self.state in _TAKES_RECORDS else ([], 0)

    def receive_binary(self, raw: bytes, now_s: float) -> Events:
        """Take one binary message, or the rest of one: records, grouped by attempt in what is returned."""
        if self.state not in _TAKES_RECORDS:
            return [] if self.is_closed else self._end(LinkFault.NOT_REGISTERED)
        events: Events = []
        batches: dict[int, list[Record]] = {}
        try:
            pieces = split_data(raw, FROM_PROVIDER)
        except RemoteProtocolError as error:
            return self._end(LinkFault(error.error_code))
        has_late = False
        for _, number, payload in pieces:
            fault = self.attempts.take_record(number, payload, batches)
            if fault is LinkFault.LATE_RECORD:
                has_late = True
            elif fault is not None:
                if number in batches:
                    events.append(ev.RecordsArrived(AttemptId(number), batches.pop(number)))
                events += self._found(fault, number, now_s)
                if self.is_closed:
                    return events
        events += [ev.RecordsArrived(AttemptId(number), batch) for number, batch in batches.items()]
        if has_late and not self._frames.take(now_s):
            events += self._end(LinkFault.TOO_MANY_FRAMES)
        return events

    def receive_ping(self, now_s: float) -> Events:
        """Count a WebSocket ping or pong against the pace of control frames."""
        if self.is_closed or self._frames.take(now_s):
            return []
        return self._end(LinkFault.TOO_MANY_FRAMES)

    def receive_foul(self, fault: LinkFault) -> Events:
        """Take something that is no message of this protocol at all, as the shell found it."""
        return [] if self.is_closed else self._end(fault)

    def tick(self, now_s: float) -> Events:
        """Let time pass; acts only at `deadline_s` or later."""
        if self.is_closed or now_s < self.deadline_s:
            return []
        if now_s < self._patient_until_s:
            return [self._reported(report, now_s) for report in self._reports.due(now_s)]
        if self.state is LinkState.GREETED:
            return self._end(LinkFault.REGISTER_LATE)
        if self.state is LinkState.REGISTERING:
            self._send(fr.Rejected(code="try_later", hint=_BUSY))
            return self._end(LinkFault.ADMISSION_LATE, is_fault_of_peer=False)
        return self._end(LinkFault.HEARTBEAT_MISSING)

    def lose(self) -> Events:
        """The connection is gone."""
        if self.is_closed:
            return []
        return self._end(LinkFault.CONNECTION_LOST, is_fault_of_peer=False, has_bye=False)

    # Commands.

    def admit(self, provider_id: ProviderId, now_s: float) -> None:
        """Accept the registration under `provider_id`."""
        after = COORDINATOR_LINK.get((self.state, "-> registered"))
        if after is None:
            raise LocalProtocolError(f"a {self.state} link is not admitted")
        frame = fr.Registered(version=self.version, heartbeat_s=self._limits.heartbeat_s, provider_id=provider_id)
        self.lanes.push_control(encode_checked(frame))
        self.state = after
        self.provider_id = provider_id
        self._patient_until_s = now_s + self._limits.heartbeat_missing_s

    def reject(self, code: str, hint: str = "") -> Events:
        """Refuse the registration; the link ends."""
        if (self.state, "-> rejected") not in COORDINATOR_LINK:
            raise LocalProtocolError(f"a {self.state} link is not rejected any more")
        self.lanes.push_control(encode_checked(fr.Rejected(code=code, hint=hint[:512])))
        return self._end(LinkFault.REJECTED, is_fault_of_peer=False, has_bye=False)

    def dispatch(self, envelope: bytes, *, deadline_ms: int, credit_bytes: int) -> AttemptId:
        """Queue an attempt; raises `LinkLost` when not serving, `CapacityError` when a bound of this link is reached."""
        if (self.state, "-> attempt") not in COORDINATOR_LINK:
            raise LinkLost(f"a {self.state} link takes no attempts")
        return self.attempts.begin(envelope, deadline_ms=deadline_ms, credit_bytes=credit_bytes)

    def challenge(self, nonce: bytes) -> None:
        """Queue a challenge; a link that does not serve is left alone."""
        self._tell("-> challenge", fr.Challenge(nonce=nonce))

    def load_model(self, model: ModelId) -> None:
        """Queue the wish that the provider loads `model`; a link that does not serve is left alone."""
        if self._tell("-> load_model", fr.LoadModel(model=model)):
            self._reports.wished(model)

    def unload_model(self, model: ModelId) -> None:
        """Queue the wish that the provider frees `model`; a link that does not serve is left alone."""
        self._tell("-> unload_model", fr.UnloadModel(model=model))

    def drain(self, reason: str) -> None:
        """Announce that no more attempts come; a link that does not serve is left alone."""
        self._tell("-> drain", fr.Drain(reason=reason))

    def close(self, code: str) -> Events:
        """End the link from this side; `code` is of [a-z0-9_], else `LocalProtocolError`."""
        if self.is_closed:
            return []
        encode_checked(fr.Bye(code=code))
        return self._end(code, is_fault_of_peer=False)

    # Inside.

    def _take(self, frame: fr.ProviderFrame, now_s: float) -> Events:
        if isinstance(frame, fr.Bye):
            return self._end(frame.code, is_fault_of_peer=False, has_bye=False)
        after = COORDINATOR_LINK.get((self.state, f"<- {frame.__struct_config__.tag}"))
        if after is None:
            is_second = isinstance(frame, fr.Register) and self.is_registered
            if is_second:
                return self._found(LinkFault.SECOND_REGISTER, None, now_s)
            return self._end(LinkFault.NOT_REGISTERED)
        self.state = after
        match frame:
            case fr.Register():
                return self._begin_registration(frame, now_s)
            case fr.Refused() | fr.Finished():
                return self._end_attempt(frame, now_s)
            case _:
                return self._take_report(frame, now_s)

    def _take_report(self, frame: fr.ProviderFrame, now_s: float) -> Events:
        if isinstance(frame, fr.LoadFailed) and not self._reports.is_owed(frame):
            return [] if self._reports.is_bearable(now_s) else self._end(LinkFault.TOO_MANY_REPORTS)
        if not isinstance(frame, Report):
            return [self._reported(frame, now_s)]
        taken = self._reports.take(frame, now_s)
        if taken is None:
            return self._end(LinkFault.TOO_MANY_REPORTS)
        return [self._reported(report, now_s) for report in taken]

    def _reported(self, frame: fr.ProviderFrame, now_s: float) -> ev.CoordinatorEvent:
        event: ev.CoordinatorEvent
        match frame:
            case fr.Heartbeat():
                self._patient_until_s = now_s + self._limits.heartbeat_missing_s
                event = ev.CapacityReported(frame.capacity)
            case fr.ChallengeReply():
                event = ev.ChallengeAnswered(frame.nonce, frame.signature)
            case fr.StatementUpdate():
                event = ev.StatementReplaced(frame.statement)
            case fr.Models():
                event = ev.ModelsReplaced(frame.models)
            case fr.LoadFailed():
                event = ev.LoadRefused(frame.model, frame.code)
            case _:
                event = ev.DrainingStarted()
        return event

    def _begin_registration(self, frame: fr.Register, now_s: float) -> Events:
        best = max(set(frame.versions) & set(self._versions), default=None)
        if frame.version != best:
            return self.reject(LinkFault.UNSUPPORTED_VERSION, _NO_COMMON_VERSION)
        self.version = frame.version
        self._patient_until_s = now_s + self._limits.admit_s
        return [ev.RegisterArrived(frame)]

    def _end_attempt(self, frame: fr.Refused | fr.Finished, now_s: float) -> Events:
        fault, is_over = self.attempts.end(frame.attempt, is_refusal=isinstance(frame, fr.Refused))
        events: Events = []
        if is_over:
            self._frames.give_back()  # a frame that ends an attempt is owed, so a busy link is not paced by them
        if is_over and isinstance(frame, fr.Refused):
            events.append(ev.AttemptRefused(frame.attempt, frame.code))
        elif is_over:
            events.append(ev.AttemptFinished(frame.attempt))
        return events if fault is None else [*events, *self._found(fault, frame.attempt, now_s)]

    def _found(self, fault: LinkFault, number: int | None, now_s: float) -> Events:
        attempt = AttemptId(number) if number else None
        events: Events = [ev.FaultFound(fault, attempt)]
        if attempt is not None and fault.reach is Reach.ATTEMPT:
            code = WireCode.BACKPRESSURE if fault is LinkFault.CREDIT_OVERRUN else WireCode.INTERNAL
            self.attempts.cancel(attempt, code)
            self.attempts.forget(attempt)
            events.append(ev.AttemptRefused(attempt, code))
        if not self._faults.take(now_s):
            return [*events, *self._end(LinkFault.TOO_MANY_FAULTS)]
        self._send(fr.Fault(code=fault.value, attempt=attempt))
        return events

    def _tell(self, trigger: str, frame: fr.CoordinatorFrame) -> bool:
        after = COORDINATOR_LINK.get((self.state, trigger))
        if after is None:
            return False
        self.lanes.push_control(encode_checked(frame))
        self.state = after
        return True

    def _send(self, frame: fr.CoordinatorFrame) -> None:
        self.lanes.push_control(encode_control(frame))

    def _end(self, code: str, *, is_fault_of_peer: bool = True, has_bye: bool = True) -> Events:
        self.state = COORDINATOR_LINK[self.state, "end"]
        self.attempts.clear()
        self.lanes.clear_data()
        if has_bye:
            self._send(fr.Bye(code=code))
        return [ev.LinkEnded(str(code), is_fault_of_peer)]
