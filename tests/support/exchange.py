"""One HTTP request through an ASGI application, with the consumer's hands on it: hang up, stop reading, read on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

SECONDS_MAX = 60.0
"""A condition that has not come true by then never will."""


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - the condition is anything at all, no event stands for it
            await asyncio.sleep(0)


class Exchange:
    """One HTTP request in flight, with the consumer's hands on it: it can hang up, stop reading, read on."""

    def __init__(self, application: Any, scope: dict[str, Any], body: bytes) -> None:
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self._reading = asyncio.Event()
        self._reading.set()
        self._lets_through = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        self.is_ended = False
        self.task = asyncio.create_task(application(scope, self._incoming.get, self._send))

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The text of a streamed answer."""
        return "".join(
            choice["delta"].get("content") or "" for event in self.events for choice in event.get("choices", ())
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = [line[6:] for line in self.body.decode().split("\n\n") if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    @property
    def is_done(self) -> bool:
        return self.body.endswith(b"data: [DONE]\n\n")

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    def stop_reading(self) -> None:
        self._reading.clear()

    def read_one(self) -> None:
        """Let one write through."""
        self._lets_through += 1
        self._reading.set()

    def read_on(self) -> None:
        self._reading.set()

    async def finished(self) -> Exchange:
        done, _ = await asyncio.wait({self.task}, timeout=SECONDS_MAX)
        assert done, "the answer has not ended"
        self.task.result()
        return self

    async def opened(self) -> Exchange:
        await until(lambda: self.status)
        return self

    async def said(self, text: str) -> Exchange:
        await until(lambda: text.encode() in self.body)
        return self

    async def _send(self, message: dict[str, Any]) -> None:
        await self._reading.wait()
        if self._lets_through:
            self._lets_through -= 1
            self._reading.clear()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            if message.get("body"):
                self.chunks.append(message["body"])
            self.is_ended = not message.get("more_body", False)
