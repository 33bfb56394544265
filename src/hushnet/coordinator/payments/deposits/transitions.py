"""What each thing that Stripe tells does to a deposit or a reversal: tables, and nothing else (design/ledger.md section 7).

What a table does not list changes nothing. Both are made so that any order of the true events ends in the same state:
money is money even after "failed" or "expired", and a paid deposit stays paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from hushnet.coordinator.payments.deposits.model import DepositState, ReversalKind, ReversalState


class DepositEvent(Enum):
    """What became known of a deposit."""

    MADE = "Stripe has it and waits for the customer"
    REFUSED = "Stripe refuses it, or the card was declined"
    UNPAID = "the customer is done, the bank is not"
    PAID = "the money is at Stripe"
    FAILED = "the bank refused"
    EXPIRED = "the customer never paid"
    MISMATCH = "money came that is not what was asked for"


_S, _E = DepositState, DepositEvent

DEPOSITS: Final[Mapping[tuple[DepositState, DepositEvent], DepositState]] = {
    (_S.CREATED, _E.MADE): _S.OPEN,
    # An event may come before the answer that says that the Checkout was made.
    (_S.CREATED, _E.UNPAID): _S.PROCESSING,
    (_S.CREATED, _E.REFUSED): _S.FAILED,
    (_S.CREATED, _E.FAILED): _S.FAILED,
    (_S.CREATED, _E.EXPIRED): _S.EXPIRED,
    (_S.OPEN, _E.UNPAID): _S.PROCESSING,
    (_S.OPEN, _E.REFUSED): _S.FAILED,
    (_S.OPEN, _E.FAILED): _S.FAILED,
    (_S.OPEN, _E.EXPIRED): _S.EXPIRED,
    (_S.PROCESSING, _E.REFUSED): _S.FAILED,
    (_S.PROCESSING, _E.FAILED): _S.FAILED,
    **{(state, _E.PAID): _S.PAID for state in _S if state not in {_S.PAID, _S.HELD}},
    **{(state, _E.MISMATCH): _S.HELD for state in _S if state not in {_S.PAID, _S.HELD}},
}


def next_deposit(state: DepositState, event: DepositEvent) -> DepositState:
    """Return the state after `event`."""
    return DEPOSITS.get((state, event), state)


class ReversalEvent(Enum):
    """What became known of a refund or dispute."""

    WITHDRAWN = "the funds have left our balance at Stripe"
    DONE = "the refund succeeded; the dispute was lost"
    BACK = "the refund failed; the dispute was won"


class Move(Enum):
    """What a step moves; each is one fact."""

    TAKE_AND_SEND = "take from the owner, and it is gone"
    SEND = "what was set aside is gone"
    PUT_BACK = "what was set aside is the owner's again"
    CREDIT_BACK = "what was gone is the owner's again"
    WITHDRAW = "take from the owner; Stripe keeps it while the bank decides"
    GIVE_BACK = "what Stripe kept is the owner's again"
    LOSE = "what Stripe kept is gone"
    SUSPEND = "what was lost came back: nobody's yet"


class Early:
    """The event needs one that has not come yet."""


EARLY: Final = Early()
Step = tuple[ReversalState, tuple[Move, ...]]

_R, _V, _M = ReversalState, ReversalEvent, Move

REFUNDS: Final[Mapping[tuple[ReversalState | None, ReversalEvent], Step]] = {
    (None, _V.WITHDRAWN): (_R.WITHDRAWN, (_M.TAKE_AND_SEND,)),
    (None, _V.DONE): (_R.FINAL, (_M.TAKE_AND_SEND,)),
    (None, _V.BACK): (_R.BACK, (_M.TAKE_AND_SEND, _M.CREDIT_BACK)),
    (_R.ASKED, _V.WITHDRAWN): (_R.WITHDRAWN, (_M.SEND,)),
    (_R.ASKED, _V.DONE): (_R.FINAL, (_M.SEND,)),
    (_R.ASKED, _V.BACK): (_R.BACK, (_M.PUT_BACK,)),
    (_R.WITHDRAWN, _V.DONE): (_R.FINAL, ()),
    (_R.WITHDRAWN, _V.BACK): (_R.BACK, (_M.CREDIT_BACK,)),
    (_R.FINAL, _V.BACK): (_R.BACK, (_M.CREDIT_BACK,)),
}
DISPUTES: Final[Mapping[tuple[ReversalState | None, ReversalEvent], Step | Early]] = {
    (None, _V.WITHDRAWN): (_R.WITHDRAWN, (_M.WITHDRAW,)),
    (None, _V.DONE): EARLY,
    (None, _V.BACK): EARLY,
    (_R.WITHDRAWN, _V.DONE): (_R.FINAL, (_M.LOSE,)),
    (_R.WITHDRAWN, _V.BACK): (_R.BACK, (_M.GIVE_BACK,)),
    (_R.FINAL, _V.BACK): (_R.REINSTATED, (_M.SUSPEND,)),
}


def next_reversal(kind: ReversalKind, state: ReversalState | None, event: ReversalEvent) -> Step | Early | None:
    """Return the state and the moves after `event` (`state` None: not known before), or None when it changes nothing."""
    table: Mapping[tuple[ReversalState | None, ReversalEvent], Step | Early]
    table = REFUNDS if kind is ReversalKind.REFUND else DISPUTES
    return table.get((state, event))
