"""The local sealing proxy: an OpenAI endpoint on this machine that verifies and seals, so that any tool gets privacy.

A raw ASGI application. It never forwards plaintext: what it can't seal it refuses. It answers only to loopback names
and to no web page, so that neither a DNS rebinding nor a foreign site can spend the key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from hushnet.dialects import openai_chat
from hushnet.foundation.errors import AccessError, HushnetError, RequestError
from hushnet.sdk.answers import Answer, BodyCollector, SealedAnswer
from hushnet.sdk.async_client import AsyncClient
from hushnet.sdk.errors import http_status_of, openai_type_of, with_status
from hushnet.sdk.routing import ROUTE_HEADER, Route, route_of
from hushnet.sdk.session import model_path
from hushnet.sdk.settings import is_loopback
from hushnet.sdk.transport import aread

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_BYTES_MAX: Final = 15 << 20
CHAT_PATH: Final = "/v1/chat/completions"
CONTENT_TYPES: Final = frozenset({"application/json", "text/event-stream"})


class HungUpError(Exception):
    """The local tool closed its connection."""


class ProxyApp:
    """Seals chat completions through `client`; passes the model list on; refuses everything else."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        reply = Answering(send)
        try:
            require_local(dict(scope["headers"]))
            await self._route(scope, receive, reply)
        except HungUpError:
            return
        except HushnetError as error:
            await reply.fail(error)

    async def _route(self, scope: Scope, receive: Receive, reply: Answering) -> None:
        method, path = scope["method"], scope["path"].rstrip("/")
        if method == "POST" and path == CHAT_PATH:
            await self._chat(await read_body(receive), receive, reply, _route_of(dict(scope["headers"])))
        elif method == "GET" and path == "/v1/models":
            await reply.document(200, await self._client.request("GET", "/v1/models"))
        elif method == "GET" and path.startswith("/v1/models/"):
            await reply.document(200, await self._client.request("GET", model_path(path.removeprefix("/v1/models/"))))
        elif method == "GET" and path == "/healthz":
            await reply.document(200, {"status": "ok", "coordinator": self._client.settings.base_url, "mode": "sealed"})
        else:
            unserved = RequestError(
                f"the sealing proxy has no {method} {path}",
                code="not_found",
                hint=f"it serves POST {CHAT_PATH} and GET /v1/models; nothing else is sealed, so nothing else is passed on",
            )
            raise with_status(unserved, 404)

    async def _chat(self, body: bytes, receive: Receive, reply: Answering, route: Route | None) -> None:
        is_stream = openai_chat.decode_request(body).stream
        work = asyncio.ensure_future(self._answer(body, is_stream, reply, route))
        watch = asyncio.ensure_future(hang_up(receive))
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise HungUpError
            await work
        finally:
            watch.cancel()
            work.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)

    async def _answer(self, body: bytes, is_stream: bool, reply: Answering, route: Route | None) -> None:
        answer, response = await self._client.open(body, is_stream=is_stream, route=route)
        try:
            if is_stream:
                await self._stream(answer, response, reply)
            else:
                await self._whole(answer, response, reply)
        finally:
            await response.aclose()
            answer.drop()

    async def _stream(self, answer: Answer, response: httpx.Response, reply: Answering) -> None:
        async for data in aread(response, self._client.settings.base_url):
            for part in answer.feed(data):
                await reply.part(part, answer)
        answer.finish()
        await reply.end(answer)

    async def _whole(self, answer: Answer, response: httpx.Response, reply: Answering) -> None:
        collected = BodyCollector()
        async for data in aread(response, self._client.settings.base_url):
            for part in answer.feed(data):
                collected.add(part)
        answer.finish()
        await reply.whole(collected.body(), answer)


class Answering:
    """The response to one local request: a head once, then parts; a failure takes the form that is still possible."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_started = False

    async def part(self, data: bytes, answer: Answer) -> None:
        if not self._is_started:
            await self._start(200, _headers(answer))
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, answer: Answer) -> None:
        if not self._is_started:
            await self._start(200, _headers(answer))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, body: bytes, answer: Answer) -> None:
        status = answer.status if isinstance(answer, SealedAnswer) else 200
        await self._start(status, [*_headers(answer), (b"content-length", str(len(body)).encode())])
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def document(self, status: int, document: Any, *, retry_after_s: float | None = None) -> None:
        body = json.dumps(document).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if retry_after_s is not None:
            headers.append((b"retry-after", str(max(1, round(retry_after_s))).encode()))
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def fail(self, error: HushnetError) -> None:
        """Answer with an error in OpenAI's shape; inside a stream it is the last event, and no end mark follows."""
        status = http_status_of(error)
        shape = {
            "message": str(error),
            "type": openai_type_of(status),
            "param": getattr(error, "param", None),
            "code": error.error_code,
        }
        document = {"error": {**shape, **({"hint": hint} if (hint := error.hint()) else {})}}
        if not self._is_started:
            await self.document(status, document, retry_after_s=getattr(error, "retry_after_s", None))
            return
        event = b"data: " + json.dumps(document).encode() + b"\n\n"
        await self._send({"type": "http.response.body", "body": event, "more_body": False})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._is_started = True
        always = [(b"cache-control", b"no-store"), (b"hushnet-mode", b"sealed")]
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *always]})


def require_local(headers: dict[bytes, bytes]) -> None:
    """Refuse a request that a web page or a rebound name could have made."""
    host = headers.get(b"host", b"").decode("latin-1")
    origin = headers.get(b"origin", b"").decode("latin-1")
    is_page = bool(origin) and not (origin != "null" and is_loopback(origin))
    if is_page or not is_loopback(f"http://{host}") or urlsplit(f"http://{host}").username:
        raise AccessError(
            "the sealing proxy answers to programs on this machine only",
            code="not_local",
            hint="call it as http://127.0.0.1:PORT/v1, not from a web page",
        )


def _route_of(headers: dict[bytes, bytes]) -> Route | None:
    """Pass on how the local tool wants its request routed."""
    value = headers.get(ROUTE_HEADER.encode())
    return None if value is None else route_of(value.decode("latin-1"))


async def read_body(receive: Receive) -> bytes:
    """Read the request body, at most 15 MiB; raises `RequestError` beyond, `HungUpError` when the caller is gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUpError
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise with_status(RequestError("the request is larger than 15 MiB", code="body_too_large"), 413)
        if not message.get("more_body", False):
            return bytes(body)


async def hang_up(receive: Receive) -> None:
    """Return when the caller has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Build headers from verified or re-checked values only: a provider or coordinator can't inject a line."""
    facts = answer.facts
    content_type = answer.content_type if isinstance(answer, SealedAnswer) else "text/event-stream"
    request_id = facts.request_id if facts.request_id.isascii() and facts.request_id.isdecimal() else ""
    return [
        (b"content-type", content_type.encode() if content_type in CONTENT_TYPES else b"application/json"),
        (b"hushnet-trust", facts.trust.encode()),
        (b"hushnet-provider", facts.provider_id.encode()),
        (b"hushnet-request-id", request_id.encode()),
    ]
