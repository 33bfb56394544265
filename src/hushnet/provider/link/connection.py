"""One WebSocket of the provider's link: moves bytes between picows and the session, and events to agent and handler.

No rule of the protocol is here; they are in `wire.provider_session`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AttemptId, ModelId
from hushnet.foundation.redaction import Secret
from hushnet.provider.link.contract import AgentDescription, AttemptHandler
from hushnet.provider.link.introduction import Introduction
from hushnet.sealing.errors import WireCode
from hushnet.wire import events as ev
from hushnet.wire.errors import LinkFault, LinkLost, close_code_of
from hushnet.wire.frames import Hello
from hushnet.wire.lanes import Outflow
from hushnet.wire.limits import MESSAGE_BYTES_MAX, LinkLimits
from hushnet.wire.provider_session import Events, ProviderSession

_LOG = logging.getLogger(__name__)

WRONG_NETWORK: Final = "wrong_network"
AGENT_FAILED: Final = "agent_failed"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended; `rejection` when the coordinator refused the registration."""

    code: str
    was_registered: bool = False
    rejection: ev.RegistrationRejected | None = None


class LinkConnection(WSListener):
    """A dialled socket from the upgrade to its end."""

    def __init__(
        self,
        *,
        agent: AgentDescription,
        token: Secret,
        handler: AttemptHandler,
        clock: Clock,
        limits: LinkLimits,
        on_registered: Callable[[], None],
    ) -> None:
        self._handler = handler
        self._clock = clock
        self._limits = limits
        self._on_registered = on_registered
        self._loop = asyncio.get_running_loop()
        self._session = ProviderSession(limits=limits, now_s=clock.monotonic_s())
        self._introduction = Introduction(agent, token, self._session)
        self._transport: WSTransport | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._blocked: dict[AttemptId, asyncio.Event] = {}
        self._is_congested = False
        self._heartbeat_s = limits.heartbeat_s
        self._announced_s = -math.inf
        self._was_registered = False
        self._rejection: ev.RegistrationRejected | None = None
        self.ended: asyncio.Future[Ending] = self._loop.create_future()
        """Done as soon as the session is over."""
        self.gone = asyncio.Event()
        """Set once the socket is closed."""
        self.quiet = asyncio.Event()
        """Set once the link drains, no attempt is open and nothing waits to be sent."""
        self._outflow = Outflow(
            self._session.lanes,
            send_text=self._send_text,
            send_binary=self._send_binary,
            schedule=self._loop.call_soon,
        )

    def __repr__(self) -> str:
        return f"<LinkConnection {self._session!r}>"

    @property
    def is_registered(self) -> bool:
        return self._session.is_registered

    # What the link calls.

    def announce(self) -> None:
        """Send capacity, and the models when they changed: what changes in one moment goes together.

        The first call is told at the end of the loop's pass, those within `announce_s` of it at the end of that time.
        """
        if self._session.is_registered and "announce" not in self._timers:
            wait_s = max(0.0, self._announced_s + self._limits.announce_s - self._loop.time())
            self._call_later("announce", wait_s, self._announce)

    def announce_statement(self) -> None:
        """Send the statement of the agent's present keys."""
        self._tell(self._introduction.announce_statement)

    def refuse_load(self, model: ModelId, code: str) -> None:
        """Say that a model which the coordinator asked for is not being loaded."""
        self._tell(lambda: self._session.refuse_load(model, code))

    def start_draining(self) -> None:
        """Ask for no more attempts."""
        if self._session.is_registered:
            self._session.start_draining()
            self._flush_control()
            self._note_quiet()

    def close(self, code: str) -> None:
        """Say goodbye and end the link; the handler hears `link_lost` before this returns."""
        self._handle(self._session.close(code))

    # What picows calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        if self._session.is_closed:  # the dial was given up meanwhile
            transport.disconnect(graceful=False)
            return
        transport.underlying_transport.set_write_buffer_limits(high=MESSAGE_BYTES_MAX // 2)
        _bound_unsent(transport.underlying_transport.get_extra_info("socket"))
        self._call_later("register", self._limits.register_s, self._tick)

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        try:
            self._take(frame)
        except Exception as error:
            _log_broken("session", error)
            self.close(LinkFault.INTERNAL)

    def _take(self, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            self._handle(self._session.lose())
        elif not frame.fin or kind == WSMsgType.CONTINUATION:
            self._handle(self._session.receive_foul(LinkFault.BAD_MESSAGE))
        elif kind == WSMsgType.BINARY:
            self._handle(self._session.receive_binary(frame.get_payload_as_bytes()))
        elif kind == WSMsgType.TEXT:
            self._handle(self._session.receive_text(frame.get_payload_as_bytes()))

    def on_ws_disconnected(self, _: WSTransport) -> None:
        self._handle(self._session.lose())
        self.gone.set()

    def pause_writing(self) -> None:
        self._outflow.pause()
        if not self._session.is_closed:
            self._call_later("stall", self._limits.stall_s, self._give_up)

    def resume_writing(self) -> None:
        self._cancel_timer("stall")
        self._outflow.resume()

    # Events.

    def _handle(self, events: Events) -> None:
        for event in events:
            try:
                self._report(event)
            except Exception as error:
                _log_broken("handler", error)
        self._flush_control()
        self._note_quiet()
        if self._session.lanes.has_data:
            self._outflow.wake()

    def _report(self, event: ev.ProviderEvent) -> None:
        match event:
            case ev.CreditArrived():
                self._unblock(event.attempt)
            case ev.AttemptArrived():
                self._start(event)
            case ev.AttemptCancelled():
                self._unblock(event.attempt)
                self._handler.attempt_cancelled(event.attempt, event.code)
            case ev.LoadModelAsked():
                self._handler.load_model_requested(event.model)
            case ev.UnloadModelAsked():
                self._handler.unload_model_requested(event.model)
            case ev.DrainAsked():
                self._handler.drain_requested()
            case ev.FaultReported():
                _LOG.error("the coordinator reports a broken rule", extra={"code": event.code})
            case _:
                self._report_about_link(event)

    def _report_about_link(self, event: ev.ProviderEvent) -> None:
        match event:
            case ev.HelloArrived():
                self._register(event.frame)
            case ev.RegistrationAccepted():
                self._cancel_timer("register")
                self._was_registered = True
                self._heartbeat_s = event.heartbeat_s
                self._call_later("heartbeat", self._heartbeat_s, self._beat)
                self._on_registered()
                self._tell(self._introduction.catch_up)
            case ev.RegistrationRejected():
                self._rejection = event
            case ev.ChallengeArrived():
                self._introduction.reply(event.nonce)
            case ev.LinkEnded():
                self._end(event)

    def _register(self, hello: Hello) -> None:
        try:
            is_ours = self._introduction.register(hello)
        except Exception as error:
            _log_broken("agent", error)
            self.close(AGENT_FAILED)
        else:
            if not is_ours:
                self.close(WRONG_NETWORK)

    def _tell(self, what: Callable[[], None]) -> None:
        if not self._session.is_registered:
            return
        try:
            what()
        except Exception as error:
            _log_broken("agent", error)
        self._flush_control()

    def _start(self, event: ev.AttemptArrived) -> None:
        writer = _Writer(self, event.attempt)
        try:
            self._handler.attempt_arrived(event.attempt, event.envelope, event.deadline_ms, writer)
        except Exception as error:
            _log_broken("handler", error)
            writer.refuse(WireCode.INTERNAL)

    def _announce(self) -> None:
        """Say how things stand; nothing that was to be announced is left to say."""
        self._cancel_timer("announce")
        self._announced_s = self._loop.time()
        self._tell(self._introduction.announce)

    def _beat(self) -> None:
        self._announce()
        if self._session.is_registered:
            self._call_later("heartbeat", self._heartbeat_s, self._beat)

    # What writers call.

    def write(self, attempt: AttemptId, record: bytes) -> None:
        if self._session.attempts.write(attempt, record):
            self._outflow.wake()

    async def ready(self, attempt: AttemptId) -> None:
        while not self._session.is_closed:
            if self._session.attempts.is_ready(attempt):
                return
            self._is_congested = self._session.is_congested
            changed = self._blocked.setdefault(attempt, asyncio.Event())
            await changed.wait()
        raise LinkLost("the link ended")

    def refuse(self, attempt: AttemptId, code: int) -> None:
        self._session.attempts.refuse(attempt, code)
        self._unblock(attempt)
        self._flush_control()
        self._note_quiet()

    def finish(self, attempt: AttemptId) -> None:
        self._session.attempts.finish(attempt)
        self._unblock(attempt)

    # The end.

    def _end(self, event: ev.LinkEnded) -> None:
        for name in list(self._timers):
            self._cancel_timer(name)
        self._unblock_all()
        self._hang_up(event.code)
        if not self.ended.done():
            self.ended.set_result(Ending(event.code, self._was_registered, self._rejection))
        if self._was_registered:
            self._handler.link_lost()

    def _hang_up(self, code: str) -> None:
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        self._flush_control()
        transport.send_close(WSCloseCode(close_code_of(code)), code.encode())
        transport.disconnect()
        self._loop.call_later(self._limits.close_s, transport.underlying_transport.abort)

    # Bytes and time.

    def _flush_control(self) -> None:
        self._outflow.send_control()
        if self._session.lanes.control_bytes > self._limits.control_queue_bytes_max and not self._session.is_closed:
            self._give_up()

    def _unblock(self, attempt: AttemptId) -> None:
        self._outflow.wake()
        changed = self._blocked.pop(attempt, None)
        if changed is not None:
            changed.set()

    def _unblock_all(self) -> None:
        self._is_congested = False
        for changed in self._blocked.values():
            changed.set()
        self._blocked.clear()

    def _note_quiet(self) -> None:
        if self._session.is_quiet:
            self.quiet.set()

    def _give_up(self) -> None:
        self._handle(self._session.receive_foul(LinkFault.STALLED))

    def _send_text(self, raw: bytes) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, raw)
        self._note_quiet()

    def _send_binary(self, raw: bytes) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.BINARY, raw)
        if self._is_congested and not self._session.is_congested:
            self._unblock_all()

    def _tick(self) -> None:
        """Look at the deadline; a loop's timer may fire a moment before the clock gets there, so it is set again."""
        self._handle(self._session.tick(self._clock.monotonic_s()))
        deadline_s = self._session.deadline_s
        if not self._session.is_closed and deadline_s is not None:
            self._call_later("register", max(0.001, deadline_s - self._clock.monotonic_s()), self._tick)

    def _call_later(self, name: str, wait_s: float, work: Callable[[], None]) -> None:
        self._cancel_timer(name)
        self._timers[name] = self._loop.call_later(wait_s, work)

    def _cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


class _Writer:
    """The `AttemptWriter` of one attempt; it belongs to one connection, so numbers of the next link never meet it."""

    __slots__ = ("_attempt", "_connection")

    def __init__(self, connection: LinkConnection, attempt: AttemptId) -> None:
        self._connection = connection
        self._attempt = attempt

    def write(self, record: bytes) -> None:
        self._connection.write(self._attempt, record)

    async def ready(self) -> None:
        await self._connection.ready(self._attempt)

    def refuse(self, code: int) -> None:
        self._connection.refuse(self._attempt, code)

    def finish(self) -> None:
        self._connection.finish(self._attempt)


def _bound_unsent(connection: socket.socket | None) -> None:
    """Keep the kernel from hoarding records: what it has not sent yet stays below one message, the rest waits in order."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is not None and option is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, MESSAGE_BYTES_MAX)


def _log_broken(what: str, error: Exception) -> None:
    _LOG.error("a callback of the link failed", extra={"callback": what, "error": type(error).__name__})
