"""`POST /v1/chat/completions`: raw ASGI, one route for both modes, told apart by the content type."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

from hushnet.coordinator.accounts.model import Scope as KeyScope
from hushnet.coordinator.accounts.service import Accounts
from hushnet.coordinator.api.bodies import header_of, media_type_of, read_body
from hushnet.coordinator.api.http.direct import line_of
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
from hushnet.coordinator.telemetry.timing import BODY, PARSE, STOPWATCH, X_TIMING, Stopwatch
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId
from hushnet.sealing.streaming import MEDIA_REQUEST

_JSON: Final = frozenset({"application/json", ""})
QUEUE_UPDATES: Final = b"hushnet-queue-updates"
_STANDARD: Final = StandardForm()


class ChatEndpoint:
    """The ASGI application of the route. Errors before anything runs are raised, for the dispatcher to render."""

    def __init__(self, service: RequestService, accounts: Accounts, settings: HttpSettings | None = None) -> None:
        self._service = service
        self._accounts = accounts
        self._settings = settings or HttpSettings()
        self._affinity_keys = AffinityKeys()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = scope[STOPWATCH] = self._service.stopwatch()
        authorization = header_of(scope, b"authorization")
        caller = await self._accounts.authenticate(
            None if authorization is None else authorization.decode("latin-1"), KeyScope.USER
        )
        preferences = read_preferences(scope, caller.account_id, self._service.roll)
        body, form = await self._read(scope, receive, watch, caller.account_id, preferences)
        is_told = header_of(scope, QUEUE_UPDATES) == b"true" and body.facts.is_stream and form.is_events
        consumer = Consumer(caller.account_id, caller.key_id, caller.referrer)
        life = self._service.submit(consumer, body, watch, is_told_its_place=is_told)
        if isinstance(life, Failure):
            headers = [(b"hushnet-mode", body.mode.value.encode()), (X_TIMING, watch.render())]
            await refuse(send, life, form, headers=headers)
            return
        await answer(life, receive, send, form, line_of(scope))

    async def _read(
        self, scope: Scope, receive: Receive, watch: Stopwatch, account: AccountId, preferences: Preferences
    ) -> tuple[RequestBody, Form]:
        watch.enter(BODY)
        media_type, settings = media_type_of(scope), self._settings
        if media_type == MEDIA_REQUEST:
            (stream_form, form), tags = form_of(scope), read_tags(scope)
            raw = await read_body(
                scope, receive, bytes_max=settings.sealed_body_bytes_max, idle_s=settings.body_idle_s_max
            )
            watch.enter(PARSE)
            body = read_envelope(raw, endpoint=ENDPOINT, form=stream_form, preferences=preferences, tags=tags)
            return body, form
        if media_type not in _JSON:
            raise RequestError("send application/json, or a sealed request", code="unsupported_media_type")
        raw = await read_body(scope, receive, bytes_max=settings.body_bytes_max, idle_s=settings.body_idle_s_max)
        watch.enter(PARSE)
        request = StandardRequest(
            raw,
            output_tokens_default=self._service.limits.output_tokens_default,
            affinity_key=self._affinity_keys.key_of(account),
        )
        return StandardBody(request, preferences=preferences), _STANDARD
