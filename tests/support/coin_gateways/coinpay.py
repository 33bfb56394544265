"""CoinPayPortal for tests: payments, balances that grow coin by coin, and webhooks in both dialects."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hushnet.coordinator.payments.coins.assets import Pair, pair_named
from hushnet.coordinator.payments.coins.gateways.coinpay import CODES
from hushnet.coordinator.payments.coins.units import format_units, units_due
from support.coin_gateways.addresses import address_of
from support.coin_gateways.server import Asked, GatewayServer, StatusError

KEY, SECRET = "cp_live_0123456789", "whsec_0123456789"
WINDOW_MS = 15 * 60_000


@dataclass
class Delivery:
    """One webhook as it goes over the wire."""

    body: bytes
    headers: dict[str, str]


@dataclass
class Payment:
    id: str
    pair: Pair
    usd: str
    amount: str
    address: str
    tag: int | None
    expires_ms: int
    metadata: dict[str, Any]
    status: str = "pending"
    received: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class FakeCoinPay(GatewayServer):
    """`rates` in dollars by asset; `is_silent` leaves out of webhooks and answers how much came in."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__(now_ms)
        self.payments: dict[str, Payment] = {}
        self.rates = {"BTC": "61234.56", "ETH": "2500", "XRP": "2.5", "USDC": "1", "DOGE": "0.1"}
        self.is_successful = True
        self.is_silent = False
        self._events = 0

    def answer(self, asked: Asked) -> Any:
        path = asked.path.removeprefix("/api")
        if path == "/rates":
            rate = self.rates.get(asked.query.get("coin", ""))
            if rate is None:
                raise StatusError(404)
            return {"coin": asked.query["coin"], "fiat": "USD", "rate": float(rate)}
        if path == "/payments/create" and asked.method == "POST":
            if asked.headers.get("authorization") != f"Bearer {KEY}":
                raise StatusError(401)
            return self._create(asked.json)
        if path.startswith("/payments/"):
            payment = self.payments.get(path.removeprefix("/payments/"))
            if payment is None:
                raise StatusError(404)
            return {"success": True, "payment": self._shown(payment)}
        raise StatusError(404)

    def pay(self, payment_id: str, amount: str, *, status: str = "confirmed") -> None:
        """Let `amount` have come in, in all."""
        payment = self.payments[payment_id]
        payment.received, payment.status = amount, status

    def event(self, payment_id: str, word: str, /, *, at_ms: int | None = None, **data: Any) -> bytes:
        """Return the body of an event in the nested shape."""
        self._events += 1
        payment = self.payments[payment_id]
        known = {"payment_id": payment.id, "status": word, "payment_address": payment.address}
        if payment.received and word != "expired" and not self.is_silent:
            known["received_amount"] = payment.received
        document = {
            "id": f"evt_{self._events}",
            "type": f"payment.{word}",
            "created_at": _iso(self.now_ms() if at_ms is None else at_ms),
            "data": known | {"metadata": payment.metadata} | data,
        }
        return json.dumps(document).encode()

    def flat_event(self, payment_id: str, word: str, /, **data: Any) -> bytes:
        """Return the body of an event in the older, flat shape."""
        payment = self.payments[payment_id]
        document = {
            "event": f"payment.{word}",
            "payment_id": payment.id,
            "status": word,
            "timestamp": _iso(self.now_ms()),
            "metadata": payment.metadata,
        }
        if payment.received:
            document["received_amount"] = float(payment.received)
        return json.dumps(document | data).encode()

    def signed(self, body: bytes, *, secret: str = SECRET, at_ms: int | None = None) -> Delivery:
        """Sign a body in the documented dialect."""
        t = str((self.now_ms() if at_ms is None else at_ms) // 1000)
        value = _hmac(secret, t.encode() + b"." + body)
        return Delivery(body, {"X-CoinPay-Signature": f"t={t},v1={value}"})

    def signed_plainly(self, body: bytes, *, secret: str = SECRET, prefix: str = "sha256=") -> Delivery:
        """Sign a body in the older dialect."""
        return Delivery(body, {"x-cpp-signature": prefix + _hmac(secret, body)})

    def _create(self, wish: dict[str, Any]) -> Any:
        if not self.is_successful:
            return {"success": False, "error": "No wallet configured"}
        code = wish["currency"]
        pair = next((pair_named(name) for name, known in CODES.items() if known == code), None)
        if pair is None or pair.asset not in self.rates:
            raise StatusError(400)
        dollars, _, cents = str(wish["amount_usd"]).partition(".")
        usd = int(dollars) * 1_000_000 + int(cents.ljust(6, "0"))
        rate = round(float(self.rates[pair.asset]) * 1_000_000)
        number = len(self.payments) + 1
        to = address_of(pair, number)
        payment = Payment(
            id=f"pay_{number}",
            pair=pair,
            usd=str(wish["amount_usd"]),
            amount=format_units(units_due(usd, rate, pair.scale), pair.scale),
            address=to.address,
            tag=to.tag,
            expires_ms=self.now_ms() + WINDOW_MS,
            metadata=wish.get("metadata", {}),
        )
        self.payments[payment.id] = payment
        return {"success": True, "payment": self._shown(payment), "usage": {"current": 1, "limit": 100}}

    def _shown(self, payment: Payment) -> dict[str, Any]:
        shown = {
            "id": payment.id,
            "amount": float(payment.usd),
            "amount_usd": float(payment.usd),
            "amount_crypto": payment.amount,
            "currency": CODES[payment.pair.name],
            "status": payment.status,
            "payment_address": payment.address,
            "metadata": payment.metadata,
            "expires_at": _iso(payment.expires_ms),
        }
        if payment.tag is not None:
            shown["destination_tag"] = payment.tag
        if payment.received and not self.is_silent:
            shown["received_amount"] = payment.received
        return shown | payment.extra


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def _hmac(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
