"""Metrics and logs: allow-lists hold, and nothing that a caller wrote comes out."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.telemetry import Metrics, configure_logging, error_fields
from hushnet.coordinator.telemetry.metrics import CHILDREN_MAX, LATENCY_BUCKETS_S

CANARY = "the quick canary prompt"
KEY = "hk_user_1a_" + "S" * 43


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    quiet = {name: logging.getLogger(name).level for name in ("uvicorn", "uvicorn.error", "alembic", "sqlalchemy")}
    sink = io.StringIO()
    yield sink
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    for name, old in quiet.items():
        logging.getLogger(name).setLevel(old)


@pytest.mark.parametrize("form", ["console", "json"])
def test_only_allow_listed_fields_come_out(stream: io.StringIO, form: str) -> None:
    configure_logging("debug", form, stream=stream)
    logging.getLogger("hushnet.x").info("did it", extra={"count": 3, "prompt": CANARY, "code": "busy"})
    text = stream.getvalue()
    assert "did it" in text
    assert "busy" in text
    assert "3" in text
    assert CANARY not in text
    assert "prompt" not in text


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_key_is_redacted_wherever_it_stands(stream: io.StringIO, form: str) -> None:
    configure_logging("info", form, stream=stream)
    logging.getLogger("hushnet.x").warning("key %s", KEY, extra={"reason": f"Bearer {KEY}"})
    assert "S" * 16 not in stream.getvalue()


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_exception_shows_its_type_and_places_and_never_its_text(stream: io.StringIO, form: str) -> None:
    configure_logging("info", form, stream=stream)
    try:
        try:
            raise ValueError(CANARY)
        except ValueError as cause:
            raise RuntimeError(CANARY + "2") from cause
    except RuntimeError:
        logging.getLogger("hushnet.x").exception("it failed")
    text = stream.getvalue()
    assert "ValueError" in text
    assert "RuntimeError" in text
    assert "test_telemetry.py" in text
    assert "canary" not in text


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_library_shows_its_template_without_arguments(stream: io.StringIO, form: str) -> None:
    configure_logging("info", form, stream=stream)
    logging.getLogger("asyncio").error("Task failed\nfuture: <Task exception=ValueError('%s')>" % CANARY)  # noqa: UP031
    logging.getLogger("other").error("bad body %s", CANARY)
    text = stream.getvalue()
    assert "Task failed" in text
    assert "bad body" in text
    assert "canary" not in text


def test_json_lines_are_json_and_console_lines_are_lines(stream: io.StringIO) -> None:
    configure_logging("info", "json", stream=stream)
    logging.getLogger("hushnet.x").info("one\ntwo", extra={"reason": "a\nb", "count": 1})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert line["count"] == 1
    assert line["level"] == "info"
    assert line["at"].endswith("Z")
    configure_logging("info", "console", stream=stream)
    logging.getLogger("hushnet.x").info("one", extra={"reason": "a\nb"})
    assert len(stream.getvalue().splitlines()) == 2


def test_the_fields_of_an_error_are_its_type_and_a_place() -> None:
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        fields = error_fields(error)
    assert fields["error"] == "ValueError"
    assert "canary" not in fields["place"]
    assert "test_telemetry.py:" in fields["place"]


def test_a_label_outside_the_allow_list_is_refused() -> None:
    with pytest.raises(ValueError, match="allow-list"):
        Metrics().counter("hush_x_total", "x", ("account_id",))
    with pytest.raises(ValueError, match="named hush_"):
        Metrics().counter("x_total", "x")


def test_a_label_value_that_is_no_short_word_becomes_other() -> None:
    metrics = Metrics()
    counter = metrics.counter("hush_things_total", "things", ("kind",))
    counter.add("fine")
    counter.add(CANARY)
    counter.add("x" * 65)
    text = metrics.render().decode()
    assert 'hush_things_total{kind="fine"} 1.0' in text
    assert 'hush_things_total{kind="other"} 2.0' in text
    assert "canary" not in text


def test_the_children_of_a_metric_are_bounded() -> None:
    metrics = Metrics()
    counter = metrics.counter("hush_things_total", "things", ("kind",))
    for number in range(CHILDREN_MAX * 2):
        counter.add(f"k{number}")
    assert metrics.render().decode().count("hush_things_total{") <= CHILDREN_MAX + 1


def test_gauges_and_histograms_show_what_they_were_given() -> None:
    metrics = Metrics()
    metrics.gauge("hush_open", "open", lambda: 7)
    metrics.histogram("hush_wait_seconds", "wait", ("stage",)).observe(0.2, "queue")
    text = metrics.render().decode()
    assert "hush_open 7.0" in text
    assert 'hush_wait_seconds_count{stage="queue"} 1.0' in text


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 200)), max_size=40))
def test_counts_and_distributions_read_as_the_librarys_own(observed: list[tuple[str, float]]) -> None:
    metrics, registry = Metrics(), prometheus_client.CollectorRegistry()
    ours = (
        metrics.histogram("hush_wait_seconds", "waits", ("mode",)),
        metrics.counter("hush_waits_total", "w", ("mode",)),
    )
    theirs = (
        prometheus_client.Histogram(
            "hush_wait_seconds", "waits", ("mode",), buckets=LATENCY_BUCKETS_S, registry=registry
        ),
        prometheus_client.Counter("hush_waits_total", "w", ("mode",), registry=registry),
    )
    for mode, seconds in observed:
        ours[0].observe(seconds, mode)
        ours[1].add(mode)
        theirs[0].labels(mode).observe(seconds)
        theirs[1].labels(mode).inc()

    shown = [line for line in metrics.render().decode().splitlines() if "hush_wait" in line]

    assert shown == prometheus_client.generate_latest(registry).decode().splitlines()
