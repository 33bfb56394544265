"""Any bytes in any pieces: the protocol raises nothing, answers nothing twice, and starts no request from nonsense."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from hushnet.coordinator.api.http.direct import LoopPass
from hushnet.coordinator.api.http.protocol import ConnectionLimits, GuardedHttpProtocol

LIMITS = ConnectionLimits(connections_max=10, header_bytes_max=2048, header_s_max=5, write_stall_s_max=5)
LINES = st.sampled_from(
    [
        b"GET /a HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\n", b"GET /a HTTP/1.0\r\n", b"HEAD * HTTP/1.1\r\n", b"Host: x\r\n",
        b"Content-Length: 3\r\n", b"Content-Length: 99\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"3\r\nabc\r\n", b"0\r\n", b"\r\n",
        b"\r\n\r\n", b"abc", b"X: " + b"y" * 3000, b"X: y\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00", b"GET /\xff HTTP/1.1\r\n",
    ]
)  # fmt: skip
STREAMS = st.lists(st.one_of(LINES, st.binary(max_size=20)), max_size=14)


class Transport(asyncio.Transport):
    """Remembers what was written and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_over = False
        self.is_half_closed = False

    def write(self, data: Any) -> None:
        assert not self.is_half_closed
        if not self.is_over:
            self.written += data

    def write_eof(self) -> None:
        self.is_half_closed = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        self.is_over = True

    abort = close

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["method"] in {"GET", "POST", "HEAD"}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def converse(pieces: list[bytes]) -> Transport:
    config = uvicorn.Config(hello, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False)  # type: ignore[arg-type]
    config.load()
    state, transport, cut = ServerState(), Transport(), []
    protocol = GuardedHttpProtocol(config, state, {}, limits=LIMITS, on_cut=cut.append, loop_pass=LoopPass())
    protocol.connection_made(transport)
    for piece in pieces:
        if transport.is_over:
            break
        protocol.data_received(piece)
        await asyncio.sleep(0)
    while state.tasks:  # noqa: ASYNC110 - there is nothing to wait on
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    assert protocol._timer is None
    assert protocol._stall_timer is None
    assert protocol.timeout_keep_alive_task is None
    return transport


@settings(max_examples=300, deadline=None)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_any_bytes_in_any_pieces(stream: list[bytes], cuts: list[int]) -> None:
    data = b"".join(stream)
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    transport = asyncio.run(converse([data[a:b] for a, b in itertools.pairwise(edges)]))
    statuses = [status for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", bytes(transport.written)) if status != b"100"]
    assert set(statuses) <= {b"200", b"400", b"431"}
    assert set(statuses[:-1]) <= {b"200"}, "nothing follows a refusal"
