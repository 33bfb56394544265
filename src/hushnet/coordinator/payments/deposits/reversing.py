"""What takes money of a deposit back, step by step: the rows, and the facts that the tables call for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hushnet.coordinator.ledger.chart import Kind, account_info
from hushnet.coordinator.ledger.model import Posted
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.deposits import facts
from hushnet.coordinator.payments.deposits.crediting import id_in
from hushnet.coordinator.payments.deposits.model import (
    MICRO_USD_A_CENT,
    Deposit,
    DepositState,
    Reversal,
    ReversalKind,
    ReversalState,
)
from hushnet.coordinator.payments.deposits.transitions import Early, Move, ReversalEvent, next_reversal
from hushnet.coordinator.payments.inbox import Applied, Ignored, Verdict, Waiting
from hushnet.coordinator.payments.model import note_finding
from hushnet.coordinator.payments.stripe.objects import REFUND, USD, Refund

_REFUND_EVENTS = {
    "pending": ReversalEvent.WITHDRAWN,
    "succeeded": ReversalEvent.DONE,
    "failed": ReversalEvent.BACK,
    "canceled": ReversalEvent.BACK,
}
_NOTHING_YET = frozenset({"requires_action", None})
_TAKES = frozenset({Move.TAKE_AND_SEND, Move.WITHDRAW})
_REFUNDED = {Move.TAKE_AND_SEND: 1, Move.SEND: 1, Move.CREDIT_BACK: -1}
_DISPUTED = {Move.WITHDRAW: 1, Move.GIVE_BACK: -1}


@dataclass(frozen=True, slots=True)
class Taking:
    """What is taken back: Stripe's object, the amount in micro-USD, the fee that Stripe keeps for it, and of which payment."""

    kind: ReversalKind
    object: str
    amount: int
    fee: int = 0
    intent: str | None = None
    """None: the deposit's own."""


def apply_refund(tx: Transaction, deposit: Deposit, refund: Refund, *, takes_earnings: bool) -> Verdict:
    """Apply a refund as it stands: ours by its metadata, or one made at Stripe."""
    event = _REFUND_EVENTS.get(refund.status or "")
    if event is None:
        if refund.status in _NOTHING_YET:
            return Applied()
        note_finding(tx, "unknown_status", f"stripe:{refund.id}", (refund.status or "")[:40])
        return Ignored("unknown_status")
    taking = Taking(ReversalKind.REFUND, refund.id, refund.amount * MICRO_USD_A_CENT, intent=refund.payment_intent)
    known = _asked_here(tx, deposit, refund) or _known(tx, refund.id)
    if refund.currency != USD or (known is not None and known.amount != taking.amount):
        note_finding(tx, "reversal_mismatch", f"stripe:{refund.id}", f"deposit {deposit.id}")
        return Ignored("mismatch")
    return step(tx, deposit, known, taking, event, takes_earnings=takes_earnings)


def step(
    tx: Transaction,
    deposit: Deposit,
    known: Reversal | None,
    taking: Taking,
    event: ReversalEvent,
    *,
    takes_earnings: bool,
) -> Verdict:
    """Do what the table says, once; `deposit` is locked, and with it all of its reversals."""
    if deposit.state is DepositState.HELD or taking.intent not in {None, deposit.intent}:
        return _in_suspense(tx, deposit, taking, event)
    found = next_reversal(taking.kind, known.state if known else None, event)
    if isinstance(found, Early):
        return Waiting("not_withdrawn_yet")
    if found is None:
        return Applied()
    state, moves = found
    reversal = known or _added(tx, deposit, taking)
    reversal = replace(reversal, object=reversal.object or taking.object or None)
    _note_on_deposit(tx, deposit, reversal.amount, moves)
    posted = tx.post(
        *(facts.moved(m, deposit, reversal, fee=taking.fee, takes_earnings=takes_earnings) for m in moves)
    ) if moves else ()  # fmt: skip
    if moves and moves[0] in _TAKES and isinstance(posted[0], Posted):
        reversal = _with_parts(reversal, posted[0])
    tx.rows(Reversal).save(replace(reversal, state=state, updated_ms=tx.now_ms))
    if state is ReversalState.REINSTATED:
        note_finding(tx, "reinstated_after_lost", f"stripe:{reversal.object}", f"deposit {deposit.id}")
    return Applied()


def _asked_here(tx: Transaction, deposit: Deposit, refund: Refund) -> Reversal | None:
    id_ = id_in(refund.metadata, REFUND)
    known = None if id_ is None else tx.rows(Reversal).get(id_)
    if known is None or known.deposit != deposit.id or known.object not in {None, refund.id}:
        return None
    # What was put back because the call was refused, and was made all the same, is taken anew.
    return None if known.state is ReversalState.BACK and known.object is None else known


def _known(tx: Transaction, object_: str) -> Reversal | None:
    found = tx.rows(Reversal).find(object=object_, limit=1)
    return tx.rows(Reversal).get(found[0].id) if found else None


def known_dispute(tx: Transaction, dispute: str) -> Reversal | None:
    """Return the reversal of a dispute, if there is one."""
    return _known(tx, dispute)


def _added(tx: Transaction, deposit: Deposit, taking: Taking) -> Reversal:
    made = Reversal(
        id=tx.next_id(),
        object=taking.object,
        deposit=deposit.id,
        kind=taking.kind,
        amount=taking.amount,
        state=ReversalState.WITHDRAWN,
        from_paid=taking.amount,
        created_ms=tx.now_ms,
        updated_ms=tx.now_ms,
    )
    tx.rows(Reversal).add(made)
    return made


def _with_parts(reversal: Reversal, posted: Posted) -> Reversal:
    """Note from which buckets the money was taken: a dispute that is won gives it back there."""
    parts = {Kind.PAID: 0, Kind.EARNINGS: 0, Kind.OWED: 0}
    for leg in posted.legs:
        debit, credit = account_info(leg.debit), account_info(leg.credit)
        if debit is not None and credit is not None and credit.kind is Kind.FROZEN:
            parts[debit.kind] += leg.amount
    return replace(reversal, from_paid=parts[Kind.PAID], from_earnings=parts[Kind.EARNINGS], from_owed=parts[Kind.OWED])


def _note_on_deposit(tx: Transaction, deposit: Deposit, amount: int, moves: tuple[Move, ...]) -> None:
    refunded = deposit.refunded + amount * sum(_REFUNDED.get(move, 0) for move in moves)
    disputed = deposit.disputed + amount * sum(_DISPUTED.get(move, 0) for move in moves)
    if (refunded, disputed) != (deposit.refunded, deposit.disputed):
        tx.rows(Deposit).save(replace(deposit, refunded=refunded, disputed=disputed, updated_ms=tx.now_ms))


def _in_suspense(tx: Transaction, deposit: Deposit, taking: Taking, event: ReversalEvent) -> Verdict:
    """Undo what never was its owner's; a person who decides on suspense sees both."""
    is_refund = taking.kind is ReversalKind.REFUND
    note_finding(tx, "reversal_in_suspense", f"stripe:{taking.object}", f"deposit {deposit.id}")
    out = facts.suspended("refund" if is_refund else "withdrawn", taking.object, taking.amount, fee=taking.fee)
    back = facts.suspended("refund_failed" if is_refund else "won", taking.object, taking.amount)
    if event is ReversalEvent.BACK and is_refund:
        tx.post(out, back)
    elif event is ReversalEvent.BACK:
        tx.post(back)
    elif is_refund or event is ReversalEvent.WITHDRAWN:
        tx.post(out)
    return Applied()
