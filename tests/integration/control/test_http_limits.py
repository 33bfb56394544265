"""The listener against hostile and unlucky peers, over real sockets: the conformance test of our uvicorn subclass."""

from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from hushnet.coordinator.api.bodies import read_body
from support.raw_http import RawClient, Served, served

BODY_MAX = 100_000
HEAD = "Host: x\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(scope, receive, bytes_max=BODY_MAX, idle_s=0.3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"5"), (b"x-path", scope["query_string"])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def client_of(server: Served) -> AsyncIterator[RawClient]:
    client = await server.connect()
    try:
        yield client
    finally:
        await client.aclose()


HOT = {"/echo": {"POST": echo}, "/hello": {"GET": hello}}


async def test_a_connection_serves_request_after_request() -> None:
    async with served(HOT) as server, client_of(server) as client:
        for _ in range(3):
            client.send(f"GET /hello HTTP/1.1\r\n{HEAD}\r\n")
            assert (await client.answer()).body == b"hello"
        client.send(f"POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 3\r\n\r\nabc")
        assert (await client.answer()).body == b"abc"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send("".join(f"GET /hello?{number} HTTP/1.1\r\n{HEAD}\r\n" for number in range(5)))
        assert [(await client.answer()).headers["x-path"] for _ in range(5)] == ["0", "1", "2", "3", "4"]


async def test_a_pile_of_pipelined_requests_ends_the_connection() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served({"/slow": {"GET": slow}}) as server, client_of(server) as client:
        for _ in range(40):
            client.send(f"GET /slow HTTP/1.1\r\n{HEAD}\r\n" * 4)
        assert await client.is_closed()
        assert 'reason="pipelined"' in server.metrics.render().decode()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("GET /hello HTTP/1.1\r\nX: " + "a" * 70_000, id="one_header_without_end"),
        pytest.param("GET /hello HTTP/1.1\r\n" + "".join(f"X{n}: y\r\n" for n in range(12_000)), id="many_headers"),
        pytest.param("GET /" + "a" * 70_000 + " HTTP/1.1\r\nHost: x\r\n\r\n", id="long_target"),
        pytest.param("GET /hello HTTP/1.1\r\n" + "X: " + "a" * 70_000 + "\r\n\r\n", id="one_long_header"),
    ],
)
async def test_headers_beyond_the_limit_get_431(head: str) -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send(head)
        answer = await client.answer()
        assert (answer.status, answer.code) == (431, "headers_too_large")
        assert await client.is_closed()


async def test_dribbled_headers_beyond_the_limit_get_431() -> None:
    async with served(HOT, header_bytes_max=1024) as server, client_of(server) as client:
        client.send("GET /hello HTTP/1.1\r\n")
        for number in range(100):
            client.send(f"X{number}: {'a' * 20}\r\n")
            await client.writer.drain()
        assert (await client.answer()).status == 431


async def test_headers_just_below_the_limit_pass() -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send(f"GET /hello HTTP/1.1\r\n{HEAD}X: {'a' * 65_000}\r\n\r\n")
        assert (await client.answer()).status == 200


async def test_headers_that_do_not_come_in_time_get_408() -> None:
    async with served(HOT, header_s_max=0.15) as server, client_of(server) as client:
        client.send("GET /hello HTTP/1.1\r\nHost: x\r\n")
        answer = await client.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert await client.is_closed()


async def test_a_second_request_has_its_own_time_for_headers() -> None:
    async with served(HOT, header_s_max=0.15) as server, client_of(server) as client:
        client.send(f"GET /hello HTTP/1.1\r\n{HEAD}\r\n")
        assert (await client.answer()).status == 200
        client.send("GET /hel")
        assert (await client.answer()).status == 408


@pytest.mark.parametrize("said", ["", "\r\n"])
async def test_a_connection_that_says_nothing_is_closed(said: str) -> None:
    async with served(HOT, header_s_max=0.15) as server, client_of(server) as client:
        client.send(said)
        assert await client.is_closed()


@pytest.mark.parametrize("said", ["", "\r\n"])
async def test_an_idle_connection_is_closed(said: str) -> None:
    async with served(HOT, header_s_max=0.15, keep_alive_s=0.15) as server, client_of(server) as client:
        client.send(f"GET /hello HTTP/1.1\r\n{HEAD}\r\n")
        await client.answer()
        client.send(said)
        assert await client.is_closed()


async def test_a_declared_body_beyond_the_limit_gets_413_before_it_is_sent() -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send(f"POST /echo HTTP/1.1\r\n{HEAD}Content-Length: {2**26}\r\nExpect: 100-continue\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.code) == (413, "body_too_large")


@pytest.mark.parametrize("number", ["9" * 19, "9" * 40])
async def test_an_absurd_content_length_is_refused(number: str) -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send(f"POST /echo HTTP/1.1\r\n{HEAD}Content-Length: {number}\r\n\r\n")
        assert (await client.answer()).status in (400, 413)


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_a_client_that_sends_64_mib_to_the_end_still_reads_its_413(connection: str) -> None:
    async with served(HOT) as server, httpx.AsyncClient(base_url=server.base_url, timeout=60) as client:
        answer = await client.post("/echo", content=b"x" * 2**26, headers={"connection": connection})
        assert answer.status_code == 413
        assert (await client.get("/hello")).text == "hello"


async def test_a_client_that_closes_after_one_request_reads_its_413() -> None:
    async with served(HOT) as server:

        def post() -> int:
            try:
                urllib.request.urlopen(f"{server.base_url}/echo", data=b"x" * 2**24, timeout=60)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code
            return 0

        assert await asyncio.to_thread(post) == 413


async def test_a_chunked_body_beyond_the_limit_gets_413() -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send(f"POST /echo HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"x" * 60_000
        for _ in range(4):
            client.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        client.send("0\r\n\r\n")
        assert (await client.answer()).status == 413
        client.send(f"GET /hello HTTP/1.1\r\n{HEAD}\r\n")
        assert (await client.answer()).status == 200


async def test_a_body_that_stops_coming_gets_408() -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send(f"POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 10\r\n\r\nabc")
        answer = await client.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")


async def test_an_encoded_body_gets_415() -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send(f"POST /echo HTTP/1.1\r\n{HEAD}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
        assert (await client.answer()).code == "unsupported_media_type"


@pytest.mark.parametrize(
    "request_text",
    [
        pytest.param("nonsense\r\n\r\n", id="garbage"),
        pytest.param("\x16\x03\x01\x02\x00\x01", id="tls_hello"),
        pytest.param(
            f"POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length_and_chunked",
        ),
        pytest.param(
            f"POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", id="two_lengths"
        ),
        pytest.param(f"POST /echo HTTP/1.1\r\n{HEAD}Content-Length: -1\r\n\r\n", id="negative_length"),
        pytest.param("GET /hello HTTP/1.1\r\nBad Header: x\r\n\r\n", id="space_in_name"),
        pytest.param("GET /hello HTTP/1.1\r\nX: a\x00b\r\n\r\n", id="nul_in_value"),
        pytest.param("CONNECT x:1 HTTP/1.1\r\n\r\n", id="connect"),
    ],
)
async def test_what_is_not_http_gets_400_and_the_connection_ends(request_text: str) -> None:
    async with served(HOT) as server, client_of(server) as client:
        client.send(request_text)
        answer = await client.answer()
        assert (answer.status, answer.code) == (400, "bad_http")
        assert await client.is_closed()


async def test_a_trailer_never_becomes_a_header() -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(scope, receive, bytes_max=100, idle_s=1)
        seen.append(list(scope["headers"]))
        await hello(scope, receive, send)

    async with served({"/keep": {"POST": keep}}) as server, client_of(server) as client:
        client.send(f"POST /keep HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        client.send("Authorization: Bearer x\r\n\r\n")
        assert (await client.answer()).status == 200
    assert [name for name, _ in seen[0]] == [b"host", b"transfer-encoding"]


async def test_endless_trailers_end_the_connection() -> None:
    async with served(HOT, header_bytes_max=1024) as server, client_of(server) as client:
        client.send(f"POST /echo HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n")
        for number in range(100):
            client.send(f"T{number}: {'a' * 30}\r\n")
        assert await client.is_closed()


async def test_one_connection_too_many_gets_503_and_the_others_go_on() -> None:
    async with served(HOT, connections_max=2) as server, client_of(server) as first, client_of(server) as second:
        for client in (first, second):
            client.send(f"GET /hello HTTP/1.1\r\n{HEAD}\r\n")
            assert (await client.answer()).status == 200
        async with client_of(server) as third:
            answer = await third.answer()
            assert (answer.status, answer.code) == (503, "too_many_connections")
        first.send(f"GET /hello HTTP/1.1\r\n{HEAD}\r\n")
        assert (await first.answer()).status == 200


async def test_a_reader_that_reads_nothing_is_cut_off() -> None:
    ended = asyncio.Event()

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        hung_up = asyncio.create_task(_disconnected(receive))
        while not hung_up.done():
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            await asyncio.sleep(0)
        ended.set()

    async with served({"/flood": {"GET": flood}}, write_stall_s_max=0.2) as server:
        raw = socket.create_connection(("127.0.0.1", server.listener.port))
        try:
            raw.sendall(f"GET /flood HTTP/1.1\r\n{HEAD}\r\n".encode())
            await asyncio.wait_for(ended.wait(), 60)
        finally:
            raw.close()
        assert 'reason="stalled_reader"' in server.metrics.render().decode()


@pytest.mark.parametrize("pipelined", [0, 2])
async def test_the_application_hears_of_a_hang_up(pipelined: int) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await _disconnected(receive)
        ended.set()

    async with served({"/wait": {"GET": wait}, **HOT}) as server:
        client = await server.connect()
        client.send(f"GET /wait HTTP/1.1\r\n{HEAD}\r\n" + f"GET /hello HTTP/1.1\r\n{HEAD}\r\n" * pipelined)
        await asyncio.wait_for(started.wait(), 60)
        await client.aclose()
        await asyncio.wait_for(ended.wait(), 60)


async def test_a_request_for_an_upgrade_is_answered_as_if_it_had_not_asked() -> None:
    async with served(HOT) as server, client_of(server) as client:
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
        client.send(f"GET /hello HTTP/1.1\r\n{HEAD}{upgrade}\r\n")
        assert (await client.answer()).status == 200
        assert await client.is_closed()


async def test_running_requests_end_before_the_listener_does() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await go_on.wait()
        await hello(scope, receive, send)

    async with served({"/slow": {"GET": slow}}) as server, client_of(server) as client, client_of(server) as idle:
        client.send(f"GET /slow HTTP/1.1\r\n{HEAD}\r\n")
        await asyncio.wait_for(started.wait(), 60)
        closing = asyncio.create_task(server.listener.aclose())
        assert await idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            await server.connect()
        go_on.set()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await asyncio.wait_for(closing, 60)


async def test_requests_that_outlast_the_drain_time_are_cancelled_with_503() -> None:
    started = asyncio.Event()
    cleaned: list[str] = []

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("yes")

    async with served({"/stuck": {"GET": stuck}}, drain_s_max=0.0) as server, client_of(server) as client:
        client.send(f"GET /stuck HTTP/1.1\r\n{HEAD}\r\n")
        await asyncio.wait_for(started.wait(), 60)
        await asyncio.wait_for(server.listener.aclose(), 60)
        assert cleaned == ["yes"]
        assert (await client.answer()).code == "shutting_down"


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
