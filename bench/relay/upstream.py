"""The synthetic provider that speaks HTTP: an OpenAI server cheap enough to share two cores with what is measured.

`python -m bench.relay.upstream` prints its port and serves until its standard input closes. Emission is paced by one
timer of a millisecond for all streams, as coarse as libuv's own; a stream that falls behind catches up.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from typing import Final, Protocol, cast

import msgspec
import uvloop

from bench.relay.instructions import MODEL, EventWriter, Instructions, completion, ending, read_chat

TICK_NS: Final = 1_000_000
BURST: Final = 64
"""Chunks written at once by a stream without a pace."""
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_MODELS: Final = msgspec.json.encode(
    {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "bench", "root": MODEL}]}
)
_SERVER_INFO: Final = msgspec.json.encode({"model_path": MODEL, "served_model_name": MODEL, "is_generation": True})
_DOCUMENTS: Final = {
    b"/v1/models": _MODELS,
    b"/get_model_info": _SERVER_INFO,
    b"/get_server_info": _SERVER_INFO,
    b"/model_info": _SERVER_INFO,
    b"/server_info": _SERVER_INFO,
}


class Emitter(Protocol):
    """One paced answer; also the sealed ones of `synthetic`."""

    def emit(self) -> None: ...


class Pace:
    """Emits what is due, millisecond by millisecond, for every stream of the process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, list[Emitter]] = {}
        self._last = time.monotonic_ns() // TICK_NS
        self._is_ticking = False

    def add(self, stream: Emitter, due_ns: int) -> None:
        """Have `stream` emit its next chunk at `due_ns`."""
        self._due.setdefault(max(due_ns // TICK_NS, self._last + 1), []).append(stream)
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.call_later(0.001, self._tick)

    def _tick(self) -> None:
        now, last, due = time.monotonic_ns() // TICK_NS, self._last, self._due
        self._last = now  # what is asked for from here on belongs to a later tick, however late it is already
        for tick in range(last + 1, now + 1) if now - last < len(due) else sorted(due):
            if tick <= now:
                for stream in due.pop(tick, ()):
                    stream.emit()
        self._is_ticking = bool(due)
        if due:
            self._loop.call_later(0.001, self._tick)


class Stream:
    """One answer that is being streamed."""

    __slots__ = ("_connection", "_due_ns", "_left", "_pace", "_period_ns", "_writer", "is_over")

    def __init__(self, connection: Connection, instructions: Instructions) -> None:
        self._connection = connection
        self._pace = connection.pace
        self._left = instructions.chunks
        self._period_ns = int(1e9 / instructions.rate) if instructions.rate else 0
        self._writer = EventWriter(instructions.bytes, b"%x\r\n" % instructions.bytes, b"\r\n")
        self._due_ns = time.monotonic_ns() + int(instructions.delay_ms * 1e6)
        self.is_over = False
        if instructions.delay_ms:
            self._pace.add(self, self._due_ns)
        else:
            self.emit()

    def emit(self) -> None:
        """Write what is due and ask for the next turn."""
        if self.is_over:
            return
        if not self._period_ns:
            self.burst()
            return
        if self._left:
            self._left -= 1
            self._connection.transport.write(self._writer.next(time.monotonic_ns()))
        if not self._left:
            self._finish()
            return
        self._due_ns += self._period_ns
        self._pace.add(self, self._due_ns)

    def burst(self) -> None:
        """Write as long as the socket takes it, a batch at a time."""
        connection, write = self._connection, self._writer.next
        while self._left and not self.is_over and not connection.is_paused:
            count = min(BURST, self._left)
            self._left -= count
            connection.transport.write(b"".join([write(time.monotonic_ns()) for _ in range(count)]))
        if not self._left and not self.is_over:
            self._finish()

    def _finish(self) -> None:
        self.is_over = True
        end = ending()
        self._connection.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))
        self._connection.next_request()


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection: requests one after another, kept alive."""

    transport: asyncio.Transport

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.is_paused = False
        self._buffer = b""
        self._stream: Stream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._stream is None:
            self.next_request()

    def next_request(self) -> None:
        """Answer what has arrived whole."""
        self._stream = None
        while self._buffer and self._stream is None:
            try:
                request = split_request(self._buffer)
            except (ValueError, IndexError):
                self.transport.close()  # no HTTP/1.1: a router asks whether other protocols are spoken here
                return
            if request is None:
                return
            path, body, self._buffer = request
            self._answer(path, body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path != b"/v1/chat/completions":
            self._document(_DOCUMENTS.get(path, b"{}"))
            return
        try:
            instructions, is_stream = read_chat(body)
        except (msgspec.MsgspecError, ValueError) as error:
            self._document(msgspec.json.encode({"error": {"message": str(error)}}), b"400 Bad Request")
            return
        if not is_stream:
            self._document(completion(instructions))
            return
        self.transport.write(_STREAM_HEAD)
        stream = Stream(self, instructions)
        self._stream = None if stream.is_over else stream

    def _document(self, document: bytes, status: bytes = b"200 OK") -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % (status, len(document)) + document)

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        if self._stream is not None:
            self._stream.emit()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stream is not None:
            self._stream.is_over = True
            self._stream = None


def split_request(buffer: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return path, body and what follows the first whole request in `buffer`; None when there is none yet."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = buffer[:end].lower()
    path = buffer[: buffer.index(b"\r\n")].split(b" ")[1].partition(b"?")[0]
    if b"\r\ntransfer-encoding: chunked" in head:
        return _split_chunked(path, buffer, end + 4)
    at = head.find(b"\r\ncontent-length:")
    size = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    stop = end + 4 + size
    return (path, buffer[end + 4 : stop], buffer[stop:]) if len(buffer) >= stop else None


def _split_chunked(path: bytes, buffer: bytes, at: int) -> tuple[bytes, bytes, bytes] | None:
    parts: list[bytes] = []
    while (line := buffer.find(b"\r\n", at)) >= 0:
        size = int(buffer[at:line].split(b";")[0], 16)
        at = line + 2 + size + 2
        if len(buffer) < at:
            return None
        if not size:
            return path, b"".join(parts), buffer[at:]
        parts.append(buffer[line + 2 : at - 2])
    return None


async def serve(host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
    """Listen; the caller closes what is returned."""
    loop = asyncio.get_running_loop()
    pace = Pace(loop)
    return await loop.create_server(lambda: Connection(pace), host, port, backlog=4096)


async def main() -> None:
    """Serve until standard input closes."""
    server = await serve()
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=watch, daemon=True).start()
    gc.freeze()
    gc.set_threshold(50_000)
    await closed.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
