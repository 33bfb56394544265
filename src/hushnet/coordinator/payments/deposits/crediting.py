"""A payment that Stripe says it has: credited to the deposit it was asked for, or kept in suspense when it is another.

Whatever tells of a payment comes here: events, the answer to a call, reconciliation. The payment intent is the fact's key,
so all of them together credit once. That key is spent only when the amount is known: a payment in another currency waits
until Stripe has booked it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.deposits import facts
from hushnet.coordinator.payments.deposits.model import Deposit, DepositState, Origin, StripeCustomer
from hushnet.coordinator.payments.deposits.transitions import DepositEvent, next_deposit
from hushnet.coordinator.payments.inbox import Applied, Verdict, Waiting
from hushnet.coordinator.payments.model import note_finding
from hushnet.coordinator.payments.stripe.objects import DEPOSIT, OWNER, USD, Intent

_ID_DIGITS_MAX = 19
_ID_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Payment:
    """Money at Stripe: `cents` of `currency` for `owner` (metadata's text).

    `landed_cents` is what it came to on our balance in USD, 0 where that is kept in another currency, None where Stripe has
    not said yet.
    """

    intent: str
    cents: int
    currency: str
    owner: str
    landed_cents: int | None = None

    @property
    def usd_cents(self) -> int | None:
        """What our balance in USD has of it; None while that is not known."""
        return self.cents if self.currency == USD and self.cents > 0 else self.landed_cents


def payment_of(intent: Intent, *, landed_cents: int | None = None) -> Payment:
    """Return what a succeeded intent paid."""
    owner = intent.metadata.get(OWNER, "")
    return Payment(intent.id, intent.amount_received, intent.currency, owner, landed_cents)


def deposit_id_of(metadata: dict[str, str] | None) -> int | None:
    """Return the deposit that an object of Stripe's says it is for, or None when it is not ours."""
    return id_in(metadata, DEPOSIT)


def id_in(metadata: dict[str, str] | None, name: str) -> int | None:
    """Read an id of ours out of metadata; anybody with access to the Stripe account may have written it."""
    text = (metadata or {}).get(name, "")
    is_number = text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS_MAX
    return int(text) if is_number and int(text) <= _ID_MAX else None


def credit(tx: Transaction, deposit: Deposit, payment: Payment) -> Verdict:
    """Post a payment once. A second payment of one deposit, and one that does not match, go to suspense.

    Nothing changes, and the answer is `Waiting`, while it is not known how much there is to be kept in suspense.
    """
    is_over = deposit.state in {DepositState.PAID, DepositState.HELD}
    if is_over and deposit.intent == payment.intent:
        return Applied()
    reason = "second_payment" if is_over else mismatch(deposit, payment)
    if not reason:
        save(tx, deposit, DepositEvent.PAID, intent=payment.intent, reason="")
        tx.post(facts.deposit_paid(deposit, payment.intent))
        return Applied()
    cents = payment.usd_cents
    if cents is None:
        return Waiting("amount_not_known_yet")
    if not is_over:
        save(tx, deposit, DepositEvent.MISMATCH, intent=payment.intent, reason=reason)
    note_finding(tx, "deposit_in_suspense", f"stripe:pi:{payment.intent}", f"deposit {deposit.id}: {reason}")
    tx.post(facts.deposit_held(payment.intent, cents))
    return Applied()


def mismatch(deposit: Deposit, payment: Payment) -> str:
    """Say in one word what does not fit; empty when all does."""
    if payment.currency != USD:
        return "wrong_currency"
    if payment.cents != deposit.cents:
        return "wrong_amount"
    return "" if payment.owner == str(deposit.owner) else "wrong_owner"


def save(tx: Transaction, deposit: Deposit, event: DepositEvent, **columns: str | None) -> Deposit:
    """Write a deposit as it is after `event`."""
    changed = replace(deposit, state=next_deposit(deposit.state, event), updated_ms=tx.now_ms, **columns)  # type: ignore[arg-type]
    tx.rows(Deposit).save(changed)
    return changed


def fail(tx: Transaction, deposit: Deposit, reason: str, *, intent: str | None = None) -> None:
    """Note that a deposit failed; of a top-up no other follows until its owner acts."""
    if next_deposit(deposit.state, DepositEvent.FAILED) is deposit.state:
        return
    save(tx, deposit, DepositEvent.FAILED, reason=reason, intent=deposit.intent or intent)
    if deposit.origin is not Origin.TOPUP:
        return
    customers = tx.rows(StripeCustomer)
    customer = customers.get(deposit.owner)
    if customer is not None and customer.topup_on:
        customers.save(replace(customer, topup_halt=reason, updated_ms=tx.now_ms))


def keep_card(tx: Transaction, owner: int, intent: Intent) -> None:
    """Remember the card of a payment that its owner asked to save; of two, that of the later payment."""
    if intent.setup_future_usage != "off_session" or not intent.customer or not intent.payment_method:
        return
    customers, at_ms = tx.rows(StripeCustomer), intent.created * 1000
    card = StripeCustomer(
        owner=owner, customer=intent.customer, method=intent.payment_method, method_ms=at_ms, updated_ms=tx.now_ms
    )
    known = customers.get(owner)
    if known is None:
        customers.add(card)
    elif at_ms > known.method_ms:
        changed = replace(known, customer=card.customer, method=card.method, method_ms=at_ms, topup_halt="")
        customers.save(replace(changed, updated_ms=tx.now_ms))
