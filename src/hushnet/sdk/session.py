"""The order of calls behind one chat request, without I/O: a generator asks for calls and is sent their replies.

`SyncTransport` and `AsyncTransport` drive the same generators, so both clients and the proxy behave alike.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import msgspec

from hushnet.foundation.clock import Clock, SystemClock
from hushnet.foundation.errors import RemoteProtocolError
from hushnet.foundation.redaction import Secret
from hushnet.sdk.directory import DOCUMENT_BYTES_MAX, Directory, Listing
from hushnet.sdk.errors import error_of
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.results import Facts
from hushnet.sdk.sealed import ENDPOINT, SealedExchange, fields_of

ANSWER_BYTES_MAX: Final = 64 << 20
ERROR_BYTES_MAX: Final = 64 << 10
CONSUMER_NAME: Final = "you"
COORDINATOR_NAME: Final = "the coordinator's memory"
_STALE_CODES: Final = frozenset({"keys_stale", "recipients_unavailable", "unknown_key"})
_MODEL_ID: Final = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request to make. With `is_stream`, a 2xx reply is handed back with its body unread."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_stream: bool = False
    body_bytes_max: int = DOCUMENT_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: `body` is empty when the call asked for a stream and got a 2xx."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def require_success(self) -> Reply:
        """Return itself; raises the error that a non-2xx reply stands for."""
        if not self.is_success:
            raise error_of(self.status, self.body, retry_after=self.headers.get("retry-after"))
        return self


Plan = Generator[Call, Reply, Any]


@dataclass(slots=True)
class Session:
    """What one client keeps between requests: the key, the policy, the verified directory."""

    api_key: Secret | None
    policy: VerificationPolicy
    clock: Clock = field(default_factory=SystemClock)
    reseals_max: int = 2
    directory: Directory = field(init=False)

    def __post_init__(self) -> None:
        self.directory = Directory(self.policy)

    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.reveal()}"} if self.api_key else {}

    def recipients(self, model: str) -> Generator[Call, Reply, Listing]:
        """Return the verified listing for `model`, fetching it (without credentials) when none is fresh."""
        if listing := self.directory.fresh(model, monotonic_s=self.clock.monotonic_s()):
            return listing
        path = f"/v1/sealing/providers?model={quote(model, safe='')}&limit=64"
        reply = (yield Call("GET", path)).require_success()
        return self.directory.accept(
            model, reply.body, now_s=self.clock.now_ms() // 1000, monotonic_s=self.clock.monotonic_s()
        )

    def open_sealed(self, body: bytes) -> Generator[Call, Reply, tuple[SealedExchange, Reply]]:
        """Seal `body` and post it until an answer flows; a rotation of keys is resealed, under a new id."""
        floor = self.policy.floor or "none"
        model = fields_of(body, floor).model
        for left in range(self.reseals_max, -1, -1):
            listing = yield from self.recipients(model)
            now_s = self.clock.now_ms() // 1000
            chosen = self.directory.choose(model, listing, now_s=now_s)
            exchange = SealedExchange(body, chosen, trust=floor, now_s=now_s)
            headers = {**exchange.headers, **self.credentials()}
            reply = yield Call("POST", ENDPOINT, headers, exchange.envelope, is_stream=True)
            if reply.is_success:
                if reply.media_type != exchange.media_type:
                    exchange.drop()
                    raise RemoteProtocolError(
                        "the coordinator answered a sealed request with something that is not sealed",
                        code="not_sealed",
                        hint="nothing of the answer was used; the address may not be a Hushnet coordinator",
                    )
                return exchange, reply
            exchange.drop()
            error = error_of(reply.status, reply.body, retry_after=reply.headers.get("retry-after"))
            if left == 0 or error.error_code not in _STALE_CODES:
                raise error
            self.directory.forget(model)
        raise AssertionError("the loop returns or raises")

    def open_standard(self, body: bytes) -> Generator[Call, Reply, Reply]:
        """Post `body` as it is: the coordinator reads it while it seals it."""
        headers = {"Content-Type": "application/json", **self.credentials()}
        reply = yield Call("POST", ENDPOINT, headers, body, is_stream=True)
        return reply.require_success()

    def get(self, path: str, *, is_public: bool = False) -> Generator[Call, Reply, Any]:
        """Fetch a JSON document."""
        reply = (yield Call("GET", path, {} if is_public else self.credentials())).require_success()
        return _json(reply.body)

    def send(self, method: str, path: str, document: Any = None) -> Generator[Call, Reply, Any]:
        """Send a JSON document with a method that changes something; returns the decoded answer or None."""
        body = b"" if document is None else msgspec.json.encode(document)
        headers = {**({"Content-Type": "application/json"} if body else {}), **self.credentials()}
        reply = (yield Call(method, path, headers, body)).require_success()
        return _json(reply.body) if reply.body else None

    def cost(self, request_id: str) -> Generator[Call, Reply, int | None]:
        """Ask what a finished request cost; None when the coordinator can't say."""
        if not request_id.isdecimal():
            return None
        reply = yield Call("GET", f"/v1/generations/{request_id}", self.credentials())
        cost = _json(reply.body).get("cost_micro_usd") if reply.is_success else None
        return cost if type(cost) is int else None


def sealed_facts(exchange: SealedExchange, reply: Reply, *, trust: str) -> Facts:
    """Tell what is known before the first record: everyone it was wrapped for was able to read it."""
    readers = tuple(f"provider {recipient.provider_id.hex()[:16]}" for recipient in exchange.recipients)
    return Facts(
        sealed=True,
        trust=trust,
        readable_by=(CONSUMER_NAME, *readers),
        request_id=reply.headers.get("hushnet-request-id", ""),
    )


def standard_facts(reply: Reply) -> Facts:
    """Tell what the coordinator said about an answer in standard mode."""
    provider = reply.headers.get("hushnet-provider", "")
    return Facts(
        sealed=False,
        trust=reply.headers.get("hushnet-trust", "none"),
        readable_by=(CONSUMER_NAME, COORDINATOR_NAME, f"provider {provider[:16]}" if provider else "the provider"),
        provider_id=provider,
        request_id=reply.headers.get("hushnet-request-id", ""),
    )


def model_path(model: str) -> str:
    """Return the path of one model's description."""
    if not _MODEL_ID.fullmatch(model):
        raise RemoteProtocolError("that is not a model id", code="model_not_found")
    return f"/v1/models/{quote(model)}"


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        raise RemoteProtocolError("the coordinator's answer is not JSON", code="bad_answer") from None
