"""The direct line gives the bytes that `send` gives, on real sockets, whatever the peer does: the conformance test of
what `api/http/direct.py` assumes of uvicorn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.types import Receive, Scope, Send

from hushnet.coordinator.api.http.direct import EXTENSION, DirectLine, line_of
from hushnet.coordinator.api.streaming import relay
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.rules.reading import Mark
from support.raw_http import RawClient, Served, served

HEAD = "Host: x\r\n"
EVENTS = [(b"content-type", b"text/event-stream")]


@dataclass
class Producer:
    """Pushes chunks into an outlet as its request asks for them, and keeps what the outlet said of them."""

    is_direct: bool
    chunks: list[bytes]
    pause_every: int = 1
    headers: list[tuple[bytes, bytes]] = field(default_factory=lambda: list(EVENTS))
    drained: list[int] = field(default_factory=list)
    outlets: list[Outlet] = field(default_factory=list)
    lines: list[DirectLine] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_endless: bool = False
    before: bytes = b""
    """What goes through `send` before the stream itself: a notice to a consumer that waits."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outlet = Outlet(high_water=1 << 20, on_drained=self.drained.append)
        self.outlets.append(outlet)
        line = line_of(scope)
        assert line is not None
        self.lines.append(line)
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        if self.before:
            await send({"type": "http.response.body", "body": self.before, "more_body": True})
        pushing = asyncio.create_task(self._push(outlet))
        watching = asyncio.create_task(self._watch(receive, outlet))
        await relay(outlet, send, line if self.is_direct else None)
        await send({"type": "http.response.body", "body": b"tail", "more_body": False})
        outlet.sent()
        await pushing
        watching.cancel()
        self.ended.set()

    async def _push(self, outlet: Outlet) -> None:
        for number, chunk in enumerate(self.chunks, start=1):
            outlet.push(chunk, Mark(number, number), credit=len(chunk))
            self.started.set()
            if number % self.pause_every == 0:
                await asyncio.sleep(0)
        if not self.is_endless:
            outlet.finish()

    async def _watch(self, receive: Receive, outlet: Outlet) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        outlet.abandon()


@asynccontextmanager
async def streaming(producer: Producer) -> AsyncIterator[tuple[Served, RawClient]]:
    async with served({"/stream": {"GET": producer, "HEAD": producer}}) as server:
        client = await server.connect()
        try:
            yield server, client
        finally:
            await client.aclose()


def chunks_of(*sizes: int) -> list[bytes]:
    source = random.Random(7)
    return [source.randbytes(size) for size in sizes]


async def bytes_of(is_direct: bool, chunks: list[bytes], request: str, *, before: bytes = b"") -> bytes:
    async with streaming(Producer(is_direct, chunks, before=before)) as (_, client):
        client.send(request)
        raw = await client.reader.read(-1)
    head, _, body = raw.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.startswith(b"date:")]
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "request_text",
    [
        pytest.param(f"GET /stream HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n", id="closing"),
        pytest.param(f"GET /stream HTTP/1.0\r\n{HEAD}\r\n", id="http_1_0"),
        pytest.param(f"HEAD /stream HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n", id="head"),
    ],
)
async def test_both_ways_give_the_same_bytes(request_text: str) -> None:
    chunks = chunks_of(1, 15, 16, 288, 4096, 65_535, 2)

    # Each chunk is pushed in a pass of its own and the socket is never full, so both ways write chunk by chunk.
    assert await bytes_of(True, chunks, request_text) == await bytes_of(False, chunks, request_text)


async def test_both_ways_give_the_same_bytes_after_a_notice() -> None:
    request, chunks = f"GET /stream HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n", chunks_of(288, 15)

    both = [await bytes_of(way, chunks, request, before=b": queue position=1\n\n") for way in (True, False)]

    assert both[0] == both[1]
    assert b"\r\n: queue position=1\n\n\r\n120\r\n" in both[0]


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_connection_serves_stream_after_stream(is_direct: bool) -> None:
    producer = Producer(is_direct, chunks_of(288, 288))
    async with streaming(producer) as (_, client):
        for _ in range(3):
            client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
            assert (await client.answer()).body == b"".join(producer.chunks) + b"tail"


@pytest.mark.parametrize("is_direct", [True, False])
async def test_pipelined_streams_follow_one_another(is_direct: bool) -> None:
    producer = Producer(is_direct, chunks_of(*[100] * 50))
    async with streaming(producer) as (_, client):
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n" * 4)
        for _ in range(4):
            assert (await client.answer()).body == b"".join(producer.chunks) + b"tail"


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_reader_that_pauses_gets_every_byte_in_order(is_direct: bool) -> None:
    producer = Producer(is_direct, chunks_of(*[60_000] * 200), pause_every=7)
    async with streaming(producer) as (_, client):
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await producer.started.wait()
        while not producer.outlets[0].is_finished:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]

        assert (await client.answer()).body == b"".join(producer.chunks) + b"tail"
    assert sum(producer.drained) == sum(map(len, producer.chunks))
    assert producer.outlets[0].relayed.content_records == 200


async def test_bytes_that_the_socket_does_not_take_wait_in_the_outlet_and_are_not_relayed() -> None:
    producer = Producer(True, chunks_of(*[60_000] * 400))
    async with streaming(producer) as (_, client):
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await producer.started.wait()
        outlet = producer.outlets[0]
        while producer.lines[0].is_writable or not outlet.is_finished:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0)

        assert outlet.is_saturated
        assert outlet.relayed.content_records < 400
        assert sum(producer.drained) == 60_000 * outlet.relayed.content_records


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_hang_up_ends_the_answer_and_nothing_more_is_relayed(is_direct: bool) -> None:
    producer = Producer(is_direct, chunks_of(100), is_endless=True)
    async with streaming(producer) as (_, client):
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.abort()
        await producer.ended.wait()
        outlet = producer.outlets[0]
        before = outlet.relayed

        outlet.push(b"late", Mark(2, 2), credit=4)

        assert outlet.relayed == before
        assert not producer.lines[0].is_writable


async def test_what_one_pass_of_the_loop_brings_leaves_as_one_chunk() -> None:
    producer = Producer(True, chunks_of(*[288] * 10), pause_every=5)
    async with streaming(producer) as (_, client):
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
        await client.reader.readuntil(b"\r\n\r\n")

        for half in (producer.chunks[:5], producer.chunks[5:]):
            assert await client.reader.readuntil(b"\r\n") == b"%x\r\n" % (5 * 288)
            assert await client.reader.readexactly(5 * 288) == b"".join(half)
            assert await client.reader.readexactly(2) == b"\r\n"


async def test_two_streams_of_one_pass_are_both_sent() -> None:
    producer = Producer(True, chunks_of(288))
    async with streaming(producer) as (server, client):
        other = await server.connect()
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
        other.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")

        assert (await client.answer()).body == (await other.answer()).body == producer.chunks[0] + b"tail"
        await other.aclose()


@pytest.mark.parametrize("kill", ["abort", "close", "write_eof"])
async def test_a_connection_that_ends_in_a_pass_takes_nothing_from_the_others(kill: str) -> None:
    producer = Producer(True, [b"first"], is_endless=True)
    async with streaming(producer) as (server, client):
        other = await server.connect()
        for each in (client, other):
            each.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
            await each.reader.readuntil(b"5\r\nfirst\r\n")
        doomed, alive = producer.outlets

        for outlet in (doomed, alive):
            outlet.push(b"chunk", Mark(2, 2), credit=5)
        getattr(producer.lines[0].transport, kill)()

        assert await other.reader.readexactly(10) == b"5\r\nchunk\r\n"
        assert not producer.lines[0].is_writable
        for outlet in (doomed, alive):
            outlet.finish()
        await other.aclose()


def declining(spoil: Callable[[DirectLine], None]) -> Producer:
    class Spoiled(Producer):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            line = line_of(scope)
            assert line is not None
            spoil(line)
            await super().__call__(scope, receive, send)

    return Spoiled(True, chunks_of(288, 288))


async def test_an_answer_with_a_length_goes_through_send() -> None:
    producer = Producer(True, [b"abc"], headers=[(b"content-length", b"7")])
    async with streaming(producer) as (_, client):
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")

        assert (await client.answer()).body == b"abctail"


async def test_a_line_does_not_open_before_the_head_was_sent() -> None:
    opened: list[bool] = []
    producer = declining(lambda line: opened.append(line.open(lambda: None)))
    async with streaming(producer) as (_, client):
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
        assert (await client.answer()).body == b"".join(producer.chunks) + b"tail"
    assert opened == [False]


async def test_a_shutdown_lets_a_direct_stream_end() -> None:
    producer = Producer(True, chunks_of(288), is_endless=True)
    async with streaming(producer) as (server, client):
        client.send(f"GET /stream HTTP/1.1\r\n{HEAD}\r\n")
        await producer.started.wait()
        closing = asyncio.create_task(server.listener.aclose())
        await asyncio.sleep(0)
        producer.outlets[0].push(b"last", Mark(2, 2), credit=4)
        producer.outlets[0].finish()

        assert (await client.answer()).body.endswith(b"lasttail")
        await closing


def test_a_server_without_the_extension_offers_no_line() -> None:
    assert line_of({"type": "http"}) is None
    assert line_of({"type": "http", "extensions": {EXTENSION: {}}}) is None
