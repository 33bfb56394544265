"""The local sealing proxy: what it passes on, what it refuses, and how it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hushnet.foundation.redaction import Secret
from hushnet.sdk.async_client import AsyncClient
from hushnet.sdk.proxy import BODY_BYTES_MAX, ProxyApp
from hushnet.sdk.settings import ConsumerSettings
from support.sealing_peer import Peer, good_body, good_stream, manual_clock

BODY: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "the canary prompt"}]}


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
async def tool(peer: Peer, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A tool on this machine, pointed at the proxy."""
    settings = ConsumerSettings("http://127.0.0.1:8470", Secret("hk_user_1_secret"), "hushnet-local", tmp_path)
    upstream = httpx.AsyncClient(transport=httpx.MockTransport(peer))
    async with AsyncClient(settings=settings, http_client=upstream) as client:
        client.session.clock = manual_clock()
        transport = httpx.ASGITransport(ProxyApp(client))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8472") as http:
            yield http


async def test_a_stream_leaves_sealed_and_comes_back_plain(tool: httpx.AsyncClient, peer: Peer) -> None:
    response = await tool.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.endswith("data: [DONE]\n\n")
    assert response.headers["hushnet-provider"] == peer.providers[0].identity.provider_id
    assert all(b"canary" not in request.content for request in peer.requests)


async def test_a_whole_answer_is_passed_on_after_its_end(tool: httpx.AsyncClient, peer: Peer) -> None:
    peer.answer = good_body
    response = await tool.post("/v1/chat/completions", json=BODY)
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    peer.answer = lambda opened, sealer: list(good_body(opened, sealer))[:-1]
    cut = await tool.post("/v1/chat/completions", json=BODY)
    assert cut.status_code == 502
    assert cut.json()["error"]["code"] == "stream_truncated"


async def test_a_cut_stream_ends_in_an_error_event_and_no_end_mark(tool: httpx.AsyncClient, peer: Peer) -> None:
    peer.answer = lambda opened, sealer: list(good_stream(opened, sealer))[:2]
    response = await tool.post("/v1/chat/completions", json={**BODY, "stream": True})
    *_, last = [line for line in response.text.split("\n\n") if line]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stream_truncated"
    assert "[DONE]" not in response.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": ""},
        {"host": "evil.example@127.0.0.1"},
    ],
)
async def test_a_web_page_cannot_spend_the_key(tool: httpx.AsyncClient, peer: Peer, headers: dict[str, str]) -> None:
    response = await tool.post("/v1/chat/completions", json=BODY, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "not_local"
    assert peer.requests == []


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/embeddings"), ("GET", "/v1/balance"), ("DELETE", "/v1/keys/1")]
)
async def test_what_it_cannot_seal_it_refuses(tool: httpx.AsyncClient, peer: Peer, method: str, path: str) -> None:
    response = await tool.request(method, path)
    assert response.status_code == 404
    assert peer.requests == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": 1}', b"[" * 100_000])
async def test_a_body_that_is_no_chat_is_refused_here(tool: httpx.AsyncClient, peer: Peer, body: bytes) -> None:
    response = await tool.post("/v1/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"]
    assert peer.requests == []


async def test_a_body_above_the_cap_is_refused(tool: httpx.AsyncClient, peer: Peer) -> None:
    response = await tool.post("/v1/chat/completions", content=b" " * (BODY_BYTES_MAX + 1))
    assert response.status_code == 413
    assert peer.requests == []


async def test_the_tools_hang_up_closes_the_sealed_request(peer: Peer, tmp_path: Path) -> None:
    is_closed = asyncio.Event()
    is_open = asyncio.Event()

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            is_open.set()
            await asyncio.Event().wait()
            yield b""

        async def aclose(self) -> None:
            is_closed.set()

    def hold(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless(), headers={"content-type": "application/vnd.hushnet.sealed-stream"})

    peer.on_post = [hold]
    settings = ConsumerSettings("http://127.0.0.1:8470", Secret("hk_user_1_secret"), "hushnet-local", tmp_path)
    upstream = httpx.AsyncClient(transport=httpx.MockTransport(peer))
    async with AsyncClient(settings=settings, http_client=upstream) as client:
        client.session.clock = manual_clock()
        messages = [{"type": "http.request", "body": json.dumps({**BODY, "stream": True}).encode()}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop(0)
            await is_open.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise AssertionError(f"nothing was answered yet, and still it sent {message['type']}")

        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [(b"host", b"127.0.0.1")]}
        await ProxyApp(client)(scope, receive, send)
    assert is_closed.is_set()


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ((400, {"code": "missing_member", "param": "messages"}), (400, "invalid_request_error", "messages")),
        ((401, {"code": "invalid_api_key"}), (401, "authentication_error", None)),
        ((429, {"code": "rate_limited"}), (429, "rate_limit_error", None)),
        ((502, {"code": "engine_failed"}), (502, "server_error", None)),
    ],
)
async def test_an_error_has_openais_type(tool: httpx.AsyncClient, peer: Peer, answered: Any, expected: Any) -> None:
    status, body = answered
    peer.on_post = [lambda _: httpx.Response(status, json={"error": {"message": "no", **body}})]
    response = await tool.post("/v1/chat/completions", json=BODY)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == expected
    assert "hint" not in error


async def test_a_model_that_nobody_knows_is_not_found(tool: httpx.AsyncClient, peer: Peer) -> None:
    peer.providers = []
    response = await tool.post("/v1/chat/completions", json={**BODY, "model": "nope"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert response.json()["error"]["type"] == "not_found_error"
