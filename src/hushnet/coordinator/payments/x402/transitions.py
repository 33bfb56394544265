"""The life of a payment as a table: what may happen in which state, and where it leads.

    0 verified ── sent ──→ 1 settling ── paid ──→ 2 settled
        │                      ├──── refused ──→ 3 failed ── paid ──→ 2 settled
        └─ refused, expired    └──── expired ──→ 4 lapsed

`expired` means that the chain's own time has passed `valid_before` and the nonce is unused there: nothing can settle it any more.
A payment that failed or lapsed and is found on the chain later is settled all the same: the money is here. An `upto`
payment whose settlement failed for good is lost: the provider was paid, so the loss is ours.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

from hushnet.foundation.errors import LocalProtocolError


class State(IntEnum):
    """The numbers stand in the database (design/ledger.md section 7)."""

    VERIFIED = 0
    SETTLING = 1
    SETTLED = 2
    FAILED = 3
    LAPSED = 4
    LOST = 5


class Event(StrEnum):
    """What became known of a payment."""

    SENT = "sent"
    """A settlement is about to be sent; written before it is."""
    PAID = "paid"
    """The transfer is on the chain."""
    REFUSED = "refused"
    """It was refused for a reason that sending it again does not change, and is not on the chain."""
    EXPIRED = "expired"
    """It can't be settled any more, and was not."""
    LOST = "lost"
    """What was served under it can't be collected."""


TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.VERIFIED, Event.SENT): State.SETTLING,
    (State.VERIFIED, Event.PAID): State.SETTLED,
    (State.VERIFIED, Event.REFUSED): State.FAILED,
    (State.VERIFIED, Event.EXPIRED): State.LAPSED,
    (State.SETTLING, Event.SENT): State.SETTLING,
    (State.SETTLING, Event.PAID): State.SETTLED,
    (State.SETTLING, Event.REFUSED): State.FAILED,
    (State.SETTLING, Event.EXPIRED): State.LAPSED,
    (State.SETTLING, Event.LOST): State.LOST,
    (State.FAILED, Event.PAID): State.SETTLED,
    (State.FAILED, Event.EXPIRED): State.FAILED,
    (State.FAILED, Event.REFUSED): State.FAILED,
    (State.LAPSED, Event.PAID): State.SETTLED,
}


def advance(state: State, event: Event) -> State:
    """Return the next state; raises `LocalProtocolError` where the event can't happen."""
    after = TABLE.get((state, event))
    if after is None:
        raise LocalProtocolError(f"x402 payment: {event} in state {state.name.lower()}")
    return after
