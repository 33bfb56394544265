"""The facts of deposits and their reversals: pure, one function a row of design/ledger.md section 4.

Keys come from Stripe's objects, never from deliveries. Amounts are micro-USD.
"""

from __future__ import annotations

from typing import Final

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import AnyLeg, Code, Fact, GiveBack, Leg, Repay, Take
from hushnet.coordinator.payments.deposits.model import MICRO_USD_A_CENT, Deposit, Reversal, ReversalKind
from hushnet.coordinator.payments.deposits.transitions import Move
from hushnet.coordinator.payments.stripe.objects import Transaction

ACTOR: Final = "stripe"
STRIPE: Final = operator_account(Kind.STRIPE)
SUSPENSE: Final = operator_account(Kind.SUSPENSE)
DISPUTED: Final = operator_account(Kind.DISPUTED)
FEES: Final = operator_account(Kind.PROCESSOR_FEES)
BANK: Final = operator_account(Kind.BANK)
FEE_TYPES: Final = frozenset({"stripe_fee", "stripe_fx_fee", "tax_fee"})
"""Balance transactions that are nothing but a fee."""


def paid_key(intent: str) -> str:
    return f"stripe:pi:{intent}"


def refund_key(refund: str) -> str:
    return f"stripe:re:{refund}"


def dispute_key(dispute: str, word: str) -> str:
    return f"stripe:dp:{dispute}:{word}"


def deposit_paid(deposit: Deposit, intent: str) -> Fact:
    """The money of a deposit is its owner's; debts are repaid first."""
    legs = (Leg(STRIPE, user_account(deposit.owner, Kind.PAID), deposit.amount), Repay(deposit.owner))
    return Fact(paid_key(intent), Code.DEPOSIT, legs, actor=ACTOR, owner=deposit.owner)


def deposit_held(intent: str, cents: int) -> Fact:
    """Money that is not what was asked for: ours to keep safe, nobody's to spend. Without any in USD only the key counts."""
    legs = (Leg(STRIPE, SUSPENSE, cents * MICRO_USD_A_CENT),) if cents > 0 else ()
    return Fact(paid_key(intent), Code.SUSPENSE, legs, actor=ACTOR)


def refund_taken(deposit: Deposit, reversal: Reversal, *, actor: str) -> Fact:
    """Set the money of a refund that is asked here aside; the ledger refuses what is not there."""
    legs = (Leg(_paid(deposit), _frozen(deposit), reversal.amount),)
    return Fact(f"refund:{reversal.id}:taken", Code.REFUND, legs, actor=actor, owner=deposit.owner)


def moved(move: Move, deposit: Deposit, reversal: Reversal, *, fee: int = 0, takes_earnings: bool = False) -> Fact:
    """Return the fact of one move of a refund or dispute. `fee` is what Stripe keeps for a dispute."""
    owner, amount, object_ = deposit.owner, reversal.amount, reversal.object or ""
    frozen, paid = _frozen(deposit), _paid(deposit)
    take = Take(owner, amount, has_earnings=takes_earnings)
    key: str
    legs: tuple[AnyLeg, ...]
    match move:
        case Move.TAKE_AND_SEND:
            key, legs = refund_key(object_), (take, Leg(frozen, STRIPE, amount))
        case Move.SEND:
            key, legs = refund_key(object_), (Leg(frozen, STRIPE, amount),)
        case Move.PUT_BACK:
            key, legs = f"refund:{reversal.id}:back", (Leg(frozen, paid, amount), Repay(owner))
        case Move.CREDIT_BACK:
            key, legs = f"{refund_key(object_)}:failed", (Leg(STRIPE, paid, amount), Repay(owner))
        case Move.WITHDRAW:
            fees = (Leg(FEES, STRIPE, fee),) if fee else ()
            key, legs = dispute_key(object_, "withdrawn"), (take, Leg(DISPUTED, STRIPE, amount), *fees)
        case Move.GIVE_BACK:
            back = GiveBack(owner, reversal.from_paid, reversal.from_earnings, reversal.from_owed)
            key, legs = dispute_key(object_, "won"), (Leg(STRIPE, DISPUTED, amount), back, Repay(owner))
        case Move.LOSE:
            key, legs = dispute_key(object_, "lost"), (Leg(frozen, DISPUTED, amount),)
        case Move.SUSPEND:
            key, legs = dispute_key(object_, "reinstated"), (Leg(STRIPE, SUSPENSE, amount),)
    code = Code.DISPUTE if reversal.kind is ReversalKind.DISPUTE else Code.REFUND
    return Fact(key, code, legs, actor=ACTOR, owner=owner)


def suspended(word: str, object_: str, amount: int, *, fee: int = 0) -> Fact:
    """What happens to a deposit that is in suspense happens in suspense: `word` is refund, withdrawn or won."""
    out, back = Leg(SUSPENSE, STRIPE, amount), Leg(STRIPE, SUSPENSE, amount)
    if word == "refund":
        return Fact(refund_key(object_), Code.REFUND, (out,), actor=ACTOR)
    if word == "refund_failed":
        return Fact(f"{refund_key(object_)}:failed", Code.REFUND, (back,), actor=ACTOR)
    fees = (Leg(FEES, STRIPE, fee),) if fee else ()
    legs = (out, *fees) if word == "withdrawn" else (back,)
    return Fact(dispute_key(object_, word), Code.DISPUTE, legs, actor=ACTOR)


def processor_fee(transaction: Transaction) -> Fact | None:
    """What Stripe keeps of a payment, charges by itself, or gives back of either."""
    cents = transaction.fee or (-transaction.amount if transaction.type in FEE_TYPES else 0)
    legs = _between(FEES, -cents)
    return Fact(transaction_key(transaction), Code.PROCESSOR_FEE, legs, actor=ACTOR) if legs else None


def own_money(transaction: Transaction) -> Fact:
    """Money that the operator moves between its bank and Stripe, and what Stripe takes for that."""
    legs = (*_between(BANK, transaction.amount), *_between(FEES, -transaction.fee))
    return Fact(transaction_key(transaction), Code.ADJUSTMENT, legs, actor=ACTOR)


def unexplained(transaction: Transaction) -> Fact:
    """What moved at Stripe for a reason that we do not know: a person decides whose it is."""
    legs = (*_between(SUSPENSE, transaction.amount), *_between(FEES, -transaction.fee))
    return Fact(transaction_key(transaction), Code.SUSPENSE, legs, actor=ACTOR)


def transaction_key(transaction: Transaction) -> str:
    return f"stripe:txn:{transaction.id}"


def _between(other: int, cents: int) -> tuple[Leg, ...]:
    """Return what brings cents to Stripe from another account of ours; below 0 they go there."""
    amount = abs(cents) * MICRO_USD_A_CENT
    return () if amount == 0 else (Leg(STRIPE, other, amount) if cents > 0 else Leg(other, STRIPE, amount),)


def _paid(deposit: Deposit) -> int:
    return user_account(deposit.owner, Kind.PAID)


def _frozen(deposit: Deposit) -> int:
    return user_account(deposit.owner, Kind.FROZEN)
