"""The order of calls behind one chat request, without I/O: a generator asks for calls and is sent their replies.

`SyncTransport` and `AsyncTransport` drive the same generators, so both clients and the proxy behave alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import msgspec

from hushnet.foundation.clock import Clock, SystemClock
from hushnet.foundation.errors import CapacityError, HushnetError, RemoteProtocolError, RequestError
from hushnet.foundation.redaction import Secret
from hushnet.sdk.directory import DOCUMENT_BYTES_MAX, Directory, Listing
from hushnet.sdk.errors import error_of, is_foreign, not_a_coordinator, with_status
from hushnet.sdk.policy import TIERS, VerificationPolicy
from hushnet.sdk.results import Facts
from hushnet.sdk.routing import NO_ROUTE, Conversations, Route, Turn
from hushnet.sdk.sealed import ENDPOINT, SealedExchange, fields_of
from hushnet.sealing.statements import Recipient

ANSWER_BYTES_MAX: Final = 64 << 20
ERROR_BYTES_MAX: Final = 64 << 10
CONSUMER_NAME: Final = "you"
COORDINATOR_NAME: Final = "the coordinator's memory"
KEY_ADVICE: Final = (
    "`hush up` stores the key of a network of your own, the operator of another gives one out; "
    "--api-key or HUSH_API_KEY names it"
)
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


Plan = Generator[Call, Reply, Any]


def _forget(_: bytes) -> None:
    """Remember nobody."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A sealed request whose answer flows; `proven` is the tier of each provider as it was verified here."""

    exchange: SealedExchange
    reply: Reply
    proven: Mapping[bytes, str]
    served_by: Callable[[bytes], None] = _forget
    """Told which provider answers, once it has proved that it does."""


@dataclass(slots=True)
class Session:
    """What one client keeps between requests: the key, the policy, the verified directory."""

    api_key: Secret | None
    policy: VerificationPolicy
    clock: Clock = field(default_factory=SystemClock)
    key_source: str = ""
    reseals_max: int = 2
    directory: Directory = field(init=False)
    conversations: Conversations | None = field(default_factory=Conversations)
    """None sends no affinity tags and no cache salts."""

    def __post_init__(self) -> None:
        self.directory = Directory(self.policy)

    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.reveal()}"} if self.api_key else {}

    def recipients(self, model: str) -> Generator[Call, Reply, Listing]:
        """Return the verified listing for `model`, fetching it (without credentials) when none is fresh."""
        if listing := self.directory.fresh(model, monotonic_s=self.clock.monotonic_s()):
            return listing
        path = f"/v1/sealing/providers?model={quote(model, safe='')}&limit=64"
        reply = self._accepted((yield Call("GET", path)))
        return self.directory.accept(
            model, reply.body, now_s=self.clock.now_ms() // 1000, monotonic_s=self.clock.monotonic_s()
        )

    def choose(
        self, model: str, *, route: Route = NO_ROUTE, preferred: Set[bytes] = frozenset()
    ) -> Generator[Call, Reply, tuple[Listing, tuple[Recipient, ...]]]:
        """Choose whom to seal to, those that are `preferred` before others.

        Raises `RequestError` `model_not_found` where the network has no such model.
        """
        listing = yield from self.recipients(model)
        if listing.is_empty:
            reply = yield Call("GET", model_path(model))
            if reply.status == 404 and (error := self._error(reply)).error_code == "model_not_found":
                raise error
        now_s = self.clock.now_ms() // 1000
        try:
            chosen = self.directory.choose(model, listing, now_s=now_s, allows=route.allows, preferred=preferred)
        except CapacityError:
            self.directory.forget(model)  # whoever is missing may have come since it was fetched
            raise
        return listing, chosen

    def open_sealed(self, body: bytes, route: Route = NO_ROUTE) -> Generator[Call, Reply, Opened]:
        """Seal `body` and post it until an answer flows; a rotation of keys is resealed, under a new id."""
        if route.is_own_only and not route.only:
            raise RequestError(
                "which machines are your own is only the coordinator's word",
                code="bad_route",
                hint="name them in `only` (`--only`): `hush provider record` lists them; or ask in standard mode",
            )
        floor = self.policy.floor or "none"
        model = fields_of(body, floor).model
        turn = Turn(body, self.conversations)
        for left in range(self.reseals_max, -1, -1):
            listing, chosen = yield from self.choose(model, route=route, preferred=turn.likely)
            now_s = self.clock.now_ms() // 1000
            exchange = SealedExchange(body, chosen, trust=floor, now_s=now_s, cache_salt=turn.cache_salt)
            headers = {**exchange.headers, **turn.headers, **route.headers, **self.credentials()}
            reply = yield Call("POST", ENDPOINT, headers, exchange.envelope, is_stream=True)
            if reply.is_success:
                if reply.media_type != exchange.media_type:
                    exchange.drop()
                    raise RemoteProtocolError(
                        "the coordinator answered a sealed request with something that is not sealed",
                        code="not_sealed",
                        hint="nothing of the answer was used; the address may not be a Hushnet coordinator",
                    )
                return Opened(exchange, reply, listing.proven, self._served(model, turn))
            exchange.drop()
            error = self._error(reply)
            if left == 0 or error.error_code not in _STALE_CODES:
                raise error
            self.directory.forget(model)
        raise AssertionError("the loop returns or raises")

    def _served(self, model: str, turn: Turn) -> Callable[[bytes], None]:
        def served_by(provider_id: bytes) -> None:
            turn.served_by(provider_id)
            if self.conversations is not None:
                self.directory.keep(model, provider_id)

        return served_by

    def open_standard(self, body: bytes, route: Route = NO_ROUTE) -> Generator[Call, Reply, Reply]:
        """Post `body` as it is: the coordinator reads it while it seals it."""
        headers = {"Content-Type": "application/json", **route.headers, **self.credentials()}
        reply = yield Call("POST", ENDPOINT, headers, body, is_stream=True)
        return self._accepted(reply)

    def get(self, path: str, *, is_public: bool = False) -> Generator[Call, Reply, Any]:
        """Fetch a JSON document."""
        reply = self._accepted((yield Call("GET", path, {} if is_public else self.credentials())))
        return _json(reply.body)

    def send(self, method: str, path: str, document: Any = None) -> Generator[Call, Reply, Any]:
        """Send a JSON document with a method that changes something; returns the decoded answer or None."""
        body = b"" if document is None else msgspec.json.encode(document)
        headers = {**({"Content-Type": "application/json"} if body else {}), **self.credentials()}
        reply = self._accepted((yield Call(method, path, headers, body)))
        return _json(reply.body) if reply.body else None

    def download(self, path: str) -> Generator[Call, Reply, None]:
        """Open a document that is written while it is sent, with the key."""
        self._accepted((yield Call("GET", path, self.credentials(), is_stream=True)))

    def cost(self, request_id: str) -> Generator[Call, Reply, int | None]:
        """Ask what a finished request cost; None when the coordinator can't say."""
        if not request_id.isdecimal():
            return None
        reply = yield Call("GET", f"/v1/generations/{request_id}", self.credentials())
        cost = _json(reply.body).get("cost_micro_usd") if reply.is_success else None
        return cost if type(cost) is int else None

    def _accepted(self, reply: Reply) -> Reply:
        """Return `reply`; raises the error that a non-2xx one stands for."""
        if not reply.is_success:
            raise self._error(reply)
        return reply

    def _error(self, reply: Reply) -> HushnetError:
        if is_foreign(reply.status, reply.body):
            return not_a_coordinator()
        hint = None
        if reply.status == 401 and self.key_source:
            hint = f"the key came from {self.key_source}; {KEY_ADVICE}"
        return error_of(reply.status, reply.body, retry_after=reply.headers.get("retry-after"), hint=hint)


def sealed_facts(opened: Opened) -> Facts:
    """Tell what is known before the first record: everyone it was wrapped for was able to read it, the least trusted too."""
    ids = [recipient.provider_id for recipient in opened.exchange.recipients]
    return Facts(
        sealed=True,
        trust=min((opened.proven[provider_id] for provider_id in ids), key=TIERS.index),
        readable_by=(CONSUMER_NAME, *(f"provider {provider_id.hex()[:16]}" for provider_id in ids)),
        request_id=opened.reply.headers.get("hushnet-request-id", ""),
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
        raise with_status(
            RequestError("that is not a model id", code="model_not_found", hint="`hush models` lists what is on offer"),
            404,
        )
    return f"/v1/models/{quote(model)}"


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        raise not_a_coordinator() from None
