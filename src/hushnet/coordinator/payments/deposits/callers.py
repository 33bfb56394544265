"""What deposits ask of Stripe: a Checkout, a charge of a saved card, a refund; each is looked up by our id in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.calls import CLOCKS_S, Absent, Caller, CannotTell, Done, Seen, Sent
from hushnet.coordinator.payments.deposits.crediting import credit, deposit_id_of, fail, payment_of, save
from hushnet.coordinator.payments.deposits.model import (
    MICRO_USD_A_CENT,
    RAIL,
    Deposit,
    Reversal,
    ReversalKind,
    ReversalState,
)
from hushnet.coordinator.payments.deposits.payment_events import decline_of
from hushnet.coordinator.payments.deposits.reversing import Taking, apply_refund, step
from hushnet.coordinator.payments.deposits.transitions import DepositEvent, ReversalEvent
from hushnet.coordinator.payments.model import Call
from hushnet.coordinator.payments.stripe.gateway import Answered, StripeGateway
from hushnet.coordinator.payments.stripe.objects import REFUND, Card, Intent, Named, Page, Refund, Session
from hushnet.foundation.errors import RequestError

T = TypeVar("T")

CHECKOUT: Final = "checkout"
TOPUP: Final = "topup"
REFUND_CALL: Final = "refund"
DETACH: Final = "detach"
PAGES_MAX: Final = 10
"""Pages of 100 that a look-up reads before it gives up saying."""


class CheckoutCall:
    """`Caller` of (stripe, checkout): the subject is the deposit."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway

    async def send(self, call: Call) -> Sent:
        request, options = json.loads(call.request), {"idempotency_key": call.idem_key}
        told = await self._gateway.write(lambda v1: v1.checkout.sessions.create_async(request, options), Session)
        return Done({"checkout": told.value.id, "url": told.value.url}) if isinstance(told, Answered) else told

    async def look_up(self, call: Call) -> Seen:
        after: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            wanted = {"limit": 100, "created": {"gte": _since_s(call)}, **after}
            page = await self._gateway.read(_listing("checkout.sessions", wanted), Page[Session])
            for found in page.data:
                if deposit_id_of(found.metadata) == call.subject:
                    return Done({"checkout": found.id, "url": found.url})
            if not page.has_more:
                return Absent()
            after = {"starting_after": page.data[-1].id}
        return CannotTell("too_many_to_look_through")

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        deposit = tx.rows(Deposit).get(call.subject)
        if deposit is not None and deposit.checkout is None:
            save(tx, deposit, DepositEvent.MADE, checkout=outcome["checkout"], url=outcome["url"] or "")

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        deposit = tx.rows(Deposit).get(call.subject)
        if deposit is not None:
            fail(tx, deposit, code)


class TopupCall:
    """`Caller` of (stripe, topup): a charge of the saved card while nobody is there; the subject is the deposit."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway

    async def send(self, call: Call) -> Sent:
        request, options = json.loads(call.request), {"idempotency_key": call.idem_key}
        told = await self._gateway.write(lambda v1: v1.payment_intents.create_async(request, options), Intent)
        return Done({"intent": msgspec.to_builtins(told.value)}) if isinstance(told, Answered) else told

    async def look_up(self, call: Call) -> Seen:
        customer, after = json.loads(call.request)["customer"], dict[str, Any]()
        for _ in range(PAGES_MAX):
            wanted = {"customer": customer, "limit": 100, "created": {"gte": _since_s(call)}, **after}
            page = await self._gateway.read(_listing("payment_intents", wanted), Page[Intent])
            for found in page.data:
                if deposit_id_of(found.metadata) == call.subject:
                    return Done({"intent": msgspec.to_builtins(found)})
            if not page.has_more:
                return Absent()
            after = {"starting_after": page.data[-1].id}
        return CannotTell("too_many_to_look_through")

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        deposit = tx.rows(Deposit).get(call.subject)
        if deposit is None:
            return
        intent = msgspec.convert(outcome["intent"], Intent)
        if intent.status == "succeeded":
            credit(tx, deposit, payment_of(intent))
        elif intent.status == "processing":
            save(tx, deposit, DepositEvent.UNPAID, intent=deposit.intent or intent.id)
        else:
            fail(tx, deposit, decline_of(intent), intent=intent.id)

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        deposit = tx.rows(Deposit).get(call.subject)
        if deposit is not None:
            fail(tx, deposit, code)


class RefundCall:
    """`Caller` of (stripe, refund): the subject is the reversal."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway

    async def send(self, call: Call) -> Sent:
        request, options = json.loads(call.request), {"idempotency_key": call.idem_key}
        told = await self._gateway.write(lambda v1: v1.refunds.create_async(request, options), Refund)
        return Done({"refund": msgspec.to_builtins(told.value)}) if isinstance(told, Answered) else told

    async def look_up(self, call: Call) -> Seen:
        wanted = {"payment_intent": json.loads(call.request)["payment_intent"], "limit": 100}
        page = await self._gateway.read(lambda v1: v1.refunds.list_async(wanted), Page[Refund])
        for found in page.data:
            if (found.metadata or {}).get(REFUND) == str(call.subject):
                return Done({"refund": msgspec.to_builtins(found)})
        return CannotTell("too_many_to_look_through") if page.has_more else Absent()

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        if (deposit := _deposit_of(tx, call.subject)) is not None:
            refund = msgspec.convert(outcome["refund"], Refund)
            apply_refund(tx, deposit, refund, takes_earnings=False)  # its money is set aside already

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        deposit, reversal = _deposit_of(tx, call.subject), tx.rows(Reversal).get(call.subject)
        # One that Stripe has told of was made by an earlier try: that this one is refused says nothing of it.
        if deposit is not None and reversal is not None and reversal.state is ReversalState.ASKED:
            taking = Taking(ReversalKind.REFUND, reversal.object or "", reversal.amount)
            step(tx, deposit, reversal, taking, ReversalEvent.BACK, takes_earnings=False)


class DetachCall:
    """`Caller` of (stripe, detach): a saved card is forgotten; the subject is an id of its own, nobody waits for it."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway

    async def send(self, call: Call) -> Sent:
        method, options = json.loads(call.request)["method"], {"idempotency_key": call.idem_key}
        told = await self._gateway.write(lambda v1: v1.payment_methods.detach_async(method, {}, options), Named)
        return Done({}) if isinstance(told, Answered) else told

    async def look_up(self, call: Call) -> Seen:
        method = json.loads(call.request)["method"]
        try:
            found = await self._gateway.read(lambda v1: v1.payment_methods.retrieve_async(method), Card)
        except RequestError as error:
            if error.error_code == "resource_missing":
                return Done({})  # forgotten more than was asked
            raise
        return Done({}) if found.customer is None else Absent()

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        """Nothing here depends on it."""

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        """A card that Stripe does not know, or that is nobody's any more, is forgotten."""


def checkout_request(
    deposit: Deposit, *, success_url: str, cancel_url: str, customer: str | None, saves_card: bool
) -> dict[str, Any]:
    """Return the frozen request for a Checkout; Stripe makes a customer where a card is to be saved and none is known."""
    metadata = metadata_of(deposit)
    price = {"currency": "usd", "unit_amount": deposit.cents, "product_data": {"name": "Hushnet credit"}}
    request: dict[str, Any] = {
        "mode": "payment",
        "client_reference_id": str(deposit.id),
        "line_items": [{"price_data": price, "quantity": 1}],
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
        "success_url": success_url,
    }
    if cancel_url:
        request["cancel_url"] = cancel_url
    if customer:
        request["customer"] = customer
    if saves_card:
        request["allowed_payment_method_types"] = ["card"]
        request["payment_intent_data"]["setup_future_usage"] = "off_session"
        if not customer:
            request["customer_creation"] = "always"
    return request


def topup_request(deposit: Deposit, *, customer: str, method: str) -> dict[str, Any]:
    """Return the frozen request that charges a saved card while its owner is away."""
    return {
        "amount": deposit.cents,
        "currency": deposit.currency,
        "customer": customer,
        "payment_method": method,
        "allowed_payment_method_types": ["card"],
        "confirm": True,
        "off_session": True,
        "metadata": metadata_of(deposit),
    }


def refund_request(deposit: Deposit, reversal: Reversal) -> dict[str, Any]:
    """Return the frozen request for a refund."""
    return {
        "payment_intent": deposit.intent,
        "amount": reversal.amount // MICRO_USD_A_CENT,
        "metadata": {REFUND: str(reversal.id), **metadata_of(deposit)},
    }


def metadata_of(deposit: Deposit) -> dict[str, str]:
    """Return what Stripe keeps for us with each object of a deposit."""
    return {"hush_deposit": str(deposit.id), "hush_owner": str(deposit.owner)}


def deposit_callers(gateway: StripeGateway) -> dict[tuple[str, str], Caller]:
    """Return the callers of deposits, as `Calls` wants them."""
    return {
        (RAIL, CHECKOUT): CheckoutCall(gateway),
        (RAIL, TOPUP): TopupCall(gateway),
        (RAIL, REFUND_CALL): RefundCall(gateway),
        (RAIL, DETACH): DetachCall(gateway),
    }


def _listing(service: str, wanted: Mapping[str, Any]) -> Any:
    def ask(v1: Any) -> Any:
        place = v1
        for part in service.split("."):
            place = getattr(place, part)
        return place.list_async(dict(wanted))

    return ask


def _since_s(call: Call) -> int:
    return (call.first_ms or 0) // 1000 - CLOCKS_S


def _deposit_of(tx: Transaction, reversal: int) -> Deposit | None:
    found = tx.rows(Reversal).find(id=reversal, limit=1)
    return tx.rows(Deposit).get(found[0].deposit) if found else None
