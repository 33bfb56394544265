"""Windows of budgets begin and end in UTC, weeks on Monday; what applies to a request, and what a refusal says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.budgets.model import NO_CEILING, Allowance, Cap, CapScope, Period
from hushnet.coordinator.budgets.rules import allowance_of, in_force, resets_ms, window_start_ms, words_of
from hushnet.coordinator.ledger.model import CapUse

COUNTED = [Period.DAY, Period.WEEK, Period.MONTH]
NOW = 1_763_769_661_000  # 2025-11-22 00:01:01, a Saturday


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def cap(id_: int, period: Period, ceiling: int, scope: CapScope = CapScope.KEY) -> Cap:
    return Cap(id_, scope, 7, period, ceiling)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (Period.DAY, "2025-11-22", "2025-11-23"),
        (Period.WEEK, "2025-11-17", "2025-11-24"),
        (Period.MONTH, "2025-11-01", "2025-12-01"),
    ],
)
def test_a_window_begins_and_ends_at_midnight_utc(period: Period, start: str, end: str) -> None:
    assert window_start_ms(period, NOW) == ms(start)
    assert resets_ms(period, ms(start)) == ms(end)
    assert window_start_ms(period, ms(end) - 1) == ms(start)
    assert window_start_ms(period, ms(end)) == ms(end)


@pytest.mark.parametrize("period", [Period.LIFE, Period.REQUEST])
def test_a_life_and_a_request_never_begin_anew(period: Period) -> None:
    assert window_start_ms(period, NOW) == 0
    assert resets_ms(period, 0) is None


@given(st.sampled_from(COUNTED), st.integers(0, 4_000_000_000_000))
def test_windows_follow_one_another_without_gap_or_overlap(period: Period, now_ms: int) -> None:
    start = window_start_ms(period, now_ms)
    end = resets_ms(period, start)
    assert end is not None
    assert start <= now_ms < end
    assert window_start_ms(period, end) == end
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=start)
    assert (date.hour, date.minute, date.second, date.microsecond) == (0, 0, 0, 0)
    assert period is not Period.WEEK or date.weekday() == 0
    assert period is not Period.MONTH or date.day == 1


def test_a_hold_counts_in_every_window_and_the_smallest_maximum_bounds_it() -> None:
    caps = [
        cap(6, Period.MONTH, 100),
        cap(4, Period.LIFE, 0),
        cap(2, Period.REQUEST, 9),
        cap(8, Period.REQUEST, 7, CapScope.OPERATOR),
        cap(10, Period.DAY, 5, CapScope.ACCOUNT),
    ]
    uses = (CapUse(4, 0), CapUse(6, ms("2025-11-01")), CapUse(10, ms("2025-11-22")))
    assert allowance_of(caps, NOW) == Allowance(7, uses)
    assert allowance_of([], NOW) == Allowance(None, ())


def test_what_was_removed_is_not_in_force_and_nothing_may_be() -> None:
    none, zero = cap(2, Period.DAY, NO_CEILING), cap(4, Period.WEEK, 0)
    assert in_force([none, zero]) == [zero]


def test_a_refusal_names_the_budget_what_is_left_and_the_reset() -> None:
    daily = words_of(cap(2, Period.DAY, 5_000_000), 123_400, NOW)
    assert daily == (
        "this key's budget of $5.00 a day has $0.1234 left, less than this request may cost; "
        "it resets at 2025-11-23T00:00:00Z"
    )
    whole = words_of(cap(2, Period.LIFE, 1, CapScope.OPERATOR), 0, NOW)
    assert "the operator's budget for this account of $0.000001 for its life has $0.00 left" in whole
    assert "it does not reset" in whole
