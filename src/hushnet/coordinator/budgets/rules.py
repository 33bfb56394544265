"""The rules of budgets, without I/O: when a window begins and ends, what applies to a request, how a refusal is worded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from hushnet.coordinator.budgets.model import NO_CEILING, Allowance, Cap, CapScope, CapWindow, Period
from hushnet.coordinator.ledger.model import CapUse
from hushnet.foundation.money import format_usd

DAY_MS: Final = 86_400_000
_THURSDAY: Final = 3
"""1970 began on one: so many days after a Monday."""
_WEEK: Final = 7
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_ALLOWANCE: Final = Allowance()
_WHOSE: Final = {
    CapScope.KEY: "this key's budget",
    CapScope.ACCOUNT: "this account's budget",
    CapScope.OPERATOR: "the operator's budget for this account",
}
_WHEN: Final = {Period.LIFE: "for its life", Period.DAY: "a day", Period.WEEK: "a week", Period.MONTH: "a month"}


def window_start_ms(period: Period, now_ms: int) -> int:
    """Return when the window of `period` began that `now_ms` lies in, in ms since 1970 UTC; 0 for a life."""
    day = now_ms // DAY_MS
    match period:
        case Period.DAY:
            return day * DAY_MS
        case Period.WEEK:
            return (day - (day + _THURSDAY) % _WEEK) * DAY_MS
        case Period.MONTH:
            date = _EPOCH + timedelta(days=day)
            return (day - date.day + 1) * DAY_MS
        case Period.LIFE | Period.REQUEST:
            return 0


def resets_ms(period: Period, start_ms: int) -> int | None:
    """Return when the window that began at `start_ms` ends and the next begins; None where none does."""
    match period:
        case Period.DAY:
            return start_ms + DAY_MS
        case Period.WEEK:
            return start_ms + _WEEK * DAY_MS
        case Period.MONTH:
            return window_start_ms(Period.MONTH, start_ms + 31 * DAY_MS)
        case Period.LIFE | Period.REQUEST:
            return None


def allowance_of(caps: Sequence[Cap], now_ms: int) -> Allowance:
    """Return what a request at `now_ms` may cost and counts against; `caps` are all that apply to it."""
    if not caps:
        return _NO_ALLOWANCE
    maxima = [cap.ceiling for cap in caps if cap.period is Period.REQUEST]
    uses = (CapUse(cap.id, window_start_ms(cap.period, now_ms)) for cap in caps if cap.period is not Period.REQUEST)
    return Allowance(min(maxima, default=None), tuple(sorted(uses)))


def in_force(caps: Sequence[Cap]) -> list[Cap]:
    """Leave out what was removed."""
    return [cap for cap in caps if cap.ceiling < NO_CEILING]


def window_of(cap: Cap, now_ms: int) -> CapWindow:
    """Return the window that a cap has now, as long as nothing counts in it."""
    return CapWindow(cap.id, window_start_ms(cap.period, now_ms), 0, 0)


def words_of(cap: Cap, left: int, now_ms: int) -> str:
    """Say which budget refused a request, what is left of it, and when it begins anew."""
    ends_ms = resets_ms(cap.period, window_start_ms(cap.period, now_ms))
    until = "it does not reset" if ends_ms is None else f"it resets at {_time(ends_ms)}"
    budget = f"{_WHOSE.get(cap.scope, 'a budget')} of {format_usd(cap.ceiling)} {_WHEN.get(cap.period, '')}"
    return f"{budget} has {format_usd(left)} left, less than this request may cost; {until}"


def words_of_maximum(request_max: int, amount: int) -> str:
    """Say that a single request may cost more than a single request is allowed to."""
    return f"this request may cost up to {format_usd(amount)}; a budget allows {format_usd(request_max)} a request"


def _time(at_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%SZ")
