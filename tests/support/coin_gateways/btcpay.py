"""BTCPay Server for tests: one store's invoices with their single payments, its payouts, and its webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hushnet.coordinator.payments.coins.assets import Pair, pair_named
from hushnet.coordinator.payments.coins.gateways.btcpay import CODES
from hushnet.coordinator.payments.coins.units import format_units, units_due
from support.coin_gateways.addresses import address_of
from support.coin_gateways.coinpay import Delivery
from support.coin_gateways.server import Asked, GatewayServer, StatusError

KEY, SECRET, STORE = "btcpay-key", "btcpay-webhook-secret", "Store1"
WINDOW_MS = 15 * 60_000
ALL_CODES = {**CODES, "ETH.ethereum": "ETH-CHAIN", "XRP.ripple": "XRP-CHAIN", "USDC.base": "USDC-BASE"}


@dataclass
class Invoice:
    id: str
    pair: Pair
    amount: str
    address: str
    tag: int | None
    expires_ms: int
    metadata: dict[str, Any]
    status: str = "New"
    payments: list[dict[str, Any]] = field(default_factory=list)


class FakeBtcPay(GatewayServer):
    """`payouts` by id as the server shows them; `spoil` changes what it notes down of a payout."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__(now_ms)
        self.invoices: dict[str, Invoice] = {}
        self.payouts: dict[str, dict[str, Any]] = {}
        self.rates = {"BTC": "61234.56", "ETH": "2500", "XRP": "2.5", "USDC": "1", "DOGE": "0.1", "BCH": "500"}
        self.spoil: dict[str, Any] = {}
        self._deliveries = 0

    def answer(self, asked: Asked) -> Any:
        if asked.headers.get("authorization") != f"token {KEY}":
            raise StatusError(401)
        base, path = f"/api/v1/stores/{STORE}", asked.path
        if not path.startswith(base):
            raise StatusError(404)
        noun, *rest = path.removeprefix(base + "/").split("/")
        match noun:
            case "rates":
                asset, _, _ = asked.query["currencyPair"].partition("_")
                return [{"currencyPair": asked.query["currencyPair"], "errors": [], "rate": self.rates.get(asset)}]
            case "invoices":
                return self._invoices(asked, rest)
            case "payouts":
                return self._payouts(asked, rest)
            case _:
                raise StatusError(404)

    # What a test lets happen.

    def pay(self, invoice_id: str, value: str, *, status: str = "Settled", at_ms: int | None = None) -> None:
        """Let one payment arrive."""
        at_s = (self.now_ms() if at_ms is None else at_ms) // 1000
        payments = self.invoices[invoice_id].payments
        payments.append({"id": str(len(payments)), "receivedDate": at_s, "value": value, "fee": "0", "status": status})

    def event(self, kind: str, **members: Any) -> bytes:
        """Return the body of a delivery."""
        self._deliveries += 1
        document = {
            "deliveryId": f"D{self._deliveries}",
            "originalDeliveryId": f"D{self._deliveries}",
            "webhookId": "W",
            "isRedelivery": False,
            "type": kind,
            "timestamp": self.now_ms() // 1000,
            "storeId": STORE,
        }
        return json.dumps(document | members).encode()

    def signed(self, body: bytes, *, secret: str = SECRET) -> Delivery:
        value = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return Delivery(body, {"BTCPay-Sig": f"sha256={value}"})

    # The server.

    def _invoices(self, asked: Asked, rest: list[str]) -> Any:
        if asked.method == "POST" and not rest:
            return self._make_invoice(asked.json)
        if not rest:
            wanted = asked.query.get("orderId")
            return [self._shown(i) for i in self.invoices.values() if i.metadata.get("orderId") == wanted]
        invoice = self.invoices.get(rest[0])
        if invoice is None:
            raise StatusError(404)
        if rest[1:] == ["payment-methods"]:
            method = {
                "paymentMethodId": ALL_CODES[invoice.pair.name],
                "destination": invoice.address + ("" if invoice.tag is None else f"?dt={invoice.tag}"),
                "rate": self.rates[invoice.pair.asset],
                "amount": invoice.amount,
                "due": invoice.amount,
                "payments": invoice.payments,
            }
            return [{"paymentMethodId": "BTC-LN", "destination": "lnbc1", "payments": []}, method]
        return self._shown(invoice)

    def _make_invoice(self, wish: dict[str, Any]) -> Any:
        (code,) = wish["checkout"]["paymentMethods"]
        pair = next((pair_named(name) for name, known in ALL_CODES.items() if known == code), None)
        if pair is None or wish["currency"] != "USD":
            raise StatusError(422)
        dollars, _, cents = wish["amount"].partition(".")
        usd = int(dollars) * 1_000_000 + int(cents.ljust(6, "0"))
        rate = round(float(self.rates[pair.asset]) * 1_000_000)
        number = len(self.invoices) + 1
        to = address_of(pair, number)
        made = Invoice(
            id=f"Inv{number}",
            pair=pair,
            amount=format_units(units_due(usd, rate, pair.scale), pair.scale),
            address=to.address,
            tag=to.tag,
            expires_ms=self.now_ms() // 1000 * 1000 + WINDOW_MS,
            metadata=wish["metadata"],
        )
        self.invoices[made.id] = made
        return self._shown(made)

    def _shown(self, invoice: Invoice) -> dict[str, Any]:
        return {
            "id": invoice.id,
            "status": invoice.status,
            "checkoutLink": f"{self.url}/i/{invoice.id}",
            "expirationTime": invoice.expires_ms // 1000,
            "metadata": invoice.metadata,
            "currency": "USD",
        }

    def _payouts(self, asked: Asked, rest: list[str]) -> Any:
        if not rest:
            if asked.method == "GET":
                return list(self.payouts.values())
            wish = asked.json
            made = {
                "id": f"Pay{len(self.payouts) + 1}",
                "revision": 0,
                "destination": wish["destination"],
                "originalCurrency": next(
                    name.partition(".")[0] for name, code in ALL_CODES.items() if code == wish["payoutMethodId"]
                ),
                "originalAmount": wish["amount"],
                "payoutMethodId": wish["payoutMethodId"],
                "state": "AwaitingPayment" if wish["approved"] else "AwaitingApproval",
                "metadata": wish["metadata"],
            } | self.spoil
            self.payouts[made["id"]] = made
            return made
        payout = self.payouts.get(rest[0])
        if payout is None:
            raise StatusError(404)
        if asked.method == "DELETE":
            if payout["state"] in ("InProgress", "Completed"):
                raise StatusError(400)
            payout["state"] = "Cancelled"
            return None
        if asked.method == "POST":
            if payout["state"] != "AwaitingApproval":
                raise StatusError(400)
            payout["state"] = "AwaitingPayment"
        return payout
