"""A local OpenAI-compatible server whose pace the prompt sets, so that a test can catch a request in any phase.

The last message holds words such as `tokens=200 gap=0.02 first=0.5`: how many tokens, the pause between them and before
the first, in seconds. `fail_after=3` breaks the connection after that many tokens, `status=500` answers with it. Each
request is recorded with the moment (monotonic clock, the same for every process of the machine) it ended and why.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PROMPT_TOKENS = 7


@dataclass
class Seen:
    """One request as the engine saw it."""

    settings: dict[str, float]
    started_s: float
    sent: int = 0
    ended_s: float = 0.0
    was_cut: bool = False
    has_started: threading.Event = field(default_factory=threading.Event)
    has_sent: threading.Event = field(default_factory=threading.Event)
    has_ended: threading.Event = field(default_factory=threading.Event)


class PacedServer:
    """Serves `/v1/models` and `/v1/chat/completions` on a loopback port, in a thread of its own."""

    def __init__(self, *, is_prompt: bool = False) -> None:
        self.is_prompt = is_prompt
        self.requests: list[Seen] = []
        self.arrived = threading.Condition()
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def model_source(self) -> str:
        """What `--model` takes for this server."""
        return f"http://127.0.0.1:{self.port}/v1#paced"

    def wait_for(self, count: int, timeout_s: float = 30.0) -> Seen:
        """Return the `count`-th real request (from 1) as soon as it has arrived."""
        with self.arrived:
            if not self.arrived.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise AssertionError(f"only {len(self.requests)} requests reached the engine")
            return self.requests[count - 1]

    def run(self, ready: threading.Event) -> None:
        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            async with server:
                await self._stop.wait()
            current = asyncio.current_task()
            rest = [task for task in asyncio.all_tasks() if task is not current]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        asyncio.run(serve())

    def stop(self) -> None:
        if self._loop and self._stop:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read_request(reader):
                path, body = request
                if path.endswith("/models"):
                    await _respond(
                        writer,
                        200,
                        {"object": "list", "data": [{"id": "paced", "object": "model", "max_model_len": 65536}]},
                    )
                elif path.endswith("/chat/completions/input_tokens"):
                    await _respond(writer, 200, {"input_tokens": PROMPT_TOKENS})
                elif path.endswith("/chat/completions"):
                    await self._chat(json.loads(body), reader, writer)
                else:
                    await _respond(writer, 404, {"error": {"message": "no such path"}})
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _chat(self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        settings = _settings(body)
        seen = Seen(settings, time.monotonic())
        if settings:
            with self.arrived:
                self.requests.append(seen)
                self.arrived.notify_all()
        seen.has_started.set()
        if status := int(settings.get("status", 0)):
            await _respond(writer, status, {"error": {"message": "asked to fail"}})
            seen.has_ended.set()
            return
        gone = asyncio.ensure_future(reader.read(1))
        answering = asyncio.ensure_future(self._answer(body, seen, writer))
        try:
            await asyncio.wait((gone, answering), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                seen.was_cut = True
                answering.cancel()
                raise ConnectionResetError
            await answering
        finally:
            seen.ended_s = time.monotonic()
            seen.has_ended.set()
            gone.cancel()
            answering.cancel()

    async def _answer(self, body: dict[str, Any], seen: Seen, writer: asyncio.StreamWriter) -> None:
        settings = seen.settings
        count = min(
            int(settings.get("tokens", 2)), int(body.get("max_tokens") or body.get("max_completion_tokens") or 10**6)
        )
        is_stream = bool(body.get("stream"))
        if not self.is_prompt:
            await asyncio.sleep(settings.get("first", 0.0))
        if is_stream:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for number in range(count):
            if number == settings.get("fail_after", -1):
                writer.transport.abort()
                raise ConnectionResetError
            if number:
                await asyncio.sleep(settings.get("gap", 0.0))
            if is_stream:
                writer.write(
                    _event({"choices": [{"index": 0, "delta": {"content": f"t{number} "}, "finish_reason": None}]})
                )
                await writer.drain()
            seen.sent = number + 1
            seen.has_sent.set()
        usage = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": int(settings.get("claim", count)),
            "total_tokens": PROMPT_TOKENS + count,
        }
        if is_stream:
            writer.write(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
            writer.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
            await writer.drain()
            writer.close()
            raise ConnectionResetError
        text = "".join(f"t{number} " for number in range(count))
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await _respond(writer, 200, {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


@contextmanager
def paced_server(*, is_prompt: bool = False) -> Iterator[PacedServer]:
    """Run a paced server for the duration of the block; a prompt one leaves out the pause before the first token."""
    server = PacedServer(is_prompt=is_prompt)
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(ready,), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield server
    finally:
        server.stop()
        thread.join(60)


def _settings(body: dict[str, Any]) -> dict[str, float]:
    content = body.get("messages", [{}])[-1].get("content") or ""
    words = [word.partition("=") for word in content.split() if "=" in word] if isinstance(content, str) else []
    found = {}
    for name, _, value in words:
        try:
            found[name] = float(value)
        except ValueError:
            continue
    return found


def _event(document: dict[str, Any]) -> bytes:
    base = {"id": "chatcmpl-paced", "object": "chat.completion.chunk", "created": 1, "model": "paced"}
    return b"data: " + json.dumps({**base, **document}).encode() + b"\n\n"


async def _respond(writer: asyncio.StreamWriter, status: int, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, bytes] | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *fields = head.split("\r\n")
    lengths = [field.partition(":")[2] for field in fields if field.lower().startswith("content-length:")]
    return line.split(" ")[1], await reader.readexactly(int(lengths[0])) if lengths else b""
