"""Money in: customers, payment methods, Checkout, payment intents, refunds, disputes, balance, events."""

from __future__ import annotations

from typing import Any

from support.stripe_fake.forms import is_true, text_of, whole
from support.stripe_fake.problems import StripeProblem, declined, invalid, missing
from support.stripe_fake.requests import Asked, endpoint, listed
from support.stripe_fake.world import Thing, World

FEE_CENTS, FEE_BPS = 30, 290
DISPUTE_FEE_CENTS = 1500
TEST_CARDS = {"pm_card_visa": "", "pm_card_chargeCustomerFail": "generic_decline"}
"""Stripe's own cards for tests: what their charges are declined with."""


def usd(asked: Asked, name: str = "currency") -> str:
    currency = text_of(asked.parameters, name)
    if currency not in {"usd", "eur"}:
        raise invalid(f"Invalid currency: {currency}", code="", param=name)
    return currency


# Customers and payment methods.


@endpoint("POST", "/v1/customers", "CustomerCreateParams")
def create_customer(asked: Asked) -> Thing:
    made = new_customer(asked.world, email=asked.parameters.get("email"), metadata=asked.metadata())
    token = asked.parameters.get("payment_method")
    if token in TEST_CARDS:
        new_method(asked.world, made["id"])["_declines"] = TEST_CARDS[token]
    elif token:
        raise missing("PaymentMethod", token, param="payment_method")
    return made


def new_customer(world: World, *, email: str | None = None, metadata: dict[str, str] | None = None) -> Thing:
    return world.add(
        "customers",
        "cus",
        object="customer",
        email=email,
        description=None,
        metadata=metadata or {},
        invoice_settings={"default_payment_method": None},
    )


@endpoint("GET", "/v1/customers/{id}")
def retrieve_customer(asked: Asked) -> Thing:
    return asked.thing("customers", "customer")


@endpoint("GET", "/v1/customers/{id}/payment_methods", "CustomerPaymentMethodListParams")
def list_customer_methods(asked: Asked) -> Thing:
    customer = asked.thing("customers", "customer")
    methods = asked.world.find("payment_methods", customer=customer["id"])
    return listed(asked, methods, f"/v1/customers/{customer['id']}/payment_methods")


@endpoint("GET", "/v1/payment_methods/{id}")
def retrieve_method(asked: Asked) -> Thing:
    return asked.thing("payment_methods", "PaymentMethod")


@endpoint("POST", "/v1/payment_methods/{id}/detach")
def detach_method(asked: Asked) -> Thing:
    method = asked.thing("payment_methods", "PaymentMethod")
    if method["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer so detachment is impossible.")
    method["customer"] = None
    asked.world.emit("payment_method.detached", method)
    return method


def new_method(world: World, customer: str | None, *, last4: str = "4242") -> Thing:
    """A card; `_declines` makes charges of it fail with that decline code."""
    card = {"brand": "visa", "country": "US", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": last4}
    return world.add(
        "payment_methods",
        "pm",
        object="payment_method",
        type="card",
        card=card,
        customer=customer,
        metadata={},
        _declines="",
    )


@endpoint("GET", "/v1/setup_intents/{id}")
def retrieve_setup(asked: Asked) -> Thing:
    return asked.thing("setup_intents", "setupintent")


# Checkout.


@endpoint("POST", "/v1/checkout/sessions", "checkout.SessionCreateParams")
def create_session(asked: Asked) -> Thing:
    given = asked.parameters
    mode = given.get("mode")
    if mode not in {"payment", "setup"}:
        raise invalid("Invalid mode: must be one of payment, setup", param="mode")
    asked.named("customers", "customer", "customer")
    if "success_url" not in given:
        raise invalid("Missing required param: success_url.", code="parameter_missing", param="success_url")
    total = _session_total(asked) if mode == "payment" else None
    currency = _session_currency(given) if mode == "payment" else given.get("currency")
    now = asked.world.now_s()
    made = asked.world.add(
        "sessions",
        f"cs_{'live' if asked.world.is_live else 'test'}",
        object="checkout.session",
        mode=mode,
        status="open",
        payment_status="unpaid" if mode == "payment" else "no_payment_required",
        amount_subtotal=total,
        amount_total=total,
        currency=currency,
        customer=given.get("customer"),
        client_reference_id=given.get("client_reference_id"),
        metadata=asked.metadata(),
        payment_intent=None,
        setup_intent=None,
        success_url=given["success_url"],
        cancel_url=given.get("cancel_url"),
        expires_at=int(given.get("expires_at", now + 24 * 3600)),
        payment_method_types=given.get("allowed_payment_method_types", ["card"]),
        customer_creation=given.get("customer_creation", "if_required"),
        _intent=given.get("payment_intent_data", {}),
        _intent_metadata=asked.metadata("payment_intent_data"),
        _setup_metadata=asked.metadata("setup_intent_data"),
    )
    made["url"] = f"https://checkout.stripe.test/c/pay/{made['id']}"
    return made


def _session_total(asked: Asked) -> int:
    items = asked.parameters.get("line_items")
    if not isinstance(items, list) or not items:
        raise invalid("Missing required param: line_items.", code="parameter_missing", param="line_items")
    total = 0
    for item in items:
        price = item.get("price_data", {})
        if "product_data" not in price and "product" not in price:
            raise invalid("Missing required param: line_items[0][price_data][product_data].", code="parameter_missing")
        total += whole(price, "unit_amount") * whole(item, "quantity", low=1)
    if total < 50:
        raise invalid("The Checkout Session's total amount must be at least $0.50 usd", code="amount_too_small")
    return total


def _session_currency(given: dict[str, Any]) -> str:
    return str(given["line_items"][0]["price_data"].get("currency", ""))


@endpoint("GET", "/v1/checkout/sessions", "checkout.SessionListParams")
def list_sessions(asked: Asked) -> Thing:
    wanted = {
        name: asked.parameters[name] for name in ("customer", "payment_intent", "status") if name in asked.parameters
    }
    return listed(asked, asked.world.find("sessions", **wanted), "/v1/checkout/sessions")


@endpoint("GET", "/v1/checkout/sessions/{id}", "checkout.SessionRetrieveParams")
def retrieve_session(asked: Asked) -> Thing:
    return asked.thing("sessions", "checkout.session")


@endpoint("POST", "/v1/checkout/sessions/{id}/expire", "checkout.SessionExpireParams")
def expire_session(asked: Asked) -> Thing:
    session = asked.thing("sessions", "checkout.session")
    if session["status"] != "open":
        message = f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of `{session["status"]}`.'
        raise invalid(message)
    session["status"] = "expired"
    asked.world.emit("checkout.session.expired", session)
    return session


# Payment intents.


@endpoint("POST", "/v1/payment_intents", "PaymentIntentCreateParams")
def create_intent(asked: Asked) -> Thing:
    given = asked.parameters
    amount, currency = whole(given, "amount", low=50), usd(asked)
    asked.named("customers", "customer", "customer")
    method = asked.named("payment_methods", "PaymentMethod", "payment_method")
    intent = new_intent(
        asked.world, amount, currency, customer=given.get("customer"), method=method, metadata=asked.metadata()
    )
    if is_true(given.get("confirm")):
        confirm_intent(asked.world, intent, method, is_off_session=is_true(given.get("off_session")))
    return intent


def new_intent(
    world: World, amount: int, currency: str, *, customer: str | None, method: Thing | None, metadata: dict[str, str]
) -> Thing:
    made = world.add(
        "payment_intents",
        "pi",
        object="payment_intent",
        amount=amount,
        amount_received=0,
        currency=currency,
        customer=customer,
        metadata=metadata,
        payment_method=method["id"] if method else None,
        latest_charge=None,
        last_payment_error=None,
        setup_future_usage=None,
        status="requires_confirmation" if method else "requires_payment_method",
        transfer_group=None,
    )
    made["client_secret"] = f"{made['id']}_secret_x"
    world.emit("payment_intent.created", made)
    return made


def confirm_intent(world: World, intent: Thing, method: Thing | None, *, is_off_session: bool) -> None:
    """Charge the card, or raise the 402 that a decline is."""
    if method is None:
        raise invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    if method["customer"] is None or method["customer"] != intent["customer"]:
        raise invalid(
            "The PaymentMethod does not belong to the Customer of this PaymentIntent.", param="payment_method"
        )
    if reason := method["_declines"]:
        fail_intent(world, intent, reason)
        code = reason if reason == "authentication_required" else "card_declined"
        raise declined(code, reason, {name: value for name, value in intent.items() if not name.startswith("_")})
    succeed_intent(world, intent)


def fail_intent(world: World, intent: Thing, reason: str) -> None:
    intent["status"] = "requires_payment_method"
    intent["last_payment_error"] = {"type": "card_error", "code": "card_declined", "decline_code": reason}
    world.emit("payment_intent.payment_failed", intent)


def succeed_intent(world: World, intent: Thing) -> None:
    """The money arrives: a charge, its balance transaction, and the events."""
    amount = intent["amount"]
    charge = world.add(
        "charges",
        "ch",
        object="charge",
        amount=amount,
        amount_captured=amount,
        amount_refunded=0,
        captured=True,
        currency=intent["currency"],
        customer=intent["customer"],
        disputed=False,
        metadata=dict(intent["metadata"]),
        paid=True,
        payment_intent=intent["id"],
        payment_method=intent["payment_method"],
        refunded=False,
        status="succeeded",
        transfer_group=None,
    )
    fee = FEE_CENTS + amount * FEE_BPS // 10_000
    charge["balance_transaction"] = world.book("charge", amount, charge["id"], fee=fee)["id"]
    intent |= {
        "status": "succeeded",
        "amount_received": amount,
        "latest_charge": charge["id"],
        "last_payment_error": None,
    }
    world.emit("charge.succeeded", charge)
    world.emit("payment_intent.succeeded", intent)


@endpoint("GET", "/v1/payment_intents", "PaymentIntentListParams")
def list_intents(asked: Asked) -> Thing:
    wanted = {"customer": asked.parameters["customer"]} if "customer" in asked.parameters else {}
    return listed(asked, asked.world.find("payment_intents", **wanted), "/v1/payment_intents")


@endpoint("GET", "/v1/payment_intents/{id}", "PaymentIntentRetrieveParams")
def retrieve_intent(asked: Asked) -> Thing:
    return asked.thing("payment_intents", "payment_intent")


@endpoint("POST", "/v1/payment_intents/{id}/confirm", "PaymentIntentConfirmParams")
def confirm(asked: Asked) -> Thing:
    intent = asked.thing("payment_intents", "payment_intent")
    if intent["status"] in {"succeeded", "canceled"}:
        message = f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}."
        raise invalid(message, code="payment_intent_unexpected_state")
    method = asked.named("payment_methods", "PaymentMethod", "payment_method") or asked.world.objects[
        "payment_methods"
    ].get(intent["payment_method"])
    confirm_intent(asked.world, intent, method, is_off_session=is_true(asked.parameters.get("off_session")))
    return intent


@endpoint("POST", "/v1/payment_intents/{id}/cancel", "PaymentIntentCancelParams")
def cancel_intent(asked: Asked) -> Thing:
    intent = asked.thing("payment_intents", "payment_intent")
    if intent["status"] in {"succeeded", "canceled", "processing"}:
        message = f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
        raise invalid(message, code="payment_intent_unexpected_state")
    intent["status"] = "canceled"
    asked.world.emit("payment_intent.canceled", intent)
    return intent


@endpoint("GET", "/v1/charges/{id}")
def retrieve_charge(asked: Asked) -> Thing:
    return asked.thing("charges", "charge")


# Refunds and disputes.


@endpoint("POST", "/v1/refunds", "RefundCreateParams")
def create_refund(asked: Asked) -> Thing:
    intent = asked.named("payment_intents", "payment_intent", "payment_intent")
    charge = asked.named("charges", "charge", "charge")
    if intent is not None:
        charge = asked.world.objects["charges"].get(intent["latest_charge"])
    if charge is None:
        raise invalid("One of the following params should be provided for this request: payment_intent or charge.")
    left = charge["amount"] - charge["amount_refunded"]
    amount = whole(asked.parameters, "amount", low=1) if "amount" in asked.parameters else left
    return new_refund(asked.world, charge, amount, asked.metadata())


def new_refund(
    world: World, charge: Thing, amount: int, metadata: dict[str, str], *, status: str = "succeeded"
) -> Thing:
    left = charge["amount"] - charge["amount_refunded"]
    if charge["disputed"]:
        raise StripeProblem(
            400,
            "invalid_request_error",
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    if left == 0:
        raise StripeProblem(
            400,
            "invalid_request_error",
            f"Charge {charge['id']} has already been refunded.",
            code="charge_already_refunded",
        )
    if amount > left:
        raise StripeProblem(
            400,
            "invalid_request_error",
            f"Refund amount (${amount}) is greater than unrefunded amount on charge (${left})",
            param="amount",
        )
    refund = world.add(
        "refunds",
        "re",
        object="refund",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        failure_reason=None,
        failure_balance_transaction=None,
        metadata=metadata,
        payment_intent=charge["payment_intent"],
        reason=None,
        status=status,
    )
    refund["balance_transaction"] = world.book("refund", -amount, refund["id"])["id"]
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    world.emit("refund.created", refund)
    world.emit("charge.refunded", charge)
    return refund


@endpoint("GET", "/v1/refunds", "RefundListParams")
def list_refunds(asked: Asked) -> Thing:
    wanted = {name: asked.parameters[name] for name in ("charge", "payment_intent") if name in asked.parameters}
    return listed(asked, asked.world.find("refunds", **wanted), "/v1/refunds")


@endpoint("GET", "/v1/refunds/{id}", "RefundRetrieveParams")
def retrieve_refund(asked: Asked) -> Thing:
    return asked.thing("refunds", "refund")


@endpoint("GET", "/v1/disputes", "DisputeListParams")
def list_disputes(asked: Asked) -> Thing:
    wanted = {name: asked.parameters[name] for name in ("charge", "payment_intent") if name in asked.parameters}
    return listed(asked, asked.world.find("disputes", **wanted), "/v1/disputes")


@endpoint("GET", "/v1/disputes/{id}", "DisputeRetrieveParams")
def retrieve_dispute(asked: Asked) -> Thing:
    return asked.thing("disputes", "dispute")


# Balance and events.


@endpoint("GET", "/v1/balance", "BalanceRetrieveParams")
def retrieve_balance(asked: Asked) -> Thing:
    amount = asked.world.balances[asked.account]
    money = [{"amount": amount, "currency": "usd", "source_types": {"card": amount}}]
    nothing = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
    return {
        "object": "balance",
        "available": money,
        "instant_available": [{"amount": max(amount, 0), "currency": "usd"}],
        "livemode": asked.world.is_live,
        "pending": nothing,
    }


@endpoint("GET", "/v1/balance_transactions", "BalanceTransactionListParams")
def list_transactions(asked: Asked) -> Thing:
    wanted = {name: asked.parameters[name] for name in ("type", "source", "payout") if name in asked.parameters}
    found = asked.world.find("balance_transactions", account=asked.account, **wanted)
    return listed(asked, found, "/v1/balance_transactions")


@endpoint("GET", "/v1/balance_transactions/{id}")
def retrieve_transaction(asked: Asked) -> Thing:
    return asked.thing("balance_transactions", "balance_transaction")


@endpoint("GET", "/v1/events", "EventListParams")
def list_events(asked: Asked) -> Thing:
    events = [event for event in reversed(asked.world.events) if event.get("account", "") == asked.account]
    return listed(asked, events, "/v1/events")


@endpoint("GET", "/v1/events/{id}")
def retrieve_event(asked: Asked) -> Thing:
    for event in asked.world.events:
        if event["id"] == asked.ids[0]:
            return event
    raise StripeProblem(404, "invalid_request_error", "No such event", code="resource_missing", is_executed=False)
