"""What serving counts: requests, decisions, waiting, attempts, findings; every label is a word of a closed set."""

from __future__ import annotations

from typing import Final

from hushnet.coordinator.routing.model import Assignment, Decision, Refusal
from hushnet.coordinator.telemetry.metrics import Metrics

REQUEST_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
DECISION_BUCKETS_S: Final = (
    0.000_005,
    0.000_01,
    0.000_02,
    0.000_05,
    0.000_1,
    0.000_2,
    0.000_5,
    0.001,
    0.002,
    0.005,
    0.01,
    0.1,
)
EXAMINED_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""A decision examines at most 256 candidates (`routing.router.EXAMINED_MAX`)."""


class ServingMetrics:
    """The counters of requests, on the registry of `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.counter("hush_requests_total", "Inference requests that ended", ("mode", "outcome"))
        self._seconds = metrics.histogram(
            "hush_request_seconds",
            "Time from a request's acceptance to its settlement",
            ("mode",),
            buckets=REQUEST_BUCKETS_S,
        )
        self._first = metrics.histogram(
            "hush_first_content_seconds", "Time from a request's acceptance to its first content", ("mode",)
        )
        self._failed = metrics.counter("hush_attempts_failed_total", "Attempts that failed at a provider", ("reason",))
        self._findings = metrics.counter("hush_findings_total", "Rules that a provider broke", ("kind",))
        self._hedges = metrics.counter("hush_hedges_total", "Backup attempts, and how they ended", ("state",))
        self._queue = metrics.histogram("hush_queue_seconds", "Time that requests waited for a provider")
        self._decisions = metrics.counter(
            "hush_route_decisions_total", "Answers of the router; one that waits is asked again", ("outcome",)
        )
        self._route_refusals = metrics.counter(
            "hush_route_refusals_total", "Requests that nobody in the fleet could serve", ("reason",)
        )
        self._passed = metrics.counter(
            "hush_route_passed_total", "Candidates that could not serve a refused request", ("reason",)
        )
        self._decision_seconds = metrics.histogram(
            "hush_route_seconds", "Time that the router took to decide", buckets=DECISION_BUCKETS_S
        )
        self._examined = metrics.histogram(
            "hush_route_examined", "Candidates that a decision looked at until it chose", buckets=EXAMINED_BUCKETS
        )
        self._warmth = metrics.counter(
            "hush_warm_pool_total",
            "Loads and unloads of models asked for, loads that failed, cold starts",
            ("kind", "reason"),
        )

    def request_ended(self, *, mode: str, outcome: str, seconds: float) -> None:
        self._requests.add(mode, outcome)
        self._seconds.observe(seconds, mode)

    def first_content(self, *, mode: str, seconds: float) -> None:
        self._first.observe(seconds, mode)

    def attempt_failed(self, *, reason: str) -> None:
        self._failed.add(reason)

    def finding(self, *, kind: str) -> None:
        self._findings.add(kind)

    def queued(self, *, seconds: float) -> None:
        self._queue.observe(seconds)

    def decided(self, decision: Decision, *, seconds: float) -> None:
        """Count one answer of the router; a request that waits is looked at again whenever something comes free."""
        self._decision_seconds.observe(seconds)
        if isinstance(decision, Assignment):
            self._decisions.add("assigned")
            self._examined.observe(decision.examined)
        elif isinstance(decision, Refusal):
            self._decisions.add("refused")
            self._route_refusals.add(decision.reason.value)
            for reason, count in decision.passed.items():
                self._passed.add(reason.value, by=count)
        else:
            self._decisions.add("waited")

    def hedged(self, *, state: str) -> None:
        self._hedges.add(state)

    def warmth(self, *, kind: str, reason: str) -> None:
        self._warmth.add(kind, reason)
