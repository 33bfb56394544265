"""Prometheus metrics: label names come from an allow-list, label values are short words, children are bounded.

No label ever names a person: no account, key, request, address or model, and nothing that a caller wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import prometheus_client as prometheus

LABELS: Final = frozenset(
    {"code", "kind", "method", "mode", "outcome", "reason", "route", "scope", "stage", "state", "status", "trust"}
)
CHILDREN_MAX: Final = 512
OTHER: Final = "other"
_VALUE = re.compile(r"[A-Za-z0-9_./:{}*-]{0,64}", re.ASCII)
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the text, and nobody asks when a counter began
_NAME = re.compile(r"hush_[a-z0-9_]{1,80}", re.ASCII)

LATENCY_BUCKETS_S: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
)


class _Children:
    """The labelled children of one metric, found by their values in one dictionary look-up."""

    def __init__(self, metric: Any, labels: Sequence[str]) -> None:
        self._metric = metric
        self._width = len(labels)
        self._by_values: dict[tuple[str, ...], Any] = {}

    def child(self, values: tuple[str, ...]) -> Any:
        found = self._by_values.get(values)
        return found if found is not None else self._make(values)

    def _make(self, values: tuple[str, ...]) -> Any:
        if len(values) != self._width:
            raise ValueError(f"{self._width} label values are needed")
        if self._width == 0:
            child = self._metric
        else:
            is_known_shape = all(_VALUE.fullmatch(value) for value in values)
            if not is_known_shape or len(self._by_values) >= CHILDREN_MAX:
                values = (OTHER,) * self._width
            child = self._metric.labels(*values)
        self._by_values[values] = child
        return child


class Counter:
    """A number that only grows."""

    def __init__(self, metric: prometheus.Counter, labels: Sequence[str]) -> None:
        self._children = _Children(metric, labels)

    def add(self, *values: str, by: float = 1) -> None:
        """Count `by` more under the label values, in the order in which the labels were declared."""
        self._children.child(values).inc(by)


class Histogram:
    """A distribution; `observe` takes the unit that the metric's name ends with."""

    def __init__(self, metric: prometheus.Histogram, labels: Sequence[str]) -> None:
        self._children = _Children(metric, labels)

    def observe(self, amount: float, *values: str) -> None:
        self._children.child(values).observe(amount)


class Metrics:
    """The registry of one coordinator; parts make their own metrics through it."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry(auto_describe=True)
        prometheus.ProcessCollector(registry=self.registry)
        self.http_requests = self.counter(
            "hush_http_requests_total", "HTTP requests answered", ("method", "route", "status")
        )
        self.http_seconds = self.histogram(
            "hush_http_request_seconds", "Time from the request's headers to the end of its answer", ("route",)
        )
        self.refusals = self.counter("hush_refusals_total", "Requests answered with an error", ("code",))
        self.connections_cut = self.counter(
            "hush_http_connections_cut_total", "Connections ended by a limit of the listener", ("reason",)
        )

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        _check(name, labels)
        return Counter(prometheus.Counter(name, meaning, labels, registry=self.registry), labels)

    def histogram(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = LATENCY_BUCKETS_S,
    ) -> Histogram:
        _check(name, labels)
        metric = prometheus.Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)
        return Histogram(metric, labels)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Show the number that `read` returns when somebody looks; `read` is cheap and does no I/O."""
        _check(name, ())
        prometheus.Gauge(name, meaning, registry=self.registry).set_function(read)

    def render(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return prometheus.generate_latest(self.registry)


def _check(name: str, labels: Sequence[str]) -> None:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"a metric is named hush_…, not {name}")
    if unknown := set(labels) - LABELS:
        raise ValueError(f"labels outside the allow-list: {sorted(unknown)}")
