"""Where Stripe tells: two addresses, each with secrets of its own. Verified, stored, answered; applied later.

An event counts once it is stored: only then is it answered 200, and anything else has Stripe deliver it again for days.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.api.bodies import json_response, read_body
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import BODY_BYTES_MAX
from hushnet.coordinator.payments.stripe.events import ACCOUNT, CONNECT
from hushnet.coordinator.payments.stripe.webhook import verified
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.redaction import Secret

_IDLE_S: Final = 10.0


class StripeWebhooks:
    """Routes that need no key: the signature is the proof."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        *,
        secrets: Sequence[Secret],
        connect_secrets: Sequence[Secret],
        is_live: bool,
    ) -> None:
        """`secrets` of the account's endpoint and of the one for connected accounts; several while one is rotated."""
        self._inbox = inbox
        self._clock = clock
        self._secrets = secrets
        self._connect_secrets = connect_secrets
        self._is_live = is_live

    def routes(self) -> list[Route]:
        return [
            route("/v1/webhooks/stripe", {"POST": self.account}),
            route("/v1/webhooks/stripe-connect", {"POST": self.connected}),
        ]

    async def account(self, request: Request) -> Response:
        """Take an event of our own account."""
        return await self._receive(request, ACCOUNT, self._secrets)

    async def connected(self, request: Request) -> Response:
        """Take an event of a connected account: whoever holds one must not be able to speak for ours."""
        return await self._receive(request, CONNECT, self._connect_secrets)

    async def _receive(self, request: Request, source: str, secrets: Sequence[Secret]) -> Response:
        body = await read_body(request.scope, request.receive, bytes_max=BODY_BYTES_MAX, idle_s=_IDLE_S)
        signature = request.headers.get("stripe-signature")
        event = verified(body, signature, secrets, now_ms=self._clock.now_ms(), is_live=self._is_live)
        if (event.account is not None) is not (source == CONNECT):
            raise RequestError("this webhook is refused: it belongs to the other address", code="bad_webhook")
        is_new = await self._inbox.receive(source, event.id, kind=event.type, subject=event.subject, body=body)
        return json_response({"received": True, "new": is_new})
