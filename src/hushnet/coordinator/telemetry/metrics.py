"""Prometheus metrics: label names come from an allow-list, label values are short words, children are bounded.

No label ever names a person: no account, key, request, address or model, and nothing that a caller wrote.

The library renders; counting is done here, on the event loop alone and so without its locks, at a fifth of the cost.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Generic, TypeVar

import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

T = TypeVar("T")

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


class _Children(Generic[T]):
    """The labelled children of one metric, found by their values in one dictionary look-up."""

    def __init__(self, labels: Sequence[str], make: Callable[[], T]) -> None:
        self._width = len(labels)
        self._make_child = make
        self._by_values: dict[tuple[str, ...], T] = {}
        if not labels:
            self.child(())  # what has no labels is shown from the start

    def child(self, values: tuple[str, ...]) -> T:
        found = self._by_values.get(values)
        return found if found is not None else self._make(values)

    def shown(self) -> Iterator[tuple[tuple[str, ...], T]]:
        """Return every child under the values that it is shown with."""
        return iter(self._by_values.items())

    def _make(self, values: tuple[str, ...]) -> T:
        if len(values) != self._width:
            raise ValueError(f"{self._width} label values are needed")
        if not all(_VALUE.fullmatch(value) for value in values) or len(self._by_values) >= CHILDREN_MAX:
            shown = (OTHER,) * self._width
        else:
            shown = values
        child = self._by_values.get(shown)
        if child is None:
            child = self._by_values[shown] = self._make_child()
        return child


class Counter:
    """A number that only grows."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str]) -> None:
        self._name, self._meaning, self._labels = name, meaning, tuple(labels)
        self._children: _Children[list[float]] = _Children(labels, lambda: [0.0])

    def add(self, *values: str, by: float = 1) -> None:
        """Count `by` more under the label values, in the order in which the labels were declared."""
        self._children.child(values)[0] += by

    def collect(self) -> Iterator[prometheus.Metric]:
        """Show the counts to the registry."""
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, count in self._children.shown():
            family.add_metric(values, count[0])
        yield family


class _Distribution:
    """How many observations fell below each bound, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.total = 0.0


class Histogram:
    """A distribution; `observe` takes the unit that the metric's name ends with."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self._name, self._meaning, self._labels = name, meaning, tuple(labels)
        self._bounds = tuple(buckets)
        self._children: _Children[_Distribution] = _Children(labels, lambda: _Distribution(len(self._bounds)))

    def observe(self, amount: float, *values: str) -> None:
        child = self._children.child(values)
        child.counts[bisect_left(self._bounds, amount)] += 1
        child.total += amount

    def collect(self) -> Iterator[prometheus.Metric]:
        """Show the distributions to the registry."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, child in self._children.shown():
            family.add_metric(values, list(zip(names, accumulate(child.counts), strict=True)), child.total)
        yield family


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
        made = Counter(name, meaning, labels)
        self.registry.register(made)
        return made

    def histogram(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = LATENCY_BUCKETS_S,
    ) -> Histogram:
        _check(name, labels)
        made = Histogram(name, meaning, labels, buckets)
        self.registry.register(made)
        return made

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
