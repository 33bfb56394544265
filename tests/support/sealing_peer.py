"""A scripted coordinator and provider for the SDK: real statements and real sealing behind httpx's transport seam.

It exists to inject faults that the real coordinator never shows; the real one is exercised end to end elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from hushnet.foundation.clock import ManualClock
from hushnet.identity.keys import IdentityKey
from hushnet.sealing.envelope import parse_envelope
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import OpenedRequest, open_request
from hushnet.sealing.records import FrameSealer
from hushnet.sealing.replay import ReplayCache
from hushnet.sealing.streaming import MEDIA_STREAM

NOW_MS = 1_763_690_100_000
NOW_S = NOW_MS // 1000
Answer = Callable[[OpenedRequest, FrameSealer], Iterable[bytes]]


class Provider:
    """One provider's keys."""

    def __init__(self, network: str = "hushnet-local", models: tuple[str, ...] = ("tiny",)) -> None:
        self.identity = IdentityKey.generate()
        self.keyring = Keyring(self.identity, network=network)
        self.statement = self.keyring.rotate(NOW_S)
        self.cache = ReplayCache()
        self.models = models

    @property
    def id_bytes(self) -> bytes:
        return bytes.fromhex(self.identity.provider_id)

    def listing(self) -> dict[str, Any]:
        return {
            "provider": self.identity.provider_id,
            "trust": "hardware",  # a coordinator's label is not evidence: the SDK must not believe it
            "models": list(self.models),
            "load": 0,
            "statement": self.statement.to_json_object(),
            "evidence": [],
        }

    def open(self, attempt: bytes) -> OpenedRequest:
        return open_request(attempt, provider_id=self.id_bytes, keyring=self.keyring, cache=self.cache, now=NOW_S)


def sse(*documents: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents)


def chunk(text: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": text}}],
    }


def good_stream(opened: OpenedRequest, sealer: FrameSealer) -> Iterable[bytes]:
    """Answer `he` `llo` as a stream."""
    del opened
    yield sealer.head(b'{"status":200,"content_type":"text/event-stream","build":""}')
    yield sealer.content(sse(chunk("he")))
    yield sealer.content(sse(chunk("llo")) + b"data: [DONE]\n\n")
    yield sealer.end(Meter(5, 0, 2, 0))


def good_body(opened: OpenedRequest, sealer: FrameSealer) -> Iterable[bytes]:
    """Answer `hello` as one body."""
    del opened
    body = {
        "id": "chatcmpl-1",
        "model": "tiny",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}}],
    }
    yield sealer.head(b'{"status":200,"content_type":"application/json","build":""}')
    yield sealer.content(json.dumps(body).encode())
    yield sealer.end(Meter(5, 0, 2, 0))


@dataclass
class Peer:
    """What the SDK talks to. `answer` scripts the provider; `on_post` may answer a post before it is opened."""

    providers: list[Provider] = field(default_factory=lambda: [Provider()])
    answer: Answer = good_stream
    on_post: list[Callable[[httpx.Request], httpx.Response | None]] = field(default_factory=list)
    mangle: Callable[[bytes], bytes] = lambda body: body
    requests: list[httpx.Request] = field(default_factory=list)
    opened: list[OpenedRequest] = field(default_factory=list)
    envelopes: list[bytes] = field(default_factory=list)
    models: tuple[str, ...] = ("tiny",)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == "/v1/sealing/providers":
            return httpx.Response(200, json=self.listing())
        if request.url.path.startswith("/v1/models/"):
            return self.model(request.url.path.rpartition("/")[2])
        if request.url.path.startswith("/v1/generations/"):
            return httpx.Response(200, json={"cost_micro_usd": 7})
        if request.method == "POST" and request.url.path == "/v1/chat/completions":
            return self._post(request)
        return httpx.Response(404, json={"error": {"code": "not_found", "message": "no"}})

    def listing(self) -> dict[str, Any]:
        entries = [provider.listing() for provider in self.providers]
        return {
            "v": 1,
            "network": "hushnet-local",
            "time": NOW_S,
            "max_recipients": 8,
            "header_versions": [1],
            "providers": entries,
        }

    def model(self, name: str) -> httpx.Response:
        if name in self.models:
            return httpx.Response(200, json={"id": name})
        return httpx.Response(404, json={"error": {"code": "model_not_found", "message": f"no model {name}"}})

    def posts(self) -> list[httpx.Request]:
        return [request for request in self.requests if request.method == "POST"]

    def _post(self, request: httpx.Request) -> httpx.Response:
        script = self.on_post.pop(0) if self.on_post else None
        if script and (response := script(request)) is not None:
            return response
        raw = request.read()
        self.envelopes.append(raw)
        envelope = parse_envelope(raw)
        by_id = {provider.id_bytes: provider for provider in self.providers}
        index, entry = next((i, entry) for i, entry in enumerate(envelope.entries) if entry.provider_id in by_id)
        opened = by_id[entry.provider_id].open(envelope.select(index))
        self.opened.append(opened)
        body = self.mangle(b"".join(self.answer(opened, opened.frame_sealer())))
        return streamed(body, {"content-type": MEDIA_STREAM, "hushnet-request-id": "42"})


def streamed(body: bytes, headers: dict[str, str]) -> httpx.Response:
    """Make a response whose body is still to be read, as one from a socket is."""
    return httpx.Response(200, stream=httpx.ByteStream(body), headers=headers)


def manual_clock() -> ManualClock:
    return ManualClock(NOW_MS)
