"""uvicorn's httptools protocol with the limits that it lacks: size and time of headers, connections, stalled readers.

It leans on attributes of uvicorn 0.54 that are not public: `tests/integration/control/test_http_limits.py` is the
conformance test that a new version must pass. A connection is always in one of these states, and every state in which it
waits for the peer has a timer:

    waiting for a request → reading its headers → the application runs → waiting …
                                                   └ answered before the body was read → discarding the body

A connection that is refused or closed early is half-closed and what still arrives is discarded for a while, so that the
peer can read the answer instead of a reset.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from hushnet.coordinator.api import problems
from hushnet.coordinator.api.http.direct import EXTENSION, DirectLine, LoopPass

PIPELINED_MAX: Final = 8

# uvicorn warns of each bad request, so that anybody could fill the disk; they are counted instead.
_UVICORN_LOG: Final = logging.getLogger(f"{__name__}.uvicorn")
_UVICORN_LOG.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may use, and how many there may be."""

    connections_max: int
    header_bytes_max: int
    header_s_max: float
    write_stall_s_max: float
    discard_bytes_max: int = 100 * 1024 * 1024
    """An early answer to a body of 64 MiB still reaches a client that reads only after it has sent everything."""
    discard_s_max: float = 20.0


class _OverLimitError(Exception):
    """Leaves a parser callback; httptools wraps it and uvicorn asks for a 400, which `send_400_response` replaces."""


class _GentlyClosed:
    """The transport as a cycle sees it: writes go straight through, a close spares what the peer is still sending."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class GuardedHttpProtocol(HttpToolsProtocol):
    """One HTTP connection inside `ConnectionLimits`; `on_cut` hears the code of every limit that ended one.

    All connections of one event loop share `loop_pass`.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
        on_cut: Callable[[str], None],
        loop_pass: LoopPass,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _UVICORN_LOG
        self._limits = limits
        self._on_cut = on_cut
        self._timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._cycles: list[RequestResponseCycle] = []
        self._loop_pass = loop_pass
        self._line: DirectLine | None = None
        self._is_in_head = False
        self._is_body_complete = True
        self._is_discarding = False
        self._head_bytes = 0
        self._discarded_bytes = 0
        self._refusal = ""

    # What the transport says.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._gently_closed = _GentlyClosed(transport, self._close_gently)
        if len(self.connections) > self._limits.connections_max:
            self._refuse("too_many_connections")
        else:
            self._start_timer(self._limits.header_s_max, self._header_time_is_up)

    def data_received(self, data: bytes) -> None:
        if self._is_discarding:
            self._count_discarded(len(data))
            return
        was_in_head = self._is_in_head
        was_idle = not was_in_head and self._is_body_complete
        is_unwanted = self._is_body_unwanted()
        super().data_received(data)
        if self.transport.is_closing() or self._is_discarding:
            return
        if self._is_in_head:
            self._head_bytes += len(data) if was_in_head or was_idle else 0
            if self._head_bytes > self._limits.header_bytes_max:
                self._refuse("headers_too_large")
        elif is_unwanted:
            self._count_discarded(len(data))
        if self._is_waiting() and self._timer is None and self.timeout_keep_alive_task is None:
            self._start_timer(self._limits.header_s_max, self._header_time_is_up)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._line is not None:
            self._line.pause()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self._limits.write_stall_s_max, self._cut, "stalled_reader")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_stall_timer()
        if self._line is not None:
            self._line.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_stall_timer()
        self._end_line()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()
        self._cycles.clear()
        self._let_go()

    # What the parser says.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._is_body_complete = False
        self._head_bytes = 0
        self._discarded_bytes = 0
        if self._timer is None:
            self._start_timer(self._limits.header_s_max, self._header_time_is_up)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            super().on_header(name, value)
            return
        # A trailer: it names nothing that we use, and must not become a header after the headers were judged.
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.header_bytes_max:
            self._refusal = "headers_too_large"
            raise _OverLimitError

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.header_bytes_max:
            self._refusal = "headers_too_large"
            raise _OverLimitError
        self._is_in_head = False
        self._head_bytes = size
        self._stop_timer()
        super().on_headers_complete()
        cycle = self.cycle
        cycle.transport = self._gently_closed  # type: ignore[assignment]
        if self.parser.should_upgrade():
            cycle.keep_alive = False
        line = DirectLine(cycle, self.transport, loop_pass=self._loop_pass, on_open=self._begin_line)
        self.scope["extensions"] = {EXTENSION: line}  # type: ignore[dict-item]  # any object, not only a dict
        self._cycles.append(cycle)
        if len(self.pipeline) > PIPELINED_MAX:
            self._cut("pipelined")

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_body_complete = True
        if self._is_waiting() and self.timeout_keep_alive_task is None:
            self._stop_timer()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        self._end_line()
        self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete]
        if self._is_discarding:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()
        if not self.transport.is_closing() and self._is_body_unwanted():
            self._start_timer(self._limits.discard_s_max, self._cut, "discarded_body")

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or "bad_http")

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it had not asked for an upgrade."""

    # The direct line of the answer that is being written; at most one, because answers follow one another.

    def _begin_line(self, line: DirectLine) -> None:
        self._line = line

    def _end_line(self) -> None:
        if self._line is not None:
            self._line.end()
            self._line = None

    # What follows from it.

    def _is_waiting(self) -> bool:
        """Say whether nothing runs here, so that the next move is the peer's."""
        return not self._cycles and self._is_body_complete

    def _is_body_unwanted(self) -> bool:
        """Say whether the rest of a body is arriving whose request was answered already."""
        return not self._cycles and not self._is_in_head and not self._is_body_complete

    def _header_time_is_up(self) -> None:
        self._timer = None
        if self._cycles:
            # An answer is under way before these headers: let it end, then close.
            self._cycles[-1].keep_alive = False
            self.flow.pause_reading()
        elif self._is_in_head:
            self._refuse("request_timeout")
        else:
            self.transport.close()

    def _refuse(self, code: str) -> None:
        """Answer with an error of this layer and end the connection."""
        if self._is_discarding or self.transport.is_closing():
            return
        self._on_cut(code)
        if self._cycles:
            self.transport.close()
            return
        problem = problems.problem_of(code)
        body = problems.openai_body(problem)
        headers = problems.problem_headers(problem, content_type=problems.OPENAI_JSON, length=len(body))
        lines = [STATUS_LINE[problem.status]]
        for name, value in [*self.server_state.default_headers, *headers, (b"connection", b"close")]:
            lines += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*lines, b"\r\n", body]))
        if code == "too_many_connections":
            self.transport.close()
            return
        self._is_body_complete = False
        self._close_gently()

    def _close_gently(self) -> None:
        """Close for writing; discard what the peer is still sending, within limits, so that no reset beats the answer."""
        if self.transport.is_closing() or self._is_discarding:
            return
        if self._is_body_complete or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self._is_discarding = True
        self.flow.resume_reading()
        self._start_timer(self._limits.discard_s_max, self.transport.close)

    def _count_discarded(self, count: int) -> None:
        self._discarded_bytes += count
        if self._discarded_bytes > self._limits.discard_bytes_max:
            self._cut("discarded_body")

    def _cut(self, reason: str) -> None:
        """End the connection at once."""
        self._timer = None
        self._on_cut(reason)
        self.transport.abort()

    def _let_go(self) -> None:
        """Break the circles of references of a lost connection, which the collector would find only after thousands of them."""
        self.cycle = self.scope = self._gently_closed = None  # type: ignore[assignment]
        self.pipeline.clear()

    def _start_timer(self, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, action, *arguments)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
