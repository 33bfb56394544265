"""What an attempt says of its provider: how it ended, and how it was served. Pure but for telling the fleet.

An end that was complete is not judged here: the finaliser finds out whether its meter and receipt verify.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hushnet.coordinator.fleet.reputation.outcomes import Outcome, Service
from hushnet.coordinator.serving.attempt import SEALERS_OWN, Attempt, AttemptEnd, Ending
from hushnet.coordinator.serving.desk import Desk
from hushnet.coordinator.serving.model import Mode
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.rules.bills import Bill
from hushnet.foundation.ids import AccountId
from hushnet.sealing.errors import WireCode

_OF_ENDING: Final = {
    Ending.VIOLATION: Outcome.VIOLATION,
    Ending.BROKEN_OFF: Outcome.SERVER_ERROR,
    Ending.LINK_LOST: Outcome.LOST_LINK,
}
_NO_ROOM: Final = frozenset({WireCode.CAPACITY, WireCode.DRAINING})
_NOBODYS: Final = SEALERS_OWN | {WireCode.UNKNOWN_KEY, WireCode.NOT_FOR_ME}
"""The request's own, or keys that rotated between two messages."""
_SEALERS: Final = frozenset(
    {
        WireCode.BAD_ENVELOPE,
        WireCode.UNSUPPORTED_VERSION,
        WireCode.UNSUPPORTED_SUITE,
        WireCode.BAD_HEADER,
        WireCode.EXPIRED,
        WireCode.NOT_YET_VALID,
        WireCode.REPLAYED,
        WireCode.OPEN_FAILED,
    }
)
"""In sealed mode the consumer has sealed; in standard mode we have, and the next provider will open it."""


def outcome_of(end: AttemptEnd, mode: Mode, *, is_excused: bool = False) -> Outcome | None:
    """Return what an attempt's end says of its provider; None for a complete one, which is not verified yet.

    `is_excused`: being late is not the provider's fault: its consumer was slow at some time, or the request was late before.
    """
    match end.ending:
        case Ending.COMPLETE:
            return None
        case Ending.STOPPED:
            is_late = end.code == WireCode.TIMED_OUT and not is_excused
            return Outcome.TIMED_OUT if is_late else Outcome.CANCELLED
        case Ending.OUTRUN:
            return Outcome.CANCELLED
        case Ending.ERROR | Ending.REFUSED:
            return _of_code(end.code, mode)
        case _:
            return _OF_ENDING[end.ending]


def _of_code(code: int, mode: Mode) -> Outcome:
    """Judge a wire code as OpenRouter judges the HTTP status that it comes nearest to."""
    if code in _NO_ROOM:
        return Outcome.REFUSED_CAPACITY
    if code in _NOBODYS or (code in _SEALERS and mode is Mode.SEALED):
        return Outcome.USER_ERROR
    return Outcome.TIMED_OUT if code == WireCode.TIMED_OUT else Outcome.SERVER_ERROR


def judge_end_of(attempt: Attempt, mode: Mode, account: AccountId, *, desk: Desk, outlet: Outlet) -> None:
    """Have an attempt's end put into its provider's record, in the step in which its life hears of it.

    Requests of the provider's own `account` say nothing: they are free, and a record could be made of them.
    """
    if attempt.slot.provider.owner.account_id == account:
        attempt.slot.is_judged = True
        return

    # A request may have spent its time in the queue and elsewhere: who is asked last is not to blame for that.
    patience_s = min(desk.limits.idle_s_max, desk.limits.first_content_s_max)

    def judge(done: asyncio.Future[AttemptEnd]) -> None:
        is_young = desk.clock.monotonic_s() - attempt.started_s < patience_s
        outcome = outcome_of(done.result(), mode, is_excused=is_young or outlet.was_saturated)
        if outcome is not None:
            desk.fleet.note_outcome(attempt.slot, outcome)

    attempt.outcome.add_done_callback(judge)


def service_of(attempt: Attempt, decided: Bill, outlet: Outlet, *, is_stream: bool) -> Service | None:
    """Return how an answer came, or None where it was not relayed whole, or not as fast as it came."""
    if outlet.was_saturated or not outlet.relayed.is_final:
        return None
    is_timed = is_stream and attempt.shown_s is not None
    return Service(
        prompt_tokens=max(decided.tokens.input - decided.tokens.cached, 0),
        output_tokens=decided.tokens.output,
        total_s=attempt.heard_s - attempt.started_s,
        first_s=attempt.shown_s - attempt.started_s if is_timed and attempt.shown_s is not None else None,
    )
