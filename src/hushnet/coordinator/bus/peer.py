"""One connection to another worker: frames in and out, several a write, everything bounded.

What is sent in one pass of the event loop leaves as one write; `send_now` takes along what waits, so order holds. A peer
that hangs, says something else than a frame, or lets too much wait is dropped; its connection says so exactly once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from asyncio import Protocol as SocketProtocol
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import msgspec

from hushnet.coordinator.bus.frames import MESH_VERSION, Answer, AnyFrame, Beat, Hello, decode, encode
from hushnet.coordinator.bus.framing import LENGTH, FrameReader
from hushnet.coordinator.bus.limits import MeshLimits
from hushnet.foundation.errors import RemoteProtocolError

if TYPE_CHECKING:
    from hushnet.coordinator.bus.mesh import Mesh

_LOG = logging.getLogger(__name__)


class Peer(SocketProtocol):
    """The other worker, as one connection sees it; `worker` is 0 until it has said who it is."""

    def __init__(self, mesh: Mesh, limits: MeshLimits) -> None:
        self.worker = 0
        self.is_drained = False
        self.gone = asyncio.Event()
        """Set once the connection is over."""
        self._mesh = mesh
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(limits.frame_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_flush_due = False
        self._stall: asyncio.TimerHandle | None = None
        self._hello: asyncio.TimerHandle | None = None
        self._silent_beats = 0
        self._asks: dict[int, asyncio.Future[Answer | None]] = {}
        self._ask_numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Peer {self.worker}{' gone' if self.gone.is_set() else ''}, {self.queued} bytes waiting>"

    @property
    def is_up(self) -> bool:
        return self.worker != 0 and not self.gone.is_set()

    @property
    def queued(self) -> int:
        """Bytes that have not reached the socket yet."""
        return self._waiting_bytes + (self._transport.get_write_buffer_size() if self._transport else 0)

    # Sending.

    def send(self, frame: AnyFrame) -> None:
        """Let `frame` leave at the end of this pass of the loop; nothing happens once the peer is gone."""
        if self.gone.is_set():
            return
        payload = encode(frame)
        self._waiting += (LENGTH.pack(len(payload)), payload)
        self._waiting_bytes += LENGTH.size + len(payload)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def send_now(self, frame: AnyFrame) -> None:
        """Send `frame`, and what waits before it, in this very step."""
        self.send(frame)
        self._flush()

    async def ask(self, make: Callable[[int], AnyFrame]) -> Answer | None:
        """Ask a question and wait for its answer; None when the peer is lost before, or does not answer in time."""
        if not self.is_up or len(self._asks) >= self._limits.asks_max:
            return None
        number = next(self._ask_numbers)
        answer: asyncio.Future[Answer | None] = self._loop.create_future()
        self._asks[number] = answer
        self.send_now(make(number))
        try:
            async with asyncio.timeout(self._limits.ask_s):
                return await answer
        except TimeoutError:
            _LOG.warning("a worker did not answer", extra={"peer": self.worker})
            return None
        finally:
            self._asks.pop(number, None)

    def beat(self) -> None:
        """Say that this loop runs, and look whether the other's does; called by the mesh once a beat."""
        self._silent_beats += 1
        if self._silent_beats > self._limits.silent_beats_max:
            self.drop("silent")
        else:
            self.send(Beat())

    def drop(self, reason: str) -> None:
        """End the connection; the mesh hears of it before this returns."""
        if self.gone.is_set():
            return
        if reason:
            _LOG.warning("a worker was dropped", extra={"peer": self.worker, "reason": reason})
        if self._transport is not None:
            self._transport.abort()
        self._end()

    # The socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.gone.is_set():
            self._transport.abort()
            return
        high = self._limits.high_bytes
        self._transport.set_write_buffer_limits(high=high, low=high // 4)
        self._hello = self._loop.call_later(self._limits.hello_s, self.drop, "hello_late")
        self.send_now(Hello(MESH_VERSION, self._mesh.worker, self._mesh.network))

    def data_received(self, data: bytes) -> None:
        self._silent_beats = 0
        try:
            for payload in self._reader.feed(data):
                self._take(decode(payload))
                if self.gone.is_set():
                    return
        except (RemoteProtocolError, msgspec.MsgspecError):
            self.drop("bad_frame")

    def connection_lost(self, error: Exception | None) -> None:
        self._end()

    def pause_writing(self) -> None:
        if self._stall is None:
            self._stall = self._loop.call_later(self._limits.stall_s, self.drop, "stalled")

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    # Inside.

    def _take(self, frame: AnyFrame) -> None:
        match frame:
            case Beat():
                return
            case Answer():
                answer = self._asks.get(frame.ask)
                if answer is not None and not answer.done():
                    answer.set_result(frame)
            case Hello():
                self._greet(frame)
            case _ if self.worker == 0:
                self.drop("no_hello")
            case _:
                self._mesh.arrived(self, frame)

    def _greet(self, hello: Hello) -> None:
        is_ours = hello.version == MESH_VERSION and hello.network == self._mesh.network
        if self.worker or not is_ours or hello.worker == self._mesh.worker or not 1 <= hello.worker <= self._mesh.count:
            self.drop("bad_hello")
            return
        if self._hello is not None:
            self._hello.cancel()
        self.worker = hello.worker
        self._mesh.greeted(self)

    def _flush(self) -> None:
        self._is_flush_due = False
        if not self._waiting or self._transport is None:
            return
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._limits.queue_bytes_max:
            self.drop("overflow")

    def _end(self) -> None:
        if self.gone.is_set():
            return
        self.gone.set()
        self._transport = None
        self._waiting.clear()
        self._waiting_bytes = 0
        for timer in (self._stall, self._hello):
            if timer is not None:
                timer.cancel()
        for answer in self._asks.values():
            if not answer.done():
                answer.set_result(None)
        self._mesh.lost(self)
