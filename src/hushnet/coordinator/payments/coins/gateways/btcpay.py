"""BTCPay Server, over its Greenfield interface: the operator's own wallets, invoices and payouts.

Webhooks only say that something happened: invoices and payouts are fetched, and units come from the single payments.
Nothing here has an idempotency key, so what may have been done before is looked for first, by our reference. A payout is
made unapproved, compared with what was asked, and only then approved: of two that a lost answer may have left, one is.
Before that it is asked whether the order is still this process's to send: a process that goes on with it later lists the
payout that was made before the question, and takes that one up. One that differs, or that is not approved, is cancelled
before it counts as not sent. There are no pages of payouts, nor a filter by reference: the list is read as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Final
from urllib.parse import quote as quoted

from hushnet.coordinator.payments.coins.accounting import LATE_MS
from hushnet.coordinator.payments.coins.addresses import AddressError, Destination, check_address
from hushnet.coordinator.payments.coins.assets import Pair, pair_named
from hushnet.coordinator.payments.coins.gateways.base import (
    REFERENCE,
    Order,
    Sending,
    Sent,
    Stray,
    Webhook,
    Word,
    invoice_reference,
)
from hushnet.coordinator.payments.coins.gateways.http import (
    GatewayError,
    GatewayHttp,
    GatewayRefusedError,
    GatewayUnclearError,
    read_json,
    text_of,
)
from hushnet.coordinator.payments.coins.gateways.signatures import is_body_signature
from hushnet.coordinator.payments.coins.model import CoinInvoice, Quote, Sighting
from hushnet.coordinator.payments.coins.rates import RateError, parse_rate
from hushnet.coordinator.payments.coins.units import UnitsError, format_units, parse_units
from hushnet.coordinator.payments.payouts.coin_rail import StillWanted
from hushnet.foundation.redaction import Secret

NAME: Final = "btcpay"
CODES: Final = {"BTC.bitcoin": "BTC-CHAIN", "BCH.bitcoin-cash": "BCH-CHAIN", "DOGE.dogecoin": "DOGE-CHAIN"}
"""What a plain server calls the pairs; a setting overrides each and adds those of its plugins."""
WORDS: Final = {
    "InvoiceCreated": Word.NOTHING,
    "InvoiceReceivedPayment": Word.OBJECT,
    "InvoiceProcessing": Word.OBJECT,
    "InvoicePaymentSettled": Word.OBJECT,
    "InvoiceSettled": Word.OBJECT,
    "InvoiceExpired": Word.OBJECT,
    "InvoiceInvalid": Word.OBJECT,
    "PayoutCreated": Word.NOTHING,
    "PayoutApproved": Word.PAYOUT,
    "PayoutUpdated": Word.PAYOUT,
}
_PAYOUT_STATES: Final = {
    "AwaitingPayment": Sending.ACCEPTED,
    "InProgress": Sending.ACCEPTED,
    "Completed": Sending.CONFIRMED,
    "Cancelled": Sending.FAILED,
}
_ON_CHAIN: Final = frozenset({"Processing", "Settled"})
_ID_MAX: Final = 128


class BtcPay:
    """`Gateway` and `PayoutGateway` over one store of a BTCPay Server."""

    name = NAME
    words = WORDS

    def __init__(
        self, base_url: str, key: Secret, *, store: str, webhook_secrets: tuple[Secret, ...], codes: Mapping[str, str]
    ) -> None:
        """`codes`: what the server calls each pair that it is used for, of invoices or of payouts."""
        self.codes = dict(codes)
        self._secrets = webhook_secrets
        self._http = GatewayHttp(base_url, headers={"authorization": Secret(f"token {key.reveal()}")})
        self._store = f"/api/v1/stores/{quoted(store, safe='')}"

    def for_payouts(self, codes: Mapping[str, str]) -> BtcPay:
        """Return the same store with what it calls the pairs that it pays out; both share one connection."""
        other = copy(self)
        other.codes = dict(codes)
        return other

    # Invoices.

    async def ask(self, invoice: CoinInvoice, *, is_repeated: bool) -> Quote:
        """See `Gateway.ask`."""
        made = await self._known_invoice(invoice) if is_repeated else None
        if made is None:
            made = await self._http.call(
                "POST",
                f"{self._store}/invoices",
                {
                    "amount": f"{invoice.usd // 1_000_000}.{invoice.usd % 1_000_000 // 10_000:02d}",
                    "currency": "USD",
                    "metadata": {"orderId": invoice_reference(invoice.id), REFERENCE: invoice_reference(invoice.id)},
                    "checkout": {"paymentMethods": [self.codes[invoice.pair.name]]},
                },
            )
        gateway_id = text_of(made, "id")
        if not 1 <= len(gateway_id) <= _ID_MAX:
            raise GatewayUnclearError("answer_incomplete")
        method = await self._method(gateway_id, invoice.pair)
        amount = text_of(method, "amount", "due")
        address, _, inline = text_of(method, "destination").partition("?dt=")
        return Quote(
            gateway_id=gateway_id,
            destination=_destination(invoice.pair, address, inline),
            units_due=parse_units(amount, invoice.pair),
            expires_ms=_seconds_ms(text_of(made, "expirationTime")),
            url=text_of(made, "checkoutLink"),
            raw=amount,
        )

    async def rate(self, pair: Pair) -> int:
        """See `Gateway.rate`."""
        try:
            answer = await self._http.call("GET", f"{self._store}/rates?currencyPair={pair.asset}_USD")
        except GatewayError:
            raise RateError(f"the rate of {pair.name} is not known now") from None
        first = answer[0] if isinstance(answer, list) and answer else None
        return parse_rate(pair, text_of(first, "rate"))

    def is_genuine(self, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> bool:
        """See `Gateway.is_genuine`; BTCPay does not say when it signed."""
        del now_ms
        return is_body_signature(headers.get("btcpay-sig", ""), body, self._secrets, is_prefixed=True)

    def read(self, body: bytes) -> Webhook:
        """See `Gateway.read`. A redelivery carries the id of the first one."""
        document = read_json(body)
        event = text_of(document, "originalDeliveryId", "deliveryId")
        if not 1 <= len(event) <= _ID_MAX:
            raise ValueError("a delivery without an id")
        subject = text_of(document, "invoiceId") or text_of(document, "payoutId")
        return Webhook(event=event, kind=text_of(document, "type"), subject=subject)

    async def sighting(self, invoice: CoinInvoice, body: bytes, *, now_ms: int, is_fresh: bool) -> Sighting | None:
        """See `Gateway.sighting`: always the invoice itself, as it is now."""
        del is_fresh
        if WORDS.get(text_of(read_json(body), "type"), Word.NOTHING) is not Word.OBJECT:
            return None
        return await self.look(invoice, now_ms=now_ms)

    async def look(self, invoice: CoinInvoice, *, now_ms: int) -> Sighting:
        """See `Gateway.look`. An invoice that the gateway calls invalid has nothing confirmed."""
        assert invoice.gateway_id is not None
        pair, end_ms = invoice.pair, invoice.expires_ms
        status = text_of(await self._invoice(invoice.gateway_id), "status")
        payments = _payments(await self._method(invoice.gateway_id, pair))
        seen = [_payment(payment, pair) for payment in payments if text_of(payment, "status") in _ON_CHAIN]
        is_invalid = status == "Invalid"
        return Sighting(
            at_ms=now_ms,
            is_seen=bool(seen),
            seen=sum(units for _, units, _ in seen),
            confirmed=0 if is_invalid else sum(units for _, units, is_settled in seen if is_settled),
            prompt=sum(units for at_ms, units, _ in seen if at_ms <= end_ms),
            late=sum(units for at_ms, units, _ in seen if at_ms <= end_ms + LATE_MS),
            is_expired=status == "Expired",
            is_invalid=is_invalid,
            raw=",".join(text_of(payment, "value") for payment in payments),
        )

    async def stray(self, gateway_id: str) -> Stray | None:
        """See `Gateway.stray`."""
        try:
            methods = await self._methods(gateway_id)
        except GatewayRefusedError as error:
            if error.status == 404:
                return None
            raise
        for name, code in self.codes.items():
            pair = pair_named(name)
            found = [payment for method in methods if _code(method) == code for payment in _payments(method)]
            units = sum(units for _, units, is_settled in (_payment(p, pair) for p in found) if is_settled)
            if units:
                return Stray(pair, units)
        return None

    # Payouts.

    async def send(self, order: Order, *, is_wanted: StillWanted) -> Sent:
        """See `PayoutGateway.send`. Only a payout that says exactly what was ordered is approved."""
        known = await self._payouts_of(order.reference)
        standing = _standing(known)
        if standing is not None:
            return _sent(standing)
        waiting = sorted(
            (p for p in known if text_of(p, "state") == "AwaitingApproval"), key=lambda p: text_of(p, "id")
        )
        made = waiting[0] if waiting else await self._http.call("POST", f"{self._store}/payouts", self._wish(order))
        path = f"{self._store}/payouts/{quoted(text_of(made, 'id'), safe='')}"
        for twin in waiting[1:]:
            gone = await self._withdrawn(f"{self._store}/payouts/{quoted(text_of(twin, 'id'), safe='')}")
            if gone.state is not Sending.FAILED:  # somebody has approved it meanwhile: two would pay twice
                await self._withdrawn(path)
                return gone
        if not await is_wanted():
            if not waiting:  # else whoever overtook us sends this one
                await self._withdrawn(path)
            raise GatewayUnclearError("overtaken")
        if not self._is_right(made, order):
            return await self._withdrawn(path)
        try:
            approved = await self._http.call("POST", path, {"revision": int(text_of(made, "revision") or "0")})
        except GatewayRefusedError:
            return await self._withdrawn(path)
        return _sent(approved)

    async def find(self, order: Order) -> Sent | None:
        """See `PayoutGateway.find`. One that waits for our approval was not sent, and can be taken up again."""
        standing = _standing(await self._payouts_of(order.reference))
        return None if standing is None else _sent(standing)

    async def payout(self, gateway_id: str) -> tuple[str, Sent | None]:
        """Fetch a payout: our reference in it, and how far its order is (None while that waits for approval).

        One that was cancelled says nothing of another one of the same order.
        """
        found = await self._http.call("GET", f"{self._store}/payouts/{quoted(gateway_id, safe='')}")
        reference = text_of(found.get("metadata") if isinstance(found, Mapping) else None, REFERENCE)
        if text_of(found, "state") == "Cancelled" and reference:
            found = _standing(await self._payouts_of(reference))
        return reference, _sent(found) if text_of(found, "state") in _PAYOUT_STATES else None

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _known_invoice(self, invoice: CoinInvoice) -> Any:
        reference = invoice_reference(invoice.id)
        found = await self._http.call("GET", f"{self._store}/invoices?orderId={reference}")
        alike = [made for made in found if isinstance(made, Mapping)] if isinstance(found, list) else []
        return next((m for m in alike if text_of(m.get("metadata"), REFERENCE) == reference), None)

    async def _invoice(self, gateway_id: str) -> Any:
        return await self._http.call("GET", f"{self._store}/invoices/{quoted(gateway_id, safe='')}")

    async def _method(self, gateway_id: str, pair: Pair) -> Any:
        for method in await self._methods(gateway_id):
            if _code(method) == self.codes[pair.name]:
                return method
        raise GatewayUnclearError("payment_method_missing")

    async def _methods(self, gateway_id: str) -> list[Any]:
        path = f"{self._store}/invoices/{quoted(gateway_id, safe='')}/payment-methods"
        methods = await self._http.call("GET", path)
        return methods if isinstance(methods, list) else []

    def _wish(self, order: Order) -> dict[str, Any]:
        to = order.to
        return {
            "destination": to.address if to.tag is None else f"{to.address}?dt={to.tag}",
            "amount": format_units(order.units, order.pair.scale),
            "payoutMethodId": self.codes[order.pair.name],
            "approved": False,
            "metadata": {REFERENCE: order.reference},
        }

    def _is_right(self, made: Any, order: Order) -> bool:
        """Compare what the gateway wrote down with what was ordered."""
        try:
            units = parse_units(text_of(made, "originalAmount", "amount"), order.pair)
        except UnitsError:
            return False
        return (
            units == order.units
            and text_of(made, "destination") == self._wish(order)["destination"]
            and text_of(made, "payoutMethodId", "paymentMethod") == self.codes[order.pair.name]
            and text_of(made, "originalCurrency") in ("", order.pair.asset)
        )

    async def _withdrawn(self, path: str) -> Sent:
        """Cancel a payout that must not or cannot be approved; return it when somebody else has approved it meanwhile.

        Raises `GatewayUnclearError` when it may still be there: a refusal must leave nothing that a click could send.
        """
        try:
            now = await self._http.call("GET", path)
            if text_of(now, "state") not in _PAYOUT_STATES:
                await self._http.call("DELETE", path)
                now = await self._http.call("GET", path)
            return _sent(now)
        except GatewayRefusedError:
            raise GatewayUnclearError("payout_not_withdrawn") from None

    async def _payouts_of(self, reference: str) -> list[Any]:
        def is_of_it(payout: Mapping[str, Any]) -> bool:
            return text_of(payout.get("metadata"), REFERENCE) == reference

        return await self._http.picked(f"{self._store}/payouts?includeCancelled=true", is_of_it)


def _standing(payouts: list[Any]) -> Any:
    """Return the payout that was approved, else one that was cancelled when no other waits for approval."""
    cancelled = [payout for payout in payouts if text_of(payout, "state") == "Cancelled"]
    going = [p for p in payouts if text_of(p, "state") in _PAYOUT_STATES and p not in cancelled]
    is_waiting = any(text_of(payout, "state") == "AwaitingApproval" for payout in payouts)
    return (going or ([] if is_waiting else cancelled) or [None])[0]


def _sent(payout: Any) -> Sent:
    state = _PAYOUT_STATES.get(text_of(payout, "state"))
    if state is None:
        raise GatewayUnclearError("payout_state_unknown")
    proof = payout.get("paymentProof") if isinstance(payout, Mapping) else None
    return Sent(gateway_id=text_of(payout, "id"), state=state, txid=text_of(proof, "id"))


def _code(method: Any) -> str:
    return text_of(method, "paymentMethodId", "paymentMethod")


def _payment(payment: Any, pair: Pair) -> tuple[int, int, bool]:
    """Return when a payment came, its units, and whether it is settled."""
    at_ms = _seconds_ms(text_of(payment, "receivedDate"))
    return at_ms, parse_units(text_of(payment, "value"), pair), text_of(payment, "status") == "Settled"


def _payments(method: Any) -> list[Any]:
    found = method.get("payments") if isinstance(method, Mapping) else None
    return found if isinstance(found, list) else []


def _destination(pair: Pair, address: str, tag: str) -> Destination:
    if tag and not (tag.isascii() and tag.isdigit() and len(tag) <= 10):
        raise AddressError("the gateway's destination tag is not a number", code="bad_tag")
    return check_address(pair, address, int(tag) if tag else None)


def _seconds_ms(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        raise GatewayUnclearError("answer_without_time")
    return int(text) * 1000
