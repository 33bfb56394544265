"""The direct line: chunks of a streamed answer go straight to the consumer's transport, past ASGI's `send`.

An ASGI extension (`scope["extensions"][EXTENSION]`) that `protocol.py` offers with every request. uvicorn writes the
head and the last chunk, the line only what is between them, in the chunked form that uvicorn chose. Where its assumptions
do not hold it declines, and the application uses `send`: both ways give the same bytes. Middleware that wraps `send`
does not see what goes this way.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Final

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

EXTENSION: Final = "hushnet.stream"


class LoopPass:
    """The lines that one pass of the event loop has written to; each is sent once, when the pass has read everything.

    All system calls of a pass together, after all decoding, is less work for the processor's caches than turn by turn.
    """

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: list[DirectLine] = []

    def add(self, line: DirectLine) -> None:
        """Send `line` at the end of this pass."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._end)
        self._lines.append(line)

    def _end(self) -> None:
        lines, self._lines = self._lines, []
        for line in lines:
            try:
                line.flush()
            except RuntimeError:  # uvloop's way to say that the transport was closed in this pass
                line.end()


class DirectLine:
    """One answer's way to its socket. Writing never blocks; `is_writable` is false while the send buffer is full."""

    __slots__ = (
        "_cycle",
        "_data",
        "_loop_pass",
        "_more",
        "_on_open",
        "_on_writable",
        "_write",
        "is_writable",
        "transport",
    )

    def __init__(
        self,
        cycle: RequestResponseCycle,
        transport: asyncio.Transport,
        *,
        loop_pass: LoopPass,
        on_open: Callable[[DirectLine], None],
    ) -> None:
        self._data = b""
        self._more: list[bytes] = []
        """What a pass brought after its first piece, which is all that most bring."""
        # The cycle's scope leads here: a strong reference back would keep every request until the collector finds it.
        self._cycle = weakref.ref(cycle)
        self._loop_pass = loop_pass
        self._on_open = on_open
        self._on_writable: Callable[[], None] | None = None
        """Set while the line is open."""
        self._write = transport.write
        self.transport = transport
        self.is_writable = False

    def open(self, on_writable: Callable[[], None]) -> bool:
        """Begin to write, once the head has been sent; False when this answer must go through `send`.

        `on_writable` is called each time the buffer has room again.
        """
        cycle = self._cycle()
        if cycle is None:
            return False
        is_ours = (
            cycle.response_started
            and not cycle.response_complete
            and cycle.chunked_encoding is True
            and cycle.scope["method"] != "HEAD"
            and not cycle.disconnected
            and not self.transport.is_closing()
        )
        if is_ours:
            self._on_writable = on_writable
            self.is_writable = not cycle.flow.write_paused
            self._on_open(self)
        return is_ours

    def write(self, data: bytes) -> None:
        """Write `data`, not empty; only while `is_writable`. What one pass of the event loop brings leaves as one chunk."""
        if self._data:
            self._more.append(data)
        else:
            self._data = data
            self._loop_pass.add(self)

    def flush(self) -> None:
        """Send what was written in this pass now."""
        data = self._data
        if data:
            self._data = b""
            if self._more:
                data = b"".join((data, *self._more))
                self._more.clear()
            self._write(b"%x\r\n%b\r\n" % (len(data), data))

    # What the protocol says.

    def pause(self) -> None:
        """The send buffer is full."""
        self.is_writable = False

    def resume(self) -> None:
        """The send buffer has room again."""
        if self._on_writable is not None:
            self.is_writable = True
            self._on_writable()

    def end(self) -> None:
        """Nothing may be written any more: the answer is complete, or the connection is gone."""
        self.is_writable = False
        self._on_writable = None
        self._data = b""
        self._more.clear()


def line_of(scope: Scope) -> DirectLine | None:
    """Return the line that this request was offered; None where another server runs the application."""
    line = scope.get("extensions", {}).get(EXTENSION)
    return line if isinstance(line, DirectLine) else None
