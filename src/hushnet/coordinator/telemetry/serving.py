"""What serving counts: requests, waiting, attempts, findings; every label is a word of a closed set."""

from __future__ import annotations

from typing import Final

from hushnet.coordinator.telemetry.metrics import Metrics

REQUEST_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


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
        self._queue = metrics.histogram("hush_queue_seconds", "Time that requests waited for a provider")

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
