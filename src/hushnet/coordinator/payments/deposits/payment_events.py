"""What Stripe tells of Checkouts and payments, in any order and any number of times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.deposits.crediting import (
    Payment,
    credit,
    deposit_id_of,
    fail,
    keep_card,
    payment_of,
    save,
)
from hushnet.coordinator.payments.deposits.model import Deposit, Origin
from hushnet.coordinator.payments.deposits.transitions import DepositEvent
from hushnet.coordinator.payments.inbox import FETCH_AFTER, Applied, Ignored, Verdict
from hushnet.coordinator.payments.model import InboxEvent, note_finding
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.coordinator.payments.stripe.objects import OWNER, USD, Charge, Intent, Session, object_of
from hushnet.coordinator.payments.stripe.objects import Transaction as BalanceTransaction

COMPLETED: Final = "checkout.session.completed"
ASYNC_SUCCEEDED: Final = "checkout.session.async_payment_succeeded"
ASYNC_FAILED: Final = "checkout.session.async_payment_failed"
EXPIRED: Final = "checkout.session.expired"
SUCCEEDED: Final = "payment_intent.succeeded"
DECLINED: Final = "payment_intent.payment_failed"
CANCELED: Final = "payment_intent.canceled"
KINDS: Final = (COMPLETED, ASYNC_SUCCEEDED, ASYNC_FAILED, EXPIRED, SUCCEEDED, DECLINED, CANCELED)


@dataclass(frozen=True, slots=True)
class Told:
    """An event's object: as it came, or fetched; `landed_cents` when it says no amount in USD."""

    thing: Session | Intent
    landed_cents: int | None = None


class PaymentEvents:
    """`EventHandler` of `KINDS`."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway

    async def prepare(self, event: InboxEvent) -> Told:
        is_session = event.kind.startswith("checkout.")
        thing: Session | Intent
        thing = object_of(event.body, Session) if is_session else object_of(event.body, Intent)
        if event.attempts >= FETCH_AFTER:
            id_ = thing.id
            thing = await fetch_session(self._gateway, id_) if is_session else await fetch_intent(self._gateway, id_)
        is_ours = deposit_id_of(thing.metadata) is not None
        return Told(thing, await landed_of(self._gateway, thing) if is_ours else None)

    def apply(self, tx: Transaction, event: InboxEvent, prepared: object) -> Verdict:
        assert isinstance(prepared, Told), "what prepare returned"
        id_ = deposit_id_of(prepared.thing.metadata)
        if id_ is None:
            return Ignored("not_ours")
        deposit = tx.rows(Deposit).get(id_)
        if deposit is None:
            return Ignored("unknown_deposit")
        if isinstance(prepared.thing, Session):
            return apply_session(tx, deposit, prepared.thing, kind=event.kind, landed=prepared.landed_cents)
        return apply_intent(tx, deposit, prepared.thing, kind=event.kind, landed=prepared.landed_cents)


def apply_session(
    tx: Transaction, deposit: Deposit, session: Session, *, kind: str, landed: int | None = None
) -> Verdict:
    """Apply what a Checkout session says; `kind` is the event that brought it, or what it would have been."""
    if _is_paid(session) and session.payment_intent:
        owner = (session.metadata or {}).get(OWNER, "")
        amount, currency = session.amount_total or 0, session.currency or ""
        return credit(tx, deposit, Payment(session.payment_intent, amount, currency, owner, landed))
    if kind == EXPIRED:
        save(tx, deposit, DepositEvent.EXPIRED)
    elif kind == ASYNC_FAILED:
        fail(tx, deposit, "payment_failed", intent=session.payment_intent)
    elif kind == COMPLETED and session.payment_status == "unpaid":
        save(tx, deposit, DepositEvent.UNPAID, intent=deposit.intent or session.payment_intent)
    else:
        note_finding(tx, "unknown_status", f"stripe:{session.id}", f"{kind}: {session.payment_status[:40]}")
        return Ignored("unknown_status")
    return Applied()


def apply_intent(tx: Transaction, deposit: Deposit, intent: Intent, *, kind: str, landed: int | None = None) -> Verdict:
    """Apply what a payment intent says. A decline at a Checkout is not the end: its customer may try another card."""
    if intent.status == "succeeded":
        keep_card(tx, deposit.owner, intent)
        return credit(tx, deposit, payment_of(intent, landed_cents=landed))
    if deposit.origin is Origin.TOPUP and kind in {DECLINED, CANCELED}:
        fail(tx, deposit, decline_of(intent), intent=intent.id)
    return Applied()


def decline_of(intent: Intent) -> str:
    """Return why a card was declined, as a word of ours."""
    error = intent.last_payment_error
    words: Mapping[str, str] = {
        "authentication_required": "authentication_required",
        "expired_card": "expired_card",
        "insufficient_funds": "insufficient_funds",
    }
    code = (error.decline_code or error.code or "") if error is not None else ""
    return words.get(code, "card_declined")


async def landed_cents(gateway: StripeGateway, intent: str) -> int | None:
    """Return what a payment came to on our balance in USD, 0 where that is kept in another currency.

    None until Stripe has booked it: some methods book after they have succeeded.
    """
    paid = await fetch_intent(gateway, intent)
    if paid.latest_charge is None:
        return None
    charge_id = paid.latest_charge
    charge = await gateway.read(lambda v1: v1.charges.retrieve_async(charge_id), Charge)
    if charge.balance_transaction is None:
        return None
    transaction_id = charge.balance_transaction
    found = await gateway.read(
        lambda v1: v1.balance_transactions.retrieve_async(transaction_id),
        BalanceTransaction,
    )
    return found.amount if found.currency == USD else 0


async def landed_of(gateway: StripeGateway, thing: Session | Intent) -> int | None:
    """Return `landed_cents` of a payment that says no amount in USD itself; None for every other."""
    intent = thing.payment_intent if isinstance(thing, Session) else thing.id
    if intent is None or not _is_paid(thing) or _says_usd(thing):
        return None
    return await landed_cents(gateway, intent)


async def fetch_session(gateway: StripeGateway, id_: str) -> Session:
    return await gateway.read(lambda v1: v1.checkout.sessions.retrieve_async(id_), Session)


async def fetch_intent(gateway: StripeGateway, id_: str) -> Intent:
    return await gateway.read(lambda v1: v1.payment_intents.retrieve_async(id_), Intent)


def _says_usd(thing: Session | Intent) -> bool:
    amount = thing.amount_total if isinstance(thing, Session) else thing.amount_received
    return thing.currency == USD and bool(amount)


def _is_paid(thing: Session | Intent) -> bool:
    if isinstance(thing, Intent):
        return thing.status == "succeeded"
    return thing.status == "complete" and thing.payment_status == "paid"
