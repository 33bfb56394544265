"""A small HTTP server for fake gateways: JSON in and out, real sockets, and faults that a test asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the next request whose path contains `path`.

    `drop_before`: nothing is done and the connection is cut. `drop_after`: it is done and the answer is lost. `garbage`:
    it is done and the answer is not JSON. A number: nothing is done and the answer has that status.
    """

    path: str
    kind: str | int
    method: str = ""


class StatusError(Exception):
    """Answer with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text or "{}", parse_float=str)


class GatewayServer:
    """Subclasses give `answer`; `now_ms` is the test's clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self._server: asyncio.Server | None = None

    def answer(self, asked: Asked) -> Any:
        """Return the answer's JSON, or raise `StatusError`."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def calls(self, method: str, path: str) -> int:
        """How many requests there were whose path contains `path`."""
        return sum(1 for asked in self.asked if asked.method == method and path in asked.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            self.asked.append(asked)
            content = self._react(asked)
            if content is not None:
                writer.write(content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _react(self, asked: Asked) -> bytes | None:
        fault = next((f for f in self.faults if f.path in asked.path and f.method in ("", asked.method)), None)
        if fault is not None:
            self.faults.remove(fault)
            if isinstance(fault.kind, int):
                return _response(fault.kind, {"error": "asked to fail"})
            if fault.kind == "drop_before":
                return None
        try:
            document = self.answer(asked)
        except StatusError as error:
            return _response(error.status, {"error": "refused"})
        if fault is not None and fault.kind == "drop_after":
            return None
        if fault is not None and fault.kind == "garbage":
            return _raw(200, b"<html>")
        return _response(200, document)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields) if name}
    method, target, _ = line.split(" ")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    where = urlsplit(target)
    return Asked(method, where.path, dict(parse_qsl(where.query)), headers, body.decode())


def _response(status: int, document: Any) -> bytes:
    return _raw(status, json.dumps(document).encode())


def _raw(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
