"""The table tells faults, a pace that was not kept and what was left out; the goals are ratios of one run."""

from bench.relay import plot, report
from bench.relay.client import Measured
from bench.relay.rounds import Outcome


def paced(cpu_us: float, *, units: int = 16_000, verdicts: dict[str, int] | None = None) -> dict[str, Measured]:
    return {
        "paced": Measured(
            streams=400,
            units=units,
            window_s=1.0,
            cpu_us={"system": cpu_us * units, "client": units},
            delay_us=(100.0 + cpu_us, 200.0, 300.0),
            jitter_us=(1.0, 2.0, 3.0),
            verdicts=verdicts or {"whole": 400},
        )
    }


def outcome(**of_standard: object) -> Outcome:
    standard = paced(30.0, **of_standard)  # type: ignore[arg-type]
    rounds = [
        {"direct": paced(0.0), "nginx": paced(10.0), "hushnet_standard": paced(12.0)},
        {"direct": paced(0.0), "nginx": paced(20.0), "hushnet_standard": standard},
        {"direct": paced(0.0), "nginx": paced(10.0), "hushnet_standard": paced(14.0)},
    ]
    return Outcome(40.0, rounds, absent={"litellm": "no network"})


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    figures = report.figures(outcome())
    assert figures["chunk_cpu_standard_vs_nginx"].value == 1.4
    assert figures["chunk_cpu_standard_vs_nginx"].ratio == 1.4
    assert "chunk_cpu_standard_vs_litellm" not in figures


def test_latencies_are_what_was_added_to_the_provider_asked_directly() -> None:
    found = report.systems(outcome())
    assert found["direct"]["delay_ms"] == [0.1, 0.2, 0.3]
    assert found["nginx"]["added_delay_ms"] == [0.01, 0.0, 0.0]


def test_systems_stand_in_the_order_of_their_cost() -> None:
    assert list(report.systems(outcome())) == ["direct", "nginx", "hushnet_standard"]


def test_the_table_names_what_was_left_out_and_what_was_lost() -> None:
    found = report.systems(outcome(verdicts={"whole": 397, "lost": 3}))
    text = report.table(found, {"litellm": "no network"})
    assert "`litellm` was left out: no network" in text
    assert "| 3 lost |" in text


def test_a_system_that_fell_behind_is_marked() -> None:
    text = report.table(report.systems(outcome(units=12_000)), {})
    assert "hushnet_standard (kept 75% of the pace)" in text


def test_the_picture_has_a_bar_for_each_system_that_cost_something(tmp_path) -> None:
    plot.draw(report.systems(outcome()), tmp_path / "relay.svg")
    text = (tmp_path / "relay.svg").read_text()
    assert ">nginx<" in text
    assert ">hushnet_standard<" in text
    assert ">direct<" not in text
