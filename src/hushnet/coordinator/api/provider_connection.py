"""One provider's WebSocket at the coordinator: moves bytes between picows and the session, and events to gate and sinks.

No rule of the protocol is here; they are in `wire.coordinator_session`. Gate and sinks are called on the event loop, and
an exception of theirs costs the attempt, or nothing, but never the link.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from hushnet.coordinator.fleet.link import Admitted, AttemptSink, FleetGate, Rejected
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AttemptId, ModelId, ProviderId
from hushnet.foundation.tasks import TaskSet
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Record
from hushnet.wire import events as ev
from hushnet.wire.coordinator_session import CoordinatorSession
from hushnet.wire.errors import LinkFault, close_code_of
from hushnet.wire.frames import Register
from hushnet.wire.lanes import Outflow
from hushnet.wire.limits import MESSAGE_BYTES_MAX, LinkLimits
from hushnet.wire.round_trip import RoundTrip

_LOG = logging.getLogger(__name__)
_BINARY: Final = WSMsgType.BINARY
_PING_BYTES: Final = 8
_UNDECIDED: Final = Rejected("try_later", "the coordinator could not decide; the provider tries again by itself")


class ProviderConnection(WSListener):
    """A link from the accepted socket to its end; the `ProviderLink` that fleet and serving hold."""

    def __init__(
        self,
        *,
        gate: FleetGate,
        session: CoordinatorSession,
        nonce: bytes,
        clock: Clock,
        limits: LinkLimits,
        tasks: TaskSet,
        on_connected: Callable[[ProviderConnection], None],
        on_registered: Callable[[ProviderConnection], None],
        on_ended: Callable[[ProviderConnection], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self._gate = gate
        self._session = session
        self._nonce = nonce
        self._clock = clock
        self._limits = limits
        self._on_connected = on_connected
        self._on_registered = on_registered
        self._on_ended = on_ended
        self._on_fault = on_fault
        self._round_trip = RoundTrip()
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks
        self._admission: asyncio.Task[None] | None = None
        self._sinks: dict[AttemptId, AttemptSink] = {}
        self._transport: WSTransport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._armed_s = math.inf
        """What `_deadline` was set for."""
        self._stall: asyncio.TimerHandle | None = None
        self.gone = asyncio.Event()
        """Set once the socket is closed."""
        self._outflow = Outflow(
            session.lanes,
            send_text=self._send_text,
            send_binary=self._send_binary,
            schedule=self._loop.call_soon,
            prepare=session.attempts.settle_grants,
        )

    def __repr__(self) -> str:
        return f"<ProviderConnection {self._session!r}>"

    @property
    def registered_as(self) -> ProviderId | None:
        """The provider once it is admitted, also after the end."""
        return self._session.provider_id

    # What fleet and serving call: the `ProviderLink` protocol.

    @property
    def provider_id(self) -> ProviderId:
        if self._session.provider_id is None:
            raise LookupError("the provider is not admitted yet")
        return self._session.provider_id

    def dispatch(self, envelope: bytes, *, deadline_ms: int, credit_bytes: int, sink: AttemptSink) -> AttemptId:
        attempt = self._session.dispatch(envelope, deadline_ms=deadline_ms, credit_bytes=credit_bytes)
        self._sinks[attempt] = sink
        self._outflow.wake()
        return attempt

    def cancel(self, attempt: AttemptId, code: int) -> None:
        self._session.attempts.cancel(attempt, code)
        self._flush_control()

    def grant(self, attempt: AttemptId, bytes_: int) -> None:
        if self._session.attempts.grant(attempt, bytes_):
            self._outflow.wake()

    def challenge(self, nonce: bytes) -> None:
        self._session.challenge(nonce)
        self._flush_control()

    def load_model(self, model: ModelId) -> None:
        self._session.load_model(model)
        self._flush_control()

    def unload_model(self, model: ModelId) -> None:
        self._session.unload_model(model)
        self._flush_control()

    def drain(self, reason: str) -> None:
        self._session.drain(reason)
        self._flush_control()

    def close(self, code: str) -> None:
        self._handle(self._session.close(code))

    # What picows calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._on_connected(self)
        transport.underlying_transport.set_write_buffer_limits(high=MESSAGE_BYTES_MAX // 2)
        _bound_unsent(transport.underlying_transport.get_extra_info("socket"))
        self._arm()
        self._flush_control()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        try:
            if frame.msg_type == _BINARY and frame.fin:
                self._take_data(frame.get_payload_as_bytes())
            else:
                self._take(transport, frame)
        except Exception as error:
            _log_broken("session", error)
            self.close(LinkFault.INTERNAL)

    def _take_data(self, message: bytes) -> None:
        session = self._session
        contents, taken = session.receive_contents(message)
        sinks = self._sinks
        for attempt, record in contents:
            if (sink := sinks.get(attempt)) is not None:
                try:
                    sink.content_arrived(record)
                except Exception as error:
                    self._drop(attempt, error)
        if taken < len(message) or not message:
            self._handle(session.receive_binary(message[taken:], self._clock.monotonic_s()))
        elif session.lanes.control_bytes:
            self._flush_control()

    def _take(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        now_s = self._clock.monotonic_s()
        if not frame.fin or kind == WSMsgType.CONTINUATION:
            self._handle(self._session.receive_foul(LinkFault.BAD_MESSAGE))
        elif kind == WSMsgType.TEXT:
            self._handle(self._session.receive_text(frame.get_payload_as_bytes(), now_s))
            if self._session.deadline_s < self._armed_s and not self._session.is_closed:
                self._arm()
        elif kind == WSMsgType.CLOSE:
            self._handle(self._session.lose())
        else:
            if kind == WSMsgType.PONG:
                self._round_trip.answer(frame.get_payload_as_bytes(), now_s)
            events = self._session.receive_ping(now_s)
            if kind == WSMsgType.PING and not self._session.is_closed and not self._outflow.is_paused:
                transport.send_pong(frame.get_payload_as_bytes())
            self._handle(events)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        sent = getattr(transport.close_handshake, "sent", None)  # there is no handshake when the peer just vanished
        is_too_big = sent is not None and sent.code == WSCloseCode.MESSAGE_TOO_BIG
        self._handle(self._session.receive_foul(LinkFault.MESSAGE_TOO_BIG) if is_too_big else self._session.lose())
        self.gone.set()

    def pause_writing(self) -> None:
        self._outflow.pause()
        if self._stall is None and not self._session.is_closed:
            self._stall = self._loop.call_later(self._limits.stall_s, self._give_up)

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        self._outflow.resume()

    # Events.

    def _handle(self, events: Sequence[ev.CoordinatorEvent]) -> None:
        for event in events:
            match event:
                case ev.RecordsArrived():
                    self._deliver(event.attempt, event.records)
                case ev.LinkEnded():
                    self._end(event)
                case _:
                    self._report(event)
        self._flush_control()

    def _deliver(self, attempt: AttemptId, records: Sequence[Record]) -> None:
        sink = self._sinks.get(attempt)
        if sink is None:
            return
        try:
            sink.records_arrived(records)
        except Exception as error:
            self._drop(attempt, error)

    def _drop(self, attempt: AttemptId, error: Exception) -> None:
        _log_broken("sink", error)
        self._session.attempts.cancel(attempt, WireCode.INTERNAL)

    def _report(self, event: ev.CoordinatorEvent) -> None:
        try:
            match event:
                case ev.AttemptRefused():
                    if (sink := self._sinks.pop(event.attempt, None)) is not None:
                        sink.attempt_refused(event.code)
                case ev.AttemptFinished():
                    if (sink := self._sinks.pop(event.attempt, None)) is not None:
                        sink.attempt_finished()
                case ev.RegisterArrived():
                    self._arm()
                    self._admission = self._tasks.spawn(self._admit(event.frame), name="link-admission")
                case ev.FaultFound():
                    self._on_fault(event.fault)
                    _LOG.warning(
                        "provider broke a rule of the link",
                        extra={"code": event.fault.value, "provider_id": self._session.provider_id},
                    )
                case _:
                    self._tell_gate(event)
        except Exception as error:
            _log_broken("gate or sink", error)

    def _tell_gate(self, event: ev.CoordinatorEvent) -> None:
        match event:
            case ev.CapacityReported():
                self._gate.heartbeat(self.provider_id, event.capacity, link_ms=self._round_trip.ms)
                self._ping()
            case ev.ChallengeAnswered():
                self._gate.challenge_replied(self.provider_id, event.nonce, event.signature)
            case ev.StatementReplaced():
                self._gate.statement_changed(self.provider_id, event.statement)
            case ev.ModelsReplaced():
                self._gate.models_changed(self.provider_id, event.models)
            case ev.LoadRefused():
                self._gate.load_failed(self.provider_id, event.model, event.code)
            case ev.DrainingStarted():
                self._gate.draining(self.provider_id)

    async def _admit(self, registration: Register) -> None:
        try:
            verdict = await self._gate.admit(registration, nonce=self._nonce, link=self, peer=self._peer())
        except Exception as error:
            _log_broken("gate", error)
            verdict = _UNDECIDED
        self._admission = None
        # Nothing is awaited after the verdict: an admitted link serves before anyone can dispatch.
        if isinstance(verdict, Admitted):
            self._session.admit(verdict.provider_id, self._clock.monotonic_s())
            self._flush_control()
            self._arm()
            self._on_registered(self)
            self._ping()
            _LOG.info("provider registered", extra={"provider_id": verdict.provider_id})
        else:
            _LOG.info("provider rejected", extra={"code": verdict.code})
            self._handle(self._session.reject(verdict.code, verdict.hint))

    # The end.

    def _end(self, event: ev.LinkEnded) -> None:
        provider_id = self._session.provider_id
        _LOG.info("link ended", extra={"code": event.code, "provider_id": provider_id, "attempts": len(self._sinks)})
        if event.is_fault_of_peer:
            self._on_fault(event.code)
        if self._admission is not None:
            self._admission.cancel()
        sinks = list(self._sinks.values())
        self._sinks.clear()
        for sink in sinks:
            try:
                sink.link_lost()
            except Exception as error:
                _log_broken("sink", error)
        if provider_id is not None:
            try:
                self._gate.link_lost(provider_id, self)
            except Exception as error:
                _log_broken("gate", error)
        self._on_ended(self)
        self._hang_up(event.code)

    def _hang_up(self, code: str) -> None:
        for timer in (self._deadline, self._stall):
            if timer is not None:
                timer.cancel()
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        self._flush_control()
        transport.send_close(WSCloseCode(close_code_of(code)), code.encode())
        transport.disconnect()
        self._loop.call_later(self._limits.close_s, transport.underlying_transport.abort)

    # Bytes.

    def _flush_control(self) -> None:
        self._outflow.send_control()
        if self._session.lanes.control_bytes > self._limits.control_queue_bytes_max and not self._session.is_closed:
            self._give_up()

    def _give_up(self) -> None:
        self._handle(self._session.receive_foul(LinkFault.STALLED))

    def _send_text(self, raw: bytes) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, raw)

    def _send_binary(self, raw: bytes) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.BINARY, raw)

    def _ping(self) -> None:
        """Measure the link, once an honest heartbeat; a full socket measures only itself."""
        now_s = self._clock.monotonic_s()
        if self._transport is None or self._session.is_closed or self._outflow.is_paused:
            return
        if self._round_trip.is_due(now_s, every_s=self._limits.heartbeat_s / 2):
            token = secrets.token_bytes(_PING_BYTES)
            self._round_trip.ask(token, now_s)
            self._transport.send_ping(token)

    def _arm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._armed_s = self._session.deadline_s
        wait_s = max(0.0, self._armed_s - self._clock.monotonic_s())
        self._deadline = self._loop.call_later(wait_s, self._tick)

    def _tick(self) -> None:
        """Look at the deadline; a heartbeat puts it off without touching the timer, so the timer is set again here."""
        self._handle(self._session.tick(self._clock.monotonic_s()))
        if not self._session.is_closed:
            self._arm()

    def _peer(self) -> str:
        return "" if self._transport is None else peer_address(self._transport.underlying_transport)


def peer_address(transport: asyncio.BaseTransport) -> str:
    """Return the address of the other end without its port, empty when there is none."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) and name else ""


def _bound_unsent(connection: socket.socket | None) -> None:
    """Keep the kernel from hoarding data in front of a cancel: what it has not sent yet stays below one message."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is not None and option is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, MESSAGE_BYTES_MAX)


def _log_broken(what: str, error: Exception) -> None:
    _LOG.error("a callback of the link failed", extra={"callback": what, "error": type(error).__name__})
