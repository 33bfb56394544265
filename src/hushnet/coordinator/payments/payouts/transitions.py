"""The states of a payout: a table, walked by one pure function (design/ledger.md section 7, "Payout").

An event that the table does not list changes nothing. Two kinds of those are told apart for whoever delivers events:
one that comes before what it depends on has been seen (`EARLY`: deliver it again later), and one that contradicts what
the books say (`ALARMING`: a person looks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hushnet.coordinator.payments.payouts.model import COIN, STRIPE, PayoutState

_S = PayoutState


class PayoutEvent(StrEnum):
    """What happened to a payout, by whoever's word."""

    CANCELLED = "cancelled"
    """By its owner."""
    CLAIMED = "claimed"
    """By the worker that sends it."""
    TRANSFER_MADE = "transfer_made"
    TRANSFER_REFUSED = "transfer_refused"
    PAYOUT_MADE = "payout_made"
    PAYOUT_REFUSED = "payout_refused"
    PAYOUT_PAID = "payout_paid"
    PAYOUT_FAILED = "payout_failed"
    PAYOUT_CANCELED = "payout_canceled"
    """By Stripe, or in its dashboard."""
    REVERSAL_MADE = "reversal_made"
    """The answer to our call."""
    REVERSAL_REFUSED = "reversal_refused"
    TRANSFER_REVERSED = "transfer_reversed"
    """Stripe says so, whoever asked for it."""
    RETRIED = "retried"
    """A person wants the money fetched back once more."""
    MONEY_BACK = "money_back"
    """A person has seen that the money is with us."""
    COINS_ACCEPTED = "coins_accepted"
    COINS_REFUSED = "coins_refused"
    COINS_CONFIRMED = "coins_confirmed"
    COINS_LOST = "coins_lost"
    """A definite failure, with proof: the coins did not leave."""


class Posting(StrEnum):
    """The fact that a step posts; its key is `payout:<id>:<posting>`."""

    REQUESTED = "requested"
    LANDED = "landed"
    PAID = "paid"
    UNPAID = "unpaid"
    REVERSED = "reversed"
    RETURNED = "returned"


class RailCall(StrEnum):
    """The call that a step makes due."""

    TRANSFER = "transfer"
    PAYOUT = "payout"
    REVERSAL = "reversal"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Step:
    """Where an event leads, what it posts, what is to be called next, and whether a person must look."""

    to: PayoutState
    posting: Posting | None = None
    call: RailCall | None = None
    is_alarm: bool = False


class Without(StrEnum):
    """Why an event changes nothing."""

    EFFECT = "effect"
    EARLY = "early"
    ALARMING = "alarming"


_E = PayoutEvent
_Table = Mapping[tuple[PayoutState, PayoutEvent], Step]

_RETURN: Final = Step(_S.RETURNED, Posting.RETURNED)
_FETCH_BACK: Final = Step(_S.REVERSING, call=RailCall.REVERSAL)
_TAKEN_BACK: Final = Step(_S.STUCK, Posting.REVERSED, is_alarm=True)

_STRIPE: Final[_Table] = {
    (_S.REQUESTED, _E.CANCELLED): Step(_S.CANCELLED, Posting.RETURNED),
    (_S.REQUESTED, _E.CLAIMED): Step(_S.SENDING, call=RailCall.TRANSFER),
    (_S.SENDING, _E.TRANSFER_MADE): Step(_S.LANDED, Posting.LANDED, RailCall.PAYOUT),
    (_S.SENDING, _E.TRANSFER_REFUSED): _RETURN,
    (_S.LANDED, _E.PAYOUT_MADE): Step(_S.IN_TRANSIT),
    (_S.LANDED, _E.PAYOUT_REFUSED): _FETCH_BACK,
    (_S.LANDED, _E.PAYOUT_PAID): Step(_S.PAID, Posting.PAID),
    (_S.IN_TRANSIT, _E.PAYOUT_PAID): Step(_S.PAID, Posting.PAID),
    (_S.LANDED, _E.PAYOUT_FAILED): _FETCH_BACK,
    (_S.IN_TRANSIT, _E.PAYOUT_FAILED): _FETCH_BACK,
    (_S.LANDED, _E.PAYOUT_CANCELED): _FETCH_BACK,
    (_S.IN_TRANSIT, _E.PAYOUT_CANCELED): _FETCH_BACK,
    (_S.PAID, _E.PAYOUT_FAILED): Step(_S.REVERSING, Posting.UNPAID, RailCall.REVERSAL),
    (_S.REVERSING, _E.REVERSAL_MADE): _RETURN,
    (_S.REVERSING, _E.TRANSFER_REVERSED): _RETURN,
    (_S.REVERSING, _E.REVERSAL_REFUSED): Step(_S.STUCK, is_alarm=True),
    (_S.LANDED, _E.TRANSFER_REVERSED): _TAKEN_BACK,
    (_S.IN_TRANSIT, _E.TRANSFER_REVERSED): _TAKEN_BACK,
    (_S.STUCK, _E.RETRIED): _FETCH_BACK,
    (_S.STUCK, _E.MONEY_BACK): _RETURN,
}
_COIN: Final[_Table] = {
    (_S.REQUESTED, _E.CANCELLED): Step(_S.CANCELLED, Posting.RETURNED),
    (_S.REQUESTED, _E.CLAIMED): Step(_S.SENDING, call=RailCall.SEND),
    (_S.SENDING, _E.COINS_ACCEPTED): Step(_S.IN_TRANSIT),
    (_S.SENDING, _E.COINS_REFUSED): _RETURN,
    (_S.SENDING, _E.COINS_CONFIRMED): Step(_S.PAID, Posting.PAID),
    (_S.IN_TRANSIT, _E.COINS_CONFIRMED): Step(_S.PAID, Posting.PAID),
    (_S.SENDING, _E.COINS_LOST): _RETURN,
    (_S.IN_TRANSIT, _E.COINS_LOST): _RETURN,
}
TABLE: Final[Mapping[str, _Table]] = MappingProxyType({STRIPE: _STRIPE, COIN: _COIN})

_AFTER_LANDING: Final = (_E.PAYOUT_PAID, _E.PAYOUT_FAILED, _E.PAYOUT_CANCELED, _E.TRANSFER_REVERSED)
EARLY: Final = frozenset({(_S.SENDING, event) for event in _AFTER_LANDING})
"""Stripe tells of what became of a transfer before its answer has been seen here."""

_FINISHED: Final = (_S.RETURNED, _S.CANCELLED)
ALARMING: Final = frozenset(
    {(_S.PAID, _E.TRANSFER_REVERSED), (_S.PAID, _E.COINS_LOST), (_S.REQUESTED, _E.TRANSFER_MADE)}
    | {(state, event) for state in _FINISHED for event in (_E.TRANSFER_MADE, _E.COINS_CONFIRMED)}
    | {(_S.CANCELLED, event) for event in (*_AFTER_LANDING, _E.COINS_ACCEPTED)}
    | {(_S.REQUESTED, event) for event in (*_AFTER_LANDING, _E.COINS_ACCEPTED, _E.COINS_CONFIRMED)}
)
"""Money moved that the books have elsewhere: nothing is posted, a person looks."""


def step_of(rail: str, state: PayoutState, event: PayoutEvent) -> Step | Without:
    """Return where `event` leads a payout of `rail` in `state`, or why it changes nothing."""
    step = TABLE[rail].get((state, event))
    if step is not None:
        return step
    if (state, event) in EARLY:
        return Without.EARLY
    return Without.ALARMING if (state, event) in ALARMING else Without.EFFECT


def render_states(rail: str) -> str:
    """Return the diagram of a rail's table, as it stands in docs/payouts.md."""
    steps = TABLE[rail].items()
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_S.REQUESTED.name.lower()}: asked, requested"]
    for (state, event), step in steps:
        said = ", ".join([event.value, *([step.posting.value] if step.posting else [])])
        lines.append(f"    {state.name.lower()} --> {step.to.name.lower()}: {said.replace('_', ' ')}")
    return "\n".join([*lines, "```"])
