"""The state machine of a coin invoice, as a table (design/ledger.md section 7); what it has no row for changes nothing.

Money decides before words do: the event of a sighting is chosen by what is credited, and no word of a gateway ("expired",
"failed") takes back confirmed money. Only a reversal does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from hushnet.coordinator.payments.coins.model import InvoiceState as State


class Event(Enum):
    """What happened to an invoice."""

    QUOTED = "the gateway answered"
    REFUSED = "the gateway refused"
    DETECTED = "coins were seen"
    PARTLY = "confirmed coins are worth less than was asked"
    COVERED = "confirmed coins are worth what was asked, or more"
    TOO_LATE = "coins came a day after the end, and none before"
    ENDED = "expired, failed or invalid, and nothing is credited"
    ENDED_PARTLY = "expired, failed or invalid, and something is credited"
    REVERSED = "confirmed coins went back"


_ALIVE: Final = {Event.COVERED: State.PAID, Event.PARTLY: State.DETECTED, Event.TOO_LATE: State.REVIEW}
_OVER: Final = {
    Event.COVERED: State.PAID,
    Event.PARTLY: State.UNDERPAID,
    Event.ENDED_PARTLY: State.UNDERPAID,
    Event.TOO_LATE: State.REVIEW,
    Event.REVERSED: State.REVERSED,
}

TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.CREATING: {Event.QUOTED: State.PENDING, Event.REFUSED: State.REFUSED},
    State.PENDING: {
        **_ALIVE,
        Event.DETECTED: State.DETECTED,
        Event.ENDED: State.EXPIRED,
        Event.ENDED_PARTLY: State.UNDERPAID,
    },
    State.DETECTED: {
        **_ALIVE,
        Event.ENDED: State.EXPIRED,
        Event.ENDED_PARTLY: State.UNDERPAID,
        Event.REVERSED: State.REVERSED,
    },
    State.PAID: {Event.REVERSED: State.REVERSED},
    State.UNDERPAID: {Event.COVERED: State.PAID, Event.REVERSED: State.REVERSED},
    State.EXPIRED: _OVER,
    State.REVIEW: {**_OVER, Event.ENDED: State.EXPIRED},
    State.REVERSED: {},
    State.REFUSED: {},
}


def next_state(state: State, event: Event) -> State:
    """Return the state after `event`; the same one where the table has no row."""
    return TRANSITIONS[state].get(event, state)


def render_table() -> str:
    """Render the table for docs/payments-coins.md."""
    rows = [
        f"| {state.name.lower()} | {event.value} | {to.name.lower()} |"
        for state, row in TRANSITIONS.items()
        for event, to in row.items()
    ]
    return "\n".join(["| from | on | to |", "|---|---|---|", *rows])
