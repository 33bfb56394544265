"""Consumers on real sockets that read as a test says, and providers that talk as far as their credit lets them.

`listening` puts the application of a `Network` (fleet.py) behind the coordinator's own HTTP listener; its clock still
stands until a test moves it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from hushnet.coordinator.api.http import HttpListener
from hushnet.coordinator.api.http.reader import SocketReader
from hushnet.coordinator.serving.life import Life
from hushnet.coordinator.settings import HttpSettings
from hushnet.coordinator.telemetry import Metrics
from hushnet.dialects.openai_chat import Delta
from hushnet.sealing.envelope import SealedRequest
from hushnet.sealing.streaming import MEDIA_REQUEST, MEDIA_STREAM
from support.fleet import MODEL, PATH, Network, ServedAttempt

RECEIVE_BYTES = 16 * 1024
SECONDS_MAX = 60.0


@asynccontextmanager
async def listening(network: Network) -> AsyncIterator[HttpListener]:
    """Serve `network` on a loopback port."""
    settings = HttpSettings(port=0, drain_s_max=0.1)
    listener = HttpListener(network.application, settings=settings, metrics=Metrics())
    await listener.start()
    try:
        yield listener
    finally:
        await listener.aclose()


@dataclass
class Talker:
    """Plays one attempt inside its credit: numbered words, each with its meter; closes it after `words`, if ever."""

    attempt: ServedAttempt
    window: int
    words: int | None = None
    padding: int = 0
    said: int = 0
    ahead_most: int = 0
    """The most record bytes that were sent beyond the credit that had come back."""
    _is_going: bool = False

    def start(self) -> None:
        self.attempt.on_credit = self._soon
        self.attempt.head()
        self.go()

    @property
    def ahead(self) -> int:
        return self.attempt.sent_bytes - self.attempt.granted

    def go(self) -> None:
        """Say what the credit allows; what comes back meanwhile counts in the next pass of the loop, as over a link."""
        self._is_going = False
        attempt, allowed = self.attempt, self.window - self.ahead
        end = attempt.sent_bytes + allowed
        while not attempt.is_over and attempt.cancelled is None and attempt.sent_bytes < end:
            if self.said == self.words:
                attempt.end()
                return
            self._say_one()

    def _soon(self) -> None:
        if not self._is_going:
            self._is_going = True
            asyncio.get_running_loop().call_soon(self.go)

    def _say_one(self) -> None:
        attempt = self.attempt
        attempt.output += 1
        delta = attempt.stream.delta(Delta(f"<{self.said}>" + "x" * self.padding, 1))
        attempt.send(attempt.sealer.content(delta), attempt.sealer.usage(attempt.meter()))
        self.said += 1
        self.ahead_most = max(self.ahead_most, self.ahead)


@dataclass
class SocketConsumer:
    """One request on a socket with a small receive buffer; nothing is read before a test says so."""

    line: socket.socket
    version: str = "1.1"
    received: bytearray = field(default_factory=bytearray)

    @staticmethod
    async def connect(port: int) -> SocketConsumer:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        line.setblocking(False)
        await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", port))
        return SocketConsumer(line)

    async def chat(self, key: str, **members: Any) -> None:
        """Send a standard request."""
        messages = [{"role": "user", "content": "hi"}]
        document = {"model": MODEL, "messages": messages, "stream": True, "max_tokens": 4000, **members}
        await self._post(key, json.dumps(document).encode(), {"content-type": "application/json"})

    async def send_sealed(self, key: str, sealed: SealedRequest, *, is_binary: bool) -> None:
        accept = MEDIA_STREAM if is_binary else "text/event-stream"
        await self._post(key, sealed.raw, {"content-type": MEDIA_REQUEST, "accept": accept})

    async def read(self, count: int) -> bytes:
        """Read once, at most `count` bytes; empty at the end."""
        async with asyncio.timeout(SECONDS_MAX):
            piece = await asyncio.get_running_loop().sock_recv(self.line, count)
        self.received += piece
        return piece

    async def read_to_end(self) -> None:
        while await self.read(64 * 1024):
            pass

    def close(self) -> None:
        self.line.close()

    @property
    def head(self) -> bytes:
        return bytes(self.received.partition(b"\r\n\r\n")[0])

    @property
    def body(self) -> bytes:
        """What has come of the answer's body, out of its HTTP chunks."""
        rest, body = bytes(self.received.partition(b"\r\n\r\n")[2]), []
        if b"transfer-encoding: chunked" not in self.head.lower():
            return rest
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size or b"0", 16)
            body.append(rest[:length])
            rest = rest[length + 2 :]
        return b"".join(body)

    @property
    def is_ended_by_http(self) -> bool:
        """Whether the body ended as HTTP ends one, rather than with the connection."""
        return self.received.endswith(b"\r\n0\r\n\r\n")

    async def _post(self, key: str, body: bytes, headers: dict[str, str]) -> None:
        lines = [f"POST {PATH} HTTP/{self.version}", "host: x", "connection: close", f"authorization: Bearer {key}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()
        await asyncio.get_running_loop().sock_sendall(self.line, head + body)


def lives_of(network: Network) -> list[Life]:
    """The requests that run."""
    return list(network.serving.service._lives)


def is_shut(life: Life) -> bool:
    """Whether this request's window is full and its consumer's is shut."""
    reader = life.outlet.reader
    look = reader.look() if reader is not None else None
    return life.outlet.is_saturated and look is not None and look.is_shut


def bytes_held(life: Life) -> int:
    """Bytes of one answer that wait in this process for their consumer."""
    reader = life.outlet.reader
    assert isinstance(reader, SocketReader)
    transport = reader._transport
    assert hasattr(transport, "get_write_buffer_size")
    return sum(map(len, life.outlet._chunks)) + int(transport.get_write_buffer_size())
