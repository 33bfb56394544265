"""A listener on a free port with a given application, and a client that speaks raw bytes to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route
from starlette.types import ASGIApp

from hushnet.coordinator.api.dispatch import Dispatcher
from hushnet.coordinator.api.http import HttpListener
from hushnet.coordinator.settings import HttpSettings
from hushnet.coordinator.telemetry import Metrics
from hushnet.foundation.clock import SystemClock


@dataclass
class Served:
    """A running listener, its application and what it counted."""

    listener: HttpListener
    dispatcher: Dispatcher
    metrics: Metrics

    async def connect(self) -> RawClient:
        return RawClient(*await asyncio.open_connection("127.0.0.1", self.listener.port))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"


@asynccontextmanager
async def served(
    hot: Mapping[str, Mapping[str, ASGIApp]], routes: Sequence[Route] = (), **settings: Any
) -> AsyncIterator[Served]:
    """Serve `hot` and `routes` until the block ends; `settings` are fields of `HttpSettings`."""
    metrics = Metrics()
    dispatcher = Dispatcher(hot=hot, routes=routes, metrics=metrics, clock=SystemClock())
    listener = HttpListener(dispatcher, settings=HttpSettings(port=0, **settings), metrics=metrics)
    await listener.start()
    try:
        yield Served(listener, dispatcher, metrics)
    finally:
        await listener.aclose()


@dataclass
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


class RawClient:
    """Bytes out, answers in; nothing is tidied on the way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)

    async def answer(self) -> RawAnswer:
        """Read one answer; its body by content length, or chunked."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        return RawAnswer(int(head[0].split(" ")[1]), headers, await self._body(headers))

    async def is_closed(self) -> bool:
        """Wait for the peer to close; True when it does so without sending anything more."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 60) == b""
        except ConnectionError:
            return True

    async def aclose(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int((await self.reader.readline()).strip(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body
