"""The state machine of a request, as data. docs/request-life.md is drawn from this table and a test keeps it so.

`ARRIVED` is the only start and `SETTLED` the only end; once something is held, every path leads through `SETTLING`,
where the one finaliser runs.
"""

from __future__ import annotations

import sys
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
    HEDGED = "backup sent"
    """The attempt that is out is slow: another goes beside it."""
    ONE_FAILED = "one of two failed"
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
    (_S.DISPATCHED, _E.HEDGED): _S.DISPATCHED,
    (_S.DISPATCHED, _E.ONE_FAILED): _S.DISPATCHED,
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


_PREFACE: Final = """\
# The life of a request

Drawn from `hushnet.coordinator.serving.transitions` by `python -m hushnet.coordinator.serving.transitions`; a test holds
this page to the table.

Every request has one task (`serving/life.py`) and one finaliser (`serving/settle.py`). Once money is held, every path
leads through *settling*: success, a provider's error, a lost link, a deadline, a hang-up, a shutdown. What a dead process
leaves open the ledger's sweeper finalises.

"""
_STAGES: Final = (
    (
        "arrived",
        "`api/chat.py`",
        "authenticated, decoded, not refused by `service.py`; the consumer is watched from here on",
    ),
    ("reserving", "`reserve.py`", "a hold in the ledger for the worst case"),
    (
        "routing",
        "`route.py`",
        "the pure router finds a slot, or the request waits in its model's fair queue, at most 120 s",
    ),
    (
        "dispatched",
        "`seal.py`, `attempt.py`, `race.py`",
        "an envelope is on its way, or two are; what comes back is held back until it shows content",
    ),
    ("relaying", "`attempt.py`, `outlet.py`", "this attempt's records go to the consumer, as fast as it reads"),
    ("settling", "`settle.py`, `rules/bills.py`", "what was relayed is billed, the rest of the hold is released"),
    ("settled", "", "the hold is closed"),
)
_RACES: Final = """
## Two attempts at once

An attempt that has shown no content, and has reported no generated tokens, after `serving.hedge_share` of
`serving.first_content_s_max` gets a *backup* beside it (`serving/race.py`). A backup goes to a provider that was not tried
yet, of another agent version if that costs little, only into room that is free at that moment, and never while anybody
waits for the model. It counts as one of `serving.attempts_max`; in sealed mode it uses an entry of the envelope of its own,
so a request that was wrapped for one provider never gets one.

- The first to commit wins: to content, an end, or an error that the request itself caused. In the same step of the event
  loop the other is cancelled at its provider. Nothing of it is shown, billed to the consumer or paid to the provider, and it
  is no failure of that provider's. A first attempt that was outrun ranks its provider 2 s lower for a minute: a provider
  that hangs would otherwise never live to time out.
- The end of one, while the other is out, is that one's alone; it is judged as ever. When both have failed, the next attempt
  follows unseen, or the consumer is told of the last; a verdict that nothing can follow has the last word.
- A stop reaches both in the same step. Each attempt has a first-content deadline of its own.

## Failures and cool-down

Errors of the provider's side, lost links, time-outs and broken records count against a provider with that model: one costs
it 2 s in the ranking for a minute, two within 60 s rest it for 300 s (it serves only where nobody else has room). Errors that
the request caused, hang-ups, consumers too slow for the provider's patience and cancelled racers never count. A whole answer
forgives the failures before the attempt that brought it began.

A refusal for want of room leaves the provider alone until its next report. Where its last report, with what was dispatched
since counted in, still leaves room, the refusal also costs it 2 s for a minute, and three of them within 60 s rest it for 60 s;
refusals less than 2 s apart are one, so a lost race for the last slot hardly hurts. Such refusals use up none of
`serving.attempts_max` in standard mode: a request takes up to eight of them beside.
"""


def render_page() -> str:
    """Return docs/request-life.md."""
    lines = [_PREFACE + "```mermaid", "stateDiagram-v2", f"    [*] --> {State.ARRIVED}"]
    lines += [f"    {source} --> {target}: {event}" for (source, event), target in TRANSITIONS.items()]
    lines += [f"    {State.SETTLED} --> [*]", "```", "", "| state | where | meaning |", "|---|---|---|"]
    lines += [f"| {state} | {where} | {meaning} |" for state, where, meaning in _STAGES]
    return "\n".join(lines) + "\n" + _RACES


if __name__ == "__main__":
    sys.stdout.write(render_page())
