"""A local OpenAI-shaped server that does what a test tells it: a real socket, and as little HTTP as that needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


def chunk(text: str = "", **members: Any) -> dict[str, Any]:
    """One streamed chunk."""
    choice = {"index": 0, "delta": {"content": text}, **members}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


def says(*texts: str) -> list[dict[str, Any]]:
    """A whole streamed answer, one chunk a text."""
    return [*(chunk(text) for text in texts), chunk(finish_reason="stop"), usage(9, len(texts))]


@dataclass
class Talk:
    """One chat request, and the means to answer it."""

    body: dict[str, Any]
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def respond(self, status: int, value: Any) -> None:
        """Send a whole response."""
        await _respond(self.writer, status, value)

    async def begin(self) -> None:
        """Open a stream; its end is the end of the connection."""
        self.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        await self.writer.drain()

    async def events(self, *values: Any) -> None:
        """Send events; bytes go out as they are."""
        for value in values:
            self.writer.write(value if isinstance(value, bytes) else b"data: " + json.dumps(value).encode() + b"\n\n")
        await self.writer.drain()

    async def hung_up(self) -> None:
        """Wait until the client closes its side."""
        while await self.reader.read(1024):
            pass


Chat = Callable[[Talk], Awaitable[None]]


async def hello(talk: Talk) -> None:
    """Stream `he` `llo` with usage."""
    await talk.begin()
    await talk.events(*says("he", "llo"), b"data: [DONE]\n\n")


@dataclass
class OpenAiPeer:
    """The server. `models` is what `/v1/models` lists; `chat` answers completions; requests are kept in `talks`."""

    chat: Chat = hello
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "peer", "max_model_len": 512}])
    talks: list[Talk] = field(default_factory=list)
    url: str = ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[OpenAiPeer, None]:
        """Serve on a free port until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path = head[0].split(" ")[1]
            if path == "/v1/models":
                await _respond(writer, 200, {"object": "list", "data": self.models})
            elif path == "/v1/chat/completions":
                self.talks.append(Talk(json.loads(body), headers, reader, writer))
                await self.chat(self.talks[-1])
            else:
                await _respond(writer, 404, {"error": {"message": "no such path"}})
        except ConnectionError:
            pass
        finally:
            writer.close()


async def _respond(writer: asyncio.StreamWriter, status: int, value: Any) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
