"""Metrics of several workers on one page."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from hushnet.coordinator.bus.scrape import merged
from hushnet.coordinator.telemetry import Metrics


def page(requests: int) -> bytes:
    metrics = Metrics()
    for _ in range(requests):
        metrics.http_requests.add("GET", "/healthz", "200")
        metrics.http_seconds.observe(0.002, "/healthz")
    metrics.gauge("hush_requests_running", "Requests", lambda: requests)
    return metrics.render()


def test_every_sample_keeps_its_value_and_gets_its_worker() -> None:
    shown = merged({2: page(5), 1: page(3)}).decode()
    families = {family.name: family for family in text_string_to_metric_families(shown)}
    gauges = {sample.labels["worker"]: sample.value for sample in families["hush_requests_running"].samples}
    assert gauges == {"1": 3, "2": 5}
    counted = families["hush_http_requests"].samples
    assert {(each.labels["worker"], each.labels["route"], each.value) for each in counted} == {
        ("1", "/healthz", 3),
        ("2", "/healthz", 5),
    }
    for family in families.values():
        if not family.samples:
            continue  # nothing was counted yet
        assert {sample.labels["worker"] for sample in family.samples} == {"1", "2"}
        assert all(len(sample.labels) == len(set(sample.labels)) for sample in family.samples)


def test_help_and_type_of_a_metric_stand_once_before_all_its_samples() -> None:
    lines = merged({1: page(1), 2: page(1)}).decode().splitlines()
    assert len([line for line in lines if line.startswith("# TYPE hush_http_request_seconds ")]) == 1
    names = [line.split("{")[0].split("_bucket")[0] for line in lines if not line.startswith("#")]
    starts = [name for name, before in zip(names, ["", *names], strict=False) if name != before]
    assert len([name for name in starts if name == "hush_requests_running"]) == 1
