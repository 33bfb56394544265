"""Pay per use at the door: a request without a key is told what it costs, and with a payment is served once.

The terms are the hold that the very same request would need, so it is asked for again with each payment; the header that pays is
`PAYMENT-SIGNATURE` (x402 version 2) or `X-PAYMENT` (version 1). Sealed requests pay alike: the payment is beside the envelope.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope, Send

from hushnet.coordinator.api.bodies import header_of, json_response, media_type_of
from hushnet.coordinator.api.chat import Admitted, Visitor
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.api.http.visitors import VisitorRate
from hushnet.coordinator.api.preferences import HEADER as ROUTE_HEADER
from hushnet.coordinator.catalog.rules import checked_model
from hushnet.coordinator.ledger.model import Close, CloseKind, Mode, Tier, Usage, UsageOutcome
from hushnet.coordinator.ledger.prices import Reservation, hold_amount
from hushnet.coordinator.payments.x402.book import Bought, Wanted
from hushnet.coordinator.payments.x402.payload import V1, V2, Payment, Scheme, read_payment
from hushnet.coordinator.payments.x402.purchases import QUOTA, Denied, Due, Pending, Purchase, Purchases
from hushnet.coordinator.payments.x402.terms import (
    REQUIRED_HEADER,
    SIGNATURE_HEADER,
    V1_SIGNATURE_HEADER,
    Offer,
    Receipt,
    encoded,
)
from hushnet.coordinator.serving.failures import Failure
from hushnet.coordinator.serving.model import Consumer, Prepaid, RequestBody
from hushnet.coordinator.serving.reserve import Quote
from hushnet.coordinator.serving.service import RequestService
from hushnet.coordinator.serving.store import RequestLedger, Tariff, Tariffs
from hushnet.coordinator.settings import HttpSettings, X402Settings
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import AccessError, CapacityError, HushnetError, RequestError
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId

TERMS_PATH: Final = "/v1/x402/terms"
NO_KEY: Final = ApiKeyId(0)
_ANYBODY: Final = AccountId(0)
_PAYMENT_HEADERS: Final = {SIGNATURE_HEADER: V2, V1_SIGNATURE_HEADER: V1}
_RETRY_S: Final = 5.0
_LAST_S: Final = 2.0
"""How long a request that is cancelled waits for its payment: a transaction ends in that, a settlement need not."""
_TOKENS_MAX: Final = 1 << 24


class PayPerUse:
    """The door for requests without a key (`api.chat.WalkIns`), and what it tells of itself."""

    def __init__(
        self,
        service: RequestService,
        purchases: Purchases,
        ledger: RequestLedger,
        tariffs: Tariffs,
        *,
        offer: Offer,
        clock: Clock,
        settings: X402Settings,
        http: HttpSettings | None = None,
    ) -> None:
        """Sell requests of `service` on the terms of `offer`; `purchases` has them paid."""
        self._service = service
        self._purchases = purchases
        self._ledger = ledger
        self._tariffs = tariffs
        self._offer = offer
        self._clock = clock
        http, bytes_max = http or HttpSettings(), settings.body_bytes_max
        self.bounds = replace(
            http,
            body_bytes_max=min(http.body_bytes_max, bytes_max),
            sealed_body_bytes_max=min(http.sealed_body_bytes_max, bytes_max),
        )
        self._rate = VisitorRate(settings)

    def routes(self) -> list[Route]:
        return [route(TERMS_PATH, {"GET": self.show_terms})]

    async def show_terms(self, request: Request) -> Response:
        """Tell what a model costs per use; `prompt_tokens` and `output_tokens` are bounds of the request in question."""
        query = request.query_params
        model = ModelId(checked_model(query.get("model", "")))
        prompt = _count("prompt_tokens", query.get("prompt_tokens", "0"))
        output = _count("output_tokens", query.get("output_tokens", str(self._service.limits.output_tokens_default)))
        price, dearest = self._tariffs.tariff_of(model).price, self._service.limits.terms.tier_bps_max(Tier.NONE)
        amount = hold_amount(price, prompt_tokens_max=prompt, output_tokens_max=output, tier_bps_max=dearest)
        document = self._offer.payment_required(amount, error="", is_upto=True) if amount else {"accepts": []}
        shown = {"input": price.input, "cached": price.cached, "output": price.output, "minimum": price.minimum}
        unit = "micro-USD per 1000000 tokens"
        return json_response({"model": model, "price": shown, "price_unit": unit, **document})

    def visitor(self, scope: Scope) -> Visitor:
        """See `WalkIns.visitor`: the payer whose signature it claims to bring, not verified yet."""
        wait_s = self._rate.take(scope, self._clock.monotonic_s())
        if wait_s:
            raise CapacityError("too many requests without a key", code="rate_limited", retry_after_s=wait_s)
        found = [
            read_payment(value, version=version)
            for name, version in _PAYMENT_HEADERS.items()
            if (value := header_of(scope, name)) is not None
        ]
        if len(found) > 1:
            raise RequestError("one payment pays one request", code="bad_payment")
        return Visitor(_pseudonym(found[0]), found[0]) if found else Visitor(_ANYBODY)

    async def admit(
        self, visitor: Visitor, body: RequestBody, raw: bytes, scope: Scope, send: Send
    ) -> Admitted | Failure | None:
        """See `WalkIns.admit`. Nothing is charged for what would not be served now."""
        quote = self._service.quote(Consumer(visitor.account, NO_KEY), body)
        if isinstance(quote, Failure):
            return quote
        if quote.amount == 0:
            raise AccessError("what is free needs a key", code="invalid_api_key")
        payment, is_stream = visitor.payment, body.facts.is_stream
        if not isinstance(payment, Payment):
            await self._ask(send, quote, "payment_required", is_upto=not is_stream)
            return None
        if payment.scheme is Scheme.UPTO and is_stream:
            # What a stream has cost is known when its consumer has everything, and may be gone.
            await self._ask(send, quote, "unsupported_scheme", is_upto=False)
            return None
        digest = _digest(payment, raw, scope)
        wanted = Wanted(quote.amount, quote.expires_ms)
        purchase = await self._bought(payment, digest, wanted, quote.tariff)
        if isinstance(purchase, Due):
            await self._ask(send, quote, purchase.reason, is_upto=not is_stream)
            return None
        if not isinstance(purchase, Bought):
            raise _refusal(purchase)
        return Admitted(_consumer(purchase, quote.tariff), _receipt(payment, purchase))

    async def give_back(self, consumer: Consumer) -> None:
        """See `WalkIns.give_back`; what was paid stays the wallet's credit."""
        assert consumer.prepaid is not None, "only what was prepaid is given back"
        held = consumer.prepaid.reservation
        usage = Usage(NO_KEY, ModelId(""), UsageOutcome.NOT_DELIVERED, mode=Mode.STANDARD)
        await self._ledger.close(Close(held.id, held.owner, held.parts, CloseKind.VOID, usage, caps=held.caps))

    async def _bought(self, payment: Payment, digest: bytes, wanted: Wanted, tariff: Tariff) -> Purchase:
        """Have it paid. Of a request that is cancelled meanwhile nothing stays held; what is on its way is taken up later."""
        buying = asyncio.ensure_future(self._purchases.buy(payment, digest=digest, wanted=wanted))
        try:
            return await asyncio.shield(buying)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait({buying}, timeout=_LAST_S)
            if not done:
                buying.cancel()
            elif (
                not buying.cancelled() and buying.exception() is None and isinstance(bought := buying.result(), Bought)
            ):
                await self.give_back(_consumer(bought, tariff))
            raise

    async def _ask(self, send: Send, quote: Quote, reason: str, *, is_upto: bool) -> None:
        """Answer 402 with the terms, in both versions at once."""
        body = msgspec.json.encode(self._offer.payment_required_v1(quote.amount, error=reason))
        terms = encoded(self._offer.payment_required(quote.amount, error=reason, is_upto=is_upto))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (REQUIRED_HEADER, terms),
            (b"access-control-expose-headers", REQUIRED_HEADER),
        ]
        await send({"type": "http.response.start", "status": 402, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _consumer(bought: Bought, tariff: Tariff) -> Consumer:
    """Return who is served, with the hold that is there already."""
    reservation = Reservation(bought.request, bought.owner, bought.parts, bought.caps)
    return Consumer(bought.owner, NO_KEY, prepaid=Prepaid(reservation, tariff))


def _refusal(purchase: Pending | Denied) -> HushnetError:
    if isinstance(purchase, Pending):
        return CapacityError(
            "what became of the payment is not known yet", code="payment_pending", retry_after_s=purchase.retry_after_s
        )
    if purchase.code == "too_many_payments":
        return CapacityError("payments of this wallet are open", code=purchase.code, retry_after_s=_RETRY_S)
    family = AccessError if purchase.code in ("payer_barred", "account_frozen", QUOTA) else RequestError
    return family("this payment buys nothing", code=purchase.code)


def _receipt(payment: Payment, bought: Bought) -> list[tuple[bytes, bytes]]:
    """Tell the client what was settled. Of an `upto` payment nothing is yet, so there is nothing to tell."""
    if payment.scheme is Scheme.UPTO:
        return []
    row, network = bought.row, payment.network
    return Receipt(payment.version, network, payment.payer, row.txid, row.settled).headers()


def _pseudonym(payment: Payment) -> AccountId:
    """Return a number for a payer that is no account's: it keeps what is cached for one payer from all others."""
    digest = hashlib.sha256(b"hushnet x402 payer\0" + payment.payer.encode("ascii")).digest()
    return AccountId(-1 - int.from_bytes(digest[:7], "big"))


def _digest(payment: Payment, raw: bytes, scope: Scope) -> bytes:
    """Return what makes this request this one: everything that was signed, and everything that was asked for."""
    found = hashlib.sha256(b"hushnet x402 request\0")
    route_header = header_of(scope, ROUTE_HEADER.encode("ascii")) or b""
    signed = msgspec.json.encode(payment.inner())
    for part in (
        scope["path"].encode(),
        media_type_of(scope).encode(),
        route_header,
        b"%d" % payment.version,
        signed,
        raw,
    ):
        found.update(len(part).to_bytes(8, "big") + part)
    return found.digest()


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 8 and int(text) <= _TOKENS_MAX):
        raise RequestError(f"{name} is a number of tokens", code="out_of_range")
    return int(text)
