"""What is known of a reader, on real sockets: it stops, it reads on, it is only far away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

import pytest

from hushnet.coordinator.api.http import bind
from hushnet.coordinator.api.http.reader import UNSENT_BYTES, SocketReader, keep_unsent_low, parse
from hushnet.coordinator.serving.rules.progress import ReaderLook

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")

SECONDS_MAX = 60.0
PIECE = b"x" * 1024


@dataclass
class Pair:
    """Both ends of one connection: our transport, and the reader's socket, which reads when a test says so."""

    transport: asyncio.Transport
    reader: socket.socket
    probe: SocketReader

    def look(self) -> ReaderLook:
        look = self.probe.look()
        assert look is not None
        return look

    async def fill(self) -> None:
        """Write until nothing more leaves for want of a reader."""
        async with asyncio.timeout(SECONDS_MAX):
            while not self.look().is_shut:
                if self.transport.get_write_buffer_size() < 64 * 1024:
                    self.transport.write(PIECE)
                await asyncio.sleep(0)

    async def read(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SECONDS_MAX):
            while count > 0:
                count -= len(await loop.sock_recv(self.reader, min(count, 65536)))

    async def until(self, condition: Callable[[ReaderLook], bool]) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not condition(self.look()):  # noqa: ASYNC110 - the kernel offers no event for it
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Edge(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(cast(asyncio.Transport, transport))

    bound = bind("127.0.0.1", 0, setting="http.port")
    server = await loop.create_server(Edge, sock=bound)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    reader.setblocking(False)
    await loop.sock_connect(reader, bound.getsockname())
    transport = await made
    try:
        yield Pair(transport, reader, SocketReader(transport))
    finally:
        transport.abort()
        reader.close()
        server.close()
        await server.wait_closed()


async def test_a_reader_that_stops_shuts_its_window() -> None:
    async with connected() as pair:
        assert not pair.look().is_shut

        await pair.fill()

        assert pair.look().acknowledged > 0


async def test_a_shut_window_opens_when_the_reader_reads_on_and_its_bytes_are_counted() -> None:
    async with connected() as pair:
        await pair.fill()
        before = pair.look().acknowledged

        await pair.read(before)

        await pair.until(lambda look: look.acknowledged > before)
        assert pair.look().quiet_s < SECONDS_MAX


async def test_everything_that_was_read_is_acknowledged() -> None:
    async with connected() as pair:
        pair.transport.write(PIECE * 8)
        await pair.read(len(PIECE) * 8)

        await pair.until(lambda look: look.acknowledged >= len(PIECE) * 8)
        assert not pair.look().is_shut


async def test_a_connection_with_nothing_to_send_is_not_shut() -> None:
    async with connected() as pair:
        assert not pair.look().is_shut


async def test_the_kernel_keeps_little_for_a_reader_that_has_stopped() -> None:
    async with connected() as pair:
        await pair.fill()
        while pair.transport.get_write_buffer_size() < 64 * 1024:
            pair.transport.write(PIECE)
        connection = pair.transport.get_extra_info("socket")
        raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (unsent,) = struct.unpack_from("=I", raw, 144)

        assert unsent <= 2 * UNSENT_BYTES  # the last piece may be as large again


async def test_a_connection_that_is_gone_tells_nothing() -> None:
    async with connected() as pair:
        pair.transport.abort()
        async with asyncio.timeout(SECONDS_MAX):
            while pair.probe.look() is not None:  # noqa: ASYNC110 - the loop closes the socket when it pleases
                await asyncio.sleep(0)


async def test_a_unix_socket_tells_nothing() -> None:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    try:
        assert SocketReader(transport).look() is None
        keep_unsent_low(theirs)
    finally:
        transport.abort()
        theirs.close()


def info(**fields: int) -> bytes:
    """Lay out a `struct tcp_info` of a full window, but for `fields`."""
    said = {"mss": 1448, "unacknowledged": 0, "quiet": 300, "acked": 9000, "unsent": 500, "limited": 1, "window": 0}
    said.update(fields)
    raw = bytearray(240)
    places = {"mss": "I16", "unacknowledged": "I24", "quiet": "I44", "acked": "Q120", "unsent": "I144"}
    places |= {"limited": "Q176", "window": "I228"}
    for name, place in places.items():
        struct.pack_into("=" + place[0], raw, int(place[1:]), said[name])
    return bytes(raw)


@pytest.mark.parametrize(
    ("fields", "is_shut"),
    [
        ({}, True),
        ({"window": 1447}, True),
        ({"window": 1447, "unacknowledged": 1}, False),
        ({"window": 1448}, False),
        ({"window": 0, "unacknowledged": 3}, True),
        ({"unsent": 0}, False),
        ({"limited": 0}, False),
    ],
)
def test_a_window_is_shut_when_only_reading_can_open_it(fields: dict[str, int], is_shut: bool) -> None:
    assert parse(info(**fields)) == ReaderLook(9000, is_shut, 0.3)


@pytest.mark.parametrize("size", [0, 104, 192, 231])
def test_a_kernel_that_says_too_little_is_not_guessed_at(size: int) -> None:
    assert parse(info()[:size]) is None
