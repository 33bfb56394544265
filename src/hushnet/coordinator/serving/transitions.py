"""The state machine of a request, as data. docs/request-life.md is drawn from this table and a test keeps it so.

`ARRIVED` is the only start and `SETTLED` the only end; once something is held, every path leads through `SETTLING`,
where the one finaliser runs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from hushnet.foundation.errors import LocalProtocolError


class State(StrEnum):
    """Where a request is."""

    ARRIVED = "arrived"
    RESERVING = "reserving"
    """The worst case is being held."""
    ROUTING = "routing"
    """A provider is looked for, or waited for."""
    DISPATCHED = "dispatched"
    """An attempt is out and has shown nothing yet that was worth committing to."""
    RELAYING = "relaying"
    """Committed: this attempt's records go to the consumer, and nobody else's."""
    SETTLING = "settling"
    SETTLED = "settled"


class Event(StrEnum):
    """What happened to a request."""

    ADMITTED = "admitted"
    HOLD_REFUSED = "hold refused"
    HELD = "held"
    ASSIGNED = "assigned"
    NOBODY_SERVES = "nobody serves"
    ATTEMPT_FAILED = "attempt failed"
    ATTEMPTS_EXHAUSTED = "attempts exhausted"
    COMMITTED = "committed"
    ENDED = "ended"
    BROKEN_OFF = "broken off"
    STOPPED = "stopped"
    """The consumer hung up, a deadline passed, the consumer stopped reading, or the coordinator shuts down."""
    CLOSED = "hold closed"


_S, _E = State, Event

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (_S.ARRIVED, _E.ADMITTED): _S.RESERVING,
    (_S.ARRIVED, _E.STOPPED): _S.SETTLED,
    (_S.RESERVING, _E.HOLD_REFUSED): _S.SETTLED,
    (_S.RESERVING, _E.HELD): _S.ROUTING,
    (_S.ROUTING, _E.ASSIGNED): _S.DISPATCHED,
    (_S.ROUTING, _E.NOBODY_SERVES): _S.SETTLING,
    (_S.ROUTING, _E.STOPPED): _S.SETTLING,
    (_S.DISPATCHED, _E.ATTEMPT_FAILED): _S.ROUTING,
    (_S.DISPATCHED, _E.ATTEMPTS_EXHAUSTED): _S.SETTLING,
    (_S.DISPATCHED, _E.COMMITTED): _S.RELAYING,
    (_S.DISPATCHED, _E.STOPPED): _S.SETTLING,
    (_S.RELAYING, _E.ENDED): _S.SETTLING,
    (_S.RELAYING, _E.BROKEN_OFF): _S.SETTLING,
    (_S.RELAYING, _E.STOPPED): _S.SETTLING,
    (_S.SETTLING, _E.CLOSED): _S.SETTLED,
}


def advance(state: State, event: Event) -> State:
    """Return the state after `event`; raises `LocalProtocolError` where the table has no such step."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise LocalProtocolError(f"a request that is {state} can't be told '{event}'")
    return following


def render_diagram() -> str:
    """Return the table as a Mermaid state diagram."""
    names = {state: state.value for state in State}
    lines = ["stateDiagram-v2", f"    [*] --> {names[State.ARRIVED]}"]
    lines += [f"    {names[source]} --> {names[target]}: {event}" for (source, event), target in TRANSITIONS.items()]
    lines.append(f"    {names[State.SETTLED]} --> [*]")
    return "\n".join(lines) + "\n"
