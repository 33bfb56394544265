"""Demand rises with a crowd, falls slowly after it, sees a ramp ahead, and ignores what cannot be."""

from __future__ import annotations

import pytest

from hushnet.coordinator.routing.demand import SERVICE_S_FIRST, Demand, machines_wanted


def after(rate: float, seconds: int, *, growth: float = 0.0) -> Demand:
    """Let requests come evenly, at a rate that grows each second."""
    demand, owed = Demand(0.0), 0.0
    for second in range(seconds):
        owed += rate + growth * second
        while owed >= 1.0:
            owed -= 1.0
            demand.arrived(float(second))
    return demand


def test_a_steady_rate_is_estimated_as_it_is() -> None:
    assert after(2.0, 1000).rate(1000.0) == pytest.approx(2.0, rel=0.1)
    assert after(2.0, 1000).rate(1000.0, ahead_s=30.0) == pytest.approx(2.0, rel=0.1)


def test_a_crowd_shows_within_seconds_and_its_end_within_minutes() -> None:
    demand = after(5.0, 60)

    assert demand.rate(60.0) > 4.0
    assert demand.rate(70.0) < 4.0
    assert demand.rate(60.0 + 120.0) > 0.5
    assert demand.rate(60.0 + 3600.0) < 0.001


def test_a_ramp_is_seen_ahead() -> None:
    demand = after(0.0, 200, growth=0.05)

    assert demand.rate(200.0) < 10.0
    assert demand.rate(200.0, ahead_s=15.0 + 20.0) == pytest.approx(11.0, rel=0.1)


def test_what_cannot_have_been_an_answers_time_is_not_believed() -> None:
    demand = Demand(0.0)
    for seconds in (-1.0, float("nan"), float("inf"), 1e9):
        demand.served(seconds)
    assert demand.service_s == SERVICE_S_FIRST

    for _ in range(20):
        demand.served(1.0)
    assert demand.service_s == pytest.approx(1.0, rel=0.02)


def test_machines_follow_littles_law_with_a_share_to_spare() -> None:
    def wanted(rate: float, queue: int = 0) -> int:
        return machines_wanted(rate=rate, service_s=5.0, queue=queue, concurrency=2.0, burst_share=0.25)

    assert [wanted(0.0), wanted(0.01), wanted(0.4), wanted(0.41)] == [0, 1, 1, 2]
    assert wanted(1.6) == 4 + 1
    assert wanted(0.0, queue=3) == 2
