"""CoinPayPortal: hosted invoices whose coins are forwarded to the operator's wallets.

Its own documents disagree on paths, field names and amounts (numbers or text), and two webhook dialects are in use. The
documented dialect is the default and every point of dispute is a setting. `success: false` with 200 is a refusal.
A payment may be announced as confirmed, as forwarded, or as both: each says how much came in, and only more of it counts.
It has no interface for sending coins: payouts of its pairs go by hand (`gateways/manual.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote as quoted

import msgspec

from hushnet.coordinator.payments.coins.addresses import AddressError, Destination, check_address
from hushnet.coordinator.payments.coins.assets import PAIRS, Pair, pair_named
from hushnet.coordinator.payments.coins.gateways.base import REFERENCE, Stray, Webhook, Word, invoice_reference
from hushnet.coordinator.payments.coins.gateways.http import (
    GatewayError,
    GatewayHttp,
    GatewayRefusedError,
    GatewayUnclearError,
    read_json,
    text_of,
)
from hushnet.coordinator.payments.coins.gateways.signatures import is_body_signature, is_timed_signature
from hushnet.coordinator.payments.coins.model import CoinInvoice, Quote, Sighting
from hushnet.coordinator.payments.coins.rates import RateError, parse_rate
from hushnet.coordinator.payments.coins.units import parse_units
from hushnet.foundation.redaction import Secret

NAME: Final = "coinpay"
_SHORT: Final = {"ethereum": "eth", "polygon": "pol", "solana": "sol", "base": "base"}
CODES: Final = {
    pair.name: f"{pair.asset}_{_SHORT[pair.network]}".lower() if pair.asset in ("USDT", "USDC") else pair.asset.lower()
    for pair in PAIRS
}
"""What CoinPay calls the pairs; a setting overrides each."""
WORDS: Final = {
    "payment.created": Word.NOTHING,
    "payment.detected": Word.SEEN,
    "payment.confirmed": Word.CONFIRMED,
    "payment.forwarding": Word.CONFIRMED,
    "payment.forwarded": Word.CONFIRMED,
    "payment.expired": Word.EXPIRED,
    "payment.failed": Word.FAILED,
    "test.webhook": Word.NOTHING,
}
_CONFIRMED: Final = frozenset({"confirmed", "forwarding", "forwarded"})
_ID_MAX: Final = 128
_WINDOW_MS: Final = 15 * 60_000
"""How long an invoice is open whose answer does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinPayDialect:
    """Where sources disagree. `key_header` other than Authorization carries the bare key."""

    create_path: str = "/payments/create"
    payment_path: str = "/payments/{id}"
    key_header: str = "authorization"
    amount_field: str = "amount_usd"
    coin_field: str = "currency"
    extra_fields: Mapping[str, str] | None = None
    pay_url: str = "https://coinpayportal.com/pay/{id}"
    is_body_signature_taken: bool = False
    """Take the older webhook dialect too, which can be replayed."""
    is_asked_amount_believed: bool = False
    """When a confirmed payment does not say how much came in, take what was asked for."""


class CoinPay:
    """`Gateway` over CoinPayPortal's interface."""

    name = NAME
    words = WORDS

    def __init__(
        self,
        base_url: str,
        key: Secret,
        *,
        webhook_secrets: tuple[Secret, ...],
        codes: Mapping[str, str],
        dialect: CoinPayDialect | None = None,
    ) -> None:
        """`codes`: what the gateway calls each pair that it is used for."""
        self.codes = dict(codes)
        self._secrets = webhook_secrets
        self._dialect = dialect or CoinPayDialect()
        is_bearer = self._dialect.key_header.lower() == "authorization"
        header = Secret(f"Bearer {key.reveal()}") if is_bearer else key
        self._http = GatewayHttp(base_url, headers={self._dialect.key_header: header})

    async def ask(self, invoice: CoinInvoice, *, is_repeated: bool) -> Quote:
        """See `Gateway.ask`. A repeated ask makes another payment; of the first nobody has seen the address."""
        del is_repeated
        dialect, pair = self._dialect, invoice.pair
        document: dict[str, Any] = dict(dialect.extra_fields or {})
        document |= {
            dialect.amount_field: msgspec.Raw(_dollars(invoice.usd)),
            dialect.coin_field: self.codes[pair.name],
            "metadata": {REFERENCE: invoice_reference(invoice.id)},
        }
        payment = _payment(await self._http.call("POST", dialect.create_path, document))
        amount = text_of(payment, "amount_crypto", "crypto_amount", "pay_amount")
        gateway_id = text_of(payment, "id", "payment_id", "invoice_id")
        if not amount or not 1 <= len(gateway_id) <= _ID_MAX:
            raise GatewayUnclearError("answer_incomplete")
        return Quote(
            gateway_id=gateway_id,
            destination=_destination(pair, payment),
            units_due=parse_units(amount, pair),
            expires_ms=_time_ms(text_of(payment, "expires_at")) or invoice.created_ms + _WINDOW_MS,
            url=text_of(payment, "payment_url", "hosted_url", "checkout_url")
            or dialect.pay_url.replace("{id}", quoted(gateway_id, safe="")),
            raw=amount,
        )

    async def rate(self, pair: Pair) -> int:
        """See `Gateway.rate`."""
        try:
            answer = await self._http.call("GET", f"/rates?coin={pair.asset}&fiat=USD")
        except GatewayError:
            raise RateError(f"the rate of {pair.name} is not known now") from None
        return parse_rate(pair, text_of(answer, "rate") or text_of(_member(answer, "data"), "rate"))

    def is_genuine(self, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> bool:
        """See `Gateway.is_genuine`."""
        if header := headers.get("x-coinpay-signature"):
            return is_timed_signature(header, body, self._secrets, now_ms=now_ms)
        header = headers.get("x-cpp-signature", "")
        if not header or not self._dialect.is_body_signature_taken:
            return False
        return is_body_signature(header, body, self._secrets, is_prefixed=False)

    def read(self, body: bytes) -> Webhook:
        """See `Gateway.read`. A delivery without an id of its own is named by the digest of its bytes."""
        document = read_json(body)
        subject = text_of(_data(document), "payment_id", "id", "invoice_id")
        kind = text_of(document, "type", "event")
        event = text_of(document, "id") if "type" in document else ""
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        return Webhook(event=event if event and len(event) <= _ID_MAX else digest, kind=kind, subject=subject)

    async def sighting(self, invoice: CoinInvoice, body: bytes, *, now_ms: int, is_fresh: bool) -> Sighting | None:
        """See `Gateway.sighting`. What is late is told by the gateway's own time of the event."""
        document = read_json(body)
        data = _data(document)
        word = WORDS.get(text_of(document, "type", "event"), Word.NOTHING)
        at_ms = _time_ms(text_of(document, "created_at", "timestamp")) or _time_ms(text_of(data, "timestamp")) or now_ms
        if word is Word.NOTHING:
            return None
        if word in (Word.EXPIRED, Word.FAILED):
            return Sighting(at_ms=at_ms, is_expired=word is Word.EXPIRED, is_failed=word is Word.FAILED)
        raw = text_of(data, "received_amount")
        if word is Word.SEEN:
            return Sighting(at_ms=at_ms, is_seen=True, seen=parse_units(raw, invoice.pair) if raw else 0, raw=raw)
        if not raw or is_fresh:
            raw = await self._received(invoice) or raw
        if not raw:
            return None
        return Sighting(at_ms=at_ms, is_seen=True, confirmed=parse_units(raw, invoice.pair), raw=raw)

    async def look(self, invoice: CoinInvoice, *, now_ms: int) -> Sighting:
        """See `Gateway.look`. A payment without times of its own counts as of now: its coins may be late."""
        assert invoice.gateway_id is not None
        payment = await self._fetched(invoice.gateway_id)
        status, raw = text_of(payment, "status"), self._amount_in(payment)
        at_ms = _time_ms(text_of(payment, "confirmed_at", "detected_at")) or now_ms
        units = parse_units(raw, invoice.pair) if raw else 0
        is_confirmed = status in _CONFIRMED
        return Sighting(
            at_ms=at_ms,
            is_seen=is_confirmed or status == "detected",
            seen=units,
            confirmed=units if is_confirmed else 0,
            is_expired=status == "expired",
            is_failed=status == "failed",
            raw=raw,
        )

    async def stray(self, gateway_id: str) -> Stray | None:
        """See `Gateway.stray`."""
        try:
            payment = await self._fetched(gateway_id)
        except GatewayRefusedError as error:
            if error.status == 404:
                return None
            raise
        raw, code = text_of(payment, "received_amount"), text_of(payment, "currency", "blockchain").lower()
        pair = next((pair_named(name) for name, known in self.codes.items() if known.lower() == code), None)
        if pair is None or not raw or text_of(payment, "status") not in _CONFIRMED:
            return None
        return Stray(pair, parse_units(raw, pair))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _received(self, invoice: CoinInvoice) -> str:
        assert invoice.gateway_id is not None
        payment = await self._fetched(invoice.gateway_id)
        return self._amount_in(payment) if text_of(payment, "status") in _CONFIRMED else ""

    def _amount_in(self, payment: Any) -> str:
        asked = text_of(payment, "amount_crypto", "crypto_amount", "pay_amount")
        return text_of(payment, "received_amount") or (asked if self._dialect.is_asked_amount_believed else "")

    async def _fetched(self, gateway_id: str) -> Any:
        path = self._dialect.payment_path.replace("{id}", quoted(gateway_id, safe=""))
        return _payment(await self._http.call("GET", path))


def _dollars(usd: int) -> bytes:
    return f"{usd // 1_000_000}.{usd % 1_000_000 // 10_000:02d}".encode()


def _payment(answer: Any) -> Any:
    """Return the payment of an answer, however it is wrapped."""
    if not isinstance(answer, Mapping):
        raise GatewayUnclearError("answer_not_an_object")
    if answer.get("success") is False:
        raise GatewayRefusedError("the gateway answered without success")
    for name in ("payment", "data", "invoice"):
        if isinstance(answer.get(name), Mapping):
            return answer[name]
    return answer


def _data(document: Any) -> Any:
    """Return what an event is about: its `data`, or the event itself in the older, flat shape."""
    if not isinstance(document, Mapping):
        raise ValueError("an event is an object")
    inner = document.get("data")
    return inner if isinstance(inner, Mapping) else document


def _member(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, Mapping) else None


def _destination(pair: Pair, payment: Any) -> Destination:
    address, _, inline = text_of(payment, "payment_address", "pay_address", "address").partition("?dt=")
    tag = text_of(payment, "destination_tag", "payment_tag", "tag") or inline
    if tag and not (tag.isascii() and tag.isdigit() and len(tag) <= 10):
        raise AddressError("the gateway's destination tag is not a number", code="bad_tag")
    return check_address(pair, address, int(tag) if tag else None)


def _time_ms(text: str) -> int:
    """Read an ISO time with its zone, or seconds since 1970; 0 for anything else."""
    if text.isascii() and text.isdigit() and len(text) <= 13:
        return int(text) if len(text) == 13 else int(text) * 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return max(0, (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000)
