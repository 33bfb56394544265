"""The pace of a queue and what it promises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.admission.pace import SERVED_MIN, Pace


def paced(interval_s: float, served: int) -> Pace:
    pace = Pace(100.0)
    for number in range(1, served + 1):
        pace.note_served(100.0 + number * interval_s)
    return pace


def test_it_promises_nothing_before_it_has_seen_enough() -> None:
    assert paced(2.0, SERVED_MIN - 1).estimate_s(0, 106.0) is None
    assert paced(2.0, SERVED_MIN).estimate_s(0, 108.0) is not None


def test_a_steady_pace_is_found_exactly() -> None:
    assert paced(2.0, 10).estimate_s(4, 120.0) == 10.0


def test_a_queue_that_has_stopped_counts_its_silence() -> None:
    pace = paced(2.0, 10)

    assert pace.estimate_s(0, 121.0) == 2.0
    assert pace.estimate_s(0, 180.0) == 60.0


@given(st.lists(st.floats(0, 100), min_size=SERVED_MIN, max_size=30), st.integers(0, 500), st.floats(0, 1000))
def test_an_estimate_lies_between_the_extremes_and_grows_with_who_is_ahead(
    gaps: list[float], ahead: int, silence_s: float
) -> None:
    pace, now_s = Pace(0.0), 0.0
    for gap in gaps:
        now_s += gap
        pace.note_served(now_s)

    first, later = (pace.estimate_s(count, now_s + silence_s) for count in (ahead, ahead + 1))

    assert first is not None
    assert later is not None
    assert first >= 0.0
    assert later >= first * (1 - 1e-9)
    assert first <= max((ahead + 1) * max(gaps) * (1 + 1e-9), silence_s * (1 + 1e-9)) + 1e-6
