"""What the router decides is counted once an answer, by words of closed sets."""

from __future__ import annotations

from hushnet.coordinator.routing.model import Assignment, Reason, Refusal, Wait
from hushnet.coordinator.telemetry import Metrics, ServingMetrics
from support.routing import A


def test_each_kind_of_decision_is_counted_with_its_reasons() -> None:
    metrics = Metrics()
    counts = ServingMetrics(metrics)
    counts.decided(Assignment(A, None, 100, 200, 17), seconds=0.000_03)
    counts.decided(Wait(2.0), seconds=0.000_004)
    counts.decided(Refusal(Reason.TRUST_UNAVAILABLE, {Reason.TRUST_UNAVAILABLE: 7, Reason.EXHAUSTED: 2}), seconds=0.2)
    text = metrics.render().decode()

    for line in (
        'hush_route_decisions_total{outcome="assigned"} 1.0',
        'hush_route_decisions_total{outcome="waited"} 1.0',
        'hush_route_decisions_total{outcome="refused"} 1.0',
        'hush_route_refusals_total{reason="trust_unavailable"} 1.0',
        'hush_route_passed_total{reason="trust_unavailable"} 7.0',
        'hush_route_passed_total{reason="exhausted"} 2.0',
        'hush_route_seconds_bucket{le="5e-06"} 1.0',
        'hush_route_seconds_bucket{le="5e-05"} 2.0',
        "hush_route_seconds_count 3.0",
        'hush_route_examined_bucket{le="16.0"} 0.0',
        'hush_route_examined_bucket{le="32.0"} 1.0',
    ):
        assert line in text


def test_every_reason_there_is_makes_a_label_that_is_shown() -> None:
    metrics = Metrics()
    counts = ServingMetrics(metrics)
    for reason in Reason:
        counts.decided(Refusal(reason, {reason: 1}), seconds=0.0)
    text = metrics.render().decode()

    assert 'reason="other"' not in text
    assert all(f'hush_route_refusals_total{{reason="{reason}"}} 1.0' in text for reason in Reason)
