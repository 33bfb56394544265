"""An event applied to a payout, inside one transaction: the row, the fact, the next call, and a word to a person.

The row is locked first; facts are posted last, all at once. An event that the table does not list leaves the row as it
is, however often it comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from hushnet.coordinator.ledger.model import Fact
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.calls import enqueue
from hushnet.coordinator.payments.model import Call, note_finding
from hushnet.coordinator.payments.payouts.books import fact_of
from hushnet.coordinator.payments.payouts.fees import CENT
from hushnet.coordinator.payments.payouts.model import COIN, STRIPE, Payout, PayoutMethod
from hushnet.coordinator.payments.payouts.transitions import (
    PayoutEvent,
    Posting,
    RailCall,
    Step,
    Without,
    step_of,
)
from hushnet.foundation.errors import RequestError

METADATA: Final = "hush_payout"
"""Under this name Stripe's transfers and payouts carry the id of ours."""
STUCK_FINDING: Final = "payout_stuck"
CONTRADICTION_FINDING: Final = "payout_contradiction"


class UnknownPayoutError(RequestError):
    """There is no such payout, or it is somebody else's."""

    code = "payout_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One event with what it tells: ids of the rail, the reason of a failure, the quote under which coins are sent, and by whom."""

    event: PayoutEvent
    transfer: str | None = None
    payout: str | None = None
    reversal: str | None = None
    txid: str | None = None
    units: int | None = None
    rate: int | None = None
    gateway: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """The payout as it is now, and what became of the last event: its step, or why it had none."""

    payout: Payout
    last: Step | Without


def transfer_group(payout_id: int) -> str:
    """Return the word by which Stripe finds a payout's transfer."""
    return f"payout:{payout_id}"


def advance(tx: Transaction, payout_id: int, *happened: Happened, actor: str) -> Moved:
    """Apply events in order; raises `UnknownPayoutError`. Does nothing twice."""
    rows = tx.rows(Payout)
    before = rows.get(payout_id)
    if before is None:
        raise UnknownPayoutError("there is no such payout")
    payout = before
    facts: list[Fact] = []
    calls: list[RailCall] = []
    last: Step | Without = Without.EFFECT
    for one in happened:
        payout, last = _apply(tx, payout, one, facts, actor)
        if isinstance(last, Step) and last.call is not None:
            calls.append(last.call)
    if payout != before:
        payout = replace(payout, updated_ms=tx.now_ms)
        rows.save(payout)
    for call in calls:
        enqueue_next(tx, payout, call)
    if facts:
        tx.post(*facts)
    return Moved(payout, last)


def enqueue_next(tx: Transaction, payout: Payout, call: RailCall) -> Call:
    """Make a call due under a key that no earlier call of this payout had."""
    rail = COIN if call is RailCall.SEND else STRIPE
    earlier = tx.rows(Call).find(
        rail=rail, action=call.value, subject=payout.id, order_by="attempt", descending=True, limit=1
    )
    attempt = earlier[0].attempt + 1 if earlier else 1
    return enqueue(tx, rail, call.value, payout.id, _request(tx, payout, call), attempt=attempt)


def _apply(
    tx: Transaction, payout: Payout, happened: Happened, facts: list[Fact], actor: str
) -> tuple[Payout, Step | Without]:
    told = _with_ids(tx, payout, happened)
    step = step_of(payout.rail, payout.state, happened.event)
    if not isinstance(step, Step):
        if (step is Without.ALARMING and not _is_known(payout, happened)) or _is_paid_unexpectedly(payout, happened):
            detail = f"{happened.event} while {payout.state.name.lower()}"
            note_finding(tx, CONTRADICTION_FINDING, str(payout.id), detail)
        return replace(told, reason=payout.reason), step
    if step.posting is not None:
        facts.append(fact_of(told, step.posting, actor=actor))
    if step.is_alarm:
        note_finding(tx, STUCK_FINDING, str(payout.id), happened.reason or happened.event.value)
    is_reversed = payout.is_reversed or step.posting is Posting.REVERSED
    return replace(told, state=step.to, is_reversed=is_reversed), step


def _with_ids(tx: Transaction, payout: Payout, happened: Happened) -> Payout:
    """Note what the event tells; a second transfer or payout for one of ours is an alarm, never an overwrite."""
    changes: dict[str, Any] = {}
    for name in ("transfer", "payout", "reversal", "txid", "units", "rate", "gateway"):
        told, known = getattr(happened, name), getattr(payout, name)
        if told is None or told == known:
            continue
        if known is not None:
            note_finding(tx, CONTRADICTION_FINDING, str(payout.id), f"a second {name}")
            continue
        changes[name] = told
    if happened.reason:
        changes["reason"] = happened.reason
    return replace(payout, **changes)


def _is_known(payout: Payout, happened: Happened) -> bool:
    """Whether the event is only late: the transfer that it tells of has been in the books."""
    return happened.event is PayoutEvent.TRANSFER_MADE and happened.transfer == payout.transfer


def _is_paid_unexpectedly(payout: Payout, happened: Happened) -> bool:
    """Whether Stripe paid what it had not told to have failed before: one late `paid` before a `failed` is usual."""
    return (
        happened.event is PayoutEvent.PAYOUT_PAID
        and payout.state.name in {"REVERSING", "RETURNED", "STUCK"}
        and not payout.reason.startswith("failed")
    )


def _request(tx: Transaction, payout: Payout, call: RailCall) -> dict[str, Any]:
    """Return the frozen body of a call."""
    amount = {"amount": payout.net // CENT, "currency": "usd"}
    metadata = {METADATA: str(payout.id)}
    if call is RailCall.REVERSAL:
        return {"transfer": payout.transfer, "amount": payout.net // CENT, "metadata": metadata}
    (method,) = tx.rows(PayoutMethod).find(id=payout.method)
    match call:
        case RailCall.TRANSFER:
            group = transfer_group(payout.id)
            return {**amount, "destination": method.address, "transfer_group": group, "metadata": metadata}
        case RailCall.PAYOUT:
            speed = "instant" if payout.instant else "standard"
            return {**amount, "account": method.address, "method": speed, "metadata": metadata}
        case RailCall.SEND:
            place = {"asset": method.asset, "network": method.network, "address": method.address, "tag": method.tag}
            return {**place, "units": payout.units, "payout": payout.id, "gateway": payout.gateway}
