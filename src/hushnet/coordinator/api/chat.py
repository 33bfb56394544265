"""`POST /v1/chat/completions`: raw ASGI, one route for both modes, told apart by the content type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from starlette.types import Message, Receive, Scope, Send

from hushnet.coordinator.accounts.model import Scope as KeyScope
from hushnet.coordinator.accounts.service import Accounts
from hushnet.coordinator.api.bodies import header_of, media_type_of, read_body
from hushnet.coordinator.api.http.direct import line_of
from hushnet.coordinator.api.idempotency import Claim, Repeated, RequestOnce
from hushnet.coordinator.api.preferences import read_preferences, read_tags
from hushnet.coordinator.api.sealed import form_of, read_envelope
from hushnet.coordinator.api.streaming import Form, StandardForm, answer, refuse
from hushnet.coordinator.confidential import ENDPOINT, AffinityKeys, StandardRequest
from hushnet.coordinator.routing.model import Preferences
from hushnet.coordinator.serving.failures import Failure
from hushnet.coordinator.serving.model import Consumer, RequestBody
from hushnet.coordinator.serving.seal import StandardBody
from hushnet.coordinator.serving.service import RequestService
from hushnet.coordinator.settings import HttpSettings
from hushnet.coordinator.telemetry.timing import BODY, PARSE, RESERVE, STOPWATCH, X_TIMING, Stopwatch
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId
from hushnet.sealing.streaming import MEDIA_REQUEST

_JSON: Final = frozenset({"application/json", ""})
QUEUE_UPDATES: Final = b"hushnet-queue-updates"
_STANDARD: Final = StandardForm()


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who comes without a key. `account` keeps its conversations apart from other people's, and is nobody's account."""

    account: AccountId
    payment: object = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A visitor that has paid for this one request; `headers` tell it so, on whatever is answered."""

    consumer: Consumer
    headers: Sequence[tuple[bytes, bytes]]


class WalkIns(Protocol):
    """Whoever takes in requests without a key (`api.money.x402.PayPerUse`)."""

    @property
    def bounds(self) -> HttpSettings:
        """What may be read of such a request's body."""
        ...

    def visitor(self, scope: Scope) -> Visitor:
        """Read who it says it is; raises `RequestError`, and `CapacityError` when too many come."""
        ...

    async def admit(
        self, visitor: Visitor, body: RequestBody, raw: bytes, scope: Scope, send: Send
    ) -> Admitted | Failure | None:
        """Have the request paid; None when it has been answered, as with what it costs."""
        ...

    async def give_back(self, consumer: Consumer) -> None:
        """Release what a request was held for that was refused."""
        ...


class ChatEndpoint:
    """The ASGI application of the route. Errors before anything runs are raised, for the dispatcher to render."""

    def __init__(
        self,
        service: RequestService,
        accounts: Accounts,
        settings: HttpSettings | None = None,
        *,
        once: RequestOnce | None = None,
        walk_ins: WalkIns | None = None,
    ) -> None:
        """Serve who has a key of `accounts`, and through `walk_ins` who has none.

        `once` keeps what clients call their requests; without it their `Idempotency-Key` is refused.
        """
        self._service = service
        self._once = once or RequestOnce(service)
        self._accounts = accounts
        self._settings = settings or HttpSettings()
        self._walk_ins = walk_ins
        self._affinity_keys = AffinityKeys()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = scope[STOPWATCH] = self._service.stopwatch()
        authorization = header_of(scope, b"authorization")
        if authorization is None and self._walk_ins is not None:
            await self._serve_walk_in(self._walk_ins, scope, receive, send)
            return
        caller = await self._accounts.authenticate(
            None if authorization is None else authorization.decode("latin-1"), KeyScope.USER
        )
        preferences = read_preferences(scope, caller.account_id, self._service.roll)
        body, form, raw = await self._read(scope, receive, self._settings, caller.account_id, preferences)
        consumer = Consumer(caller.account_id, caller.key_id, caller.referrer)
        watch.enter(RESERVE)
        claim = await self._once.claim(scope, caller.account_id, raw)
        if isinstance(claim, Repeated):
            headers = [(b"hushnet-mode", body.mode.value.encode()), (X_TIMING, watch.render())]
            await claim.refuse(send, is_sealed=form.is_sealed, headers=headers)
            return
        del raw
        release = None if claim is None else claim.release
        await self._serve(consumer, scope, receive, send, body=body, form=form, claim=claim, release=release)

    async def _serve(
        self,
        consumer: Consumer,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        body: RequestBody,
        form: Form,
        claim: Claim | None = None,
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Submit and answer; what was taken for a request that is refused before anything of it ran is released first."""
        is_told = header_of(scope, QUEUE_UPDATES) == b"true" and body.facts.is_stream and form.is_events
        life = self._service.submit(consumer, body, scope[STOPWATCH], is_told_its_place=is_told, claim=claim)
        if isinstance(life, Failure):
            if release is not None:
                await release()
            await _refuse(send, life, body, form, scope)
            return
        await answer(life, receive, send, form, line_of(scope))

    async def _serve_walk_in(self, walk_ins: WalkIns, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that comes without a key: whoever takes such requests in is paid for this one, or answers it."""
        visitor = walk_ins.visitor(scope)
        preferences = read_preferences(scope, visitor.account, self._service.roll)
        body, form, raw = await self._read(scope, receive, walk_ins.bounds, visitor.account, preferences)
        scope[STOPWATCH].enter(RESERVE)
        admitted = await walk_ins.admit(visitor, body, raw, scope, send)
        if isinstance(admitted, Failure):
            await _refuse(send, admitted, body, form, scope)
        elif admitted is not None:
            shown = _with_headers(send, admitted.headers)
            release = partial(walk_ins.give_back, admitted.consumer)
            await self._serve(admitted.consumer, scope, receive, shown, body=body, form=form, release=release)

    async def _read(
        self, scope: Scope, receive: Receive, settings: HttpSettings, account: AccountId, preferences: Preferences
    ) -> tuple[RequestBody, Form, bytes]:
        watch: Stopwatch = scope[STOPWATCH]
        watch.enter(BODY)
        media_type = media_type_of(scope)
        if media_type == MEDIA_REQUEST:
            (stream_form, form), tags = form_of(scope), read_tags(scope)
            raw = await read_body(
                scope, receive, bytes_max=settings.sealed_body_bytes_max, idle_s=settings.body_idle_s_max
            )
            watch.enter(PARSE)
            body = read_envelope(raw, endpoint=ENDPOINT, form=stream_form, preferences=preferences, tags=tags)
            return body, form, raw
        if media_type not in _JSON:
            raise RequestError("send application/json, or a sealed request", code="unsupported_media_type")
        raw = await read_body(scope, receive, bytes_max=settings.body_bytes_max, idle_s=settings.body_idle_s_max)
        watch.enter(PARSE)
        request = StandardRequest(
            raw,
            output_tokens_default=self._service.limits.output_tokens_default,
            affinity_key=self._affinity_keys.key_of(account),
        )
        return StandardBody(request, preferences=preferences), _STANDARD, raw


async def _refuse(send: Send, failure: Failure, body: RequestBody, form: Form, scope: Scope) -> None:
    headers = [(b"hushnet-mode", body.mode.value.encode()), (X_TIMING, scope[STOPWATCH].render())]
    await refuse(send, failure, form, headers=headers)


def _with_headers(send: Send, headers: Sequence[tuple[bytes, bytes]]) -> Send:
    async def shown(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return shown
