"""What the routing bench is asked for, what it writes, and what its page shows."""

from __future__ import annotations

import pytest
from bench import report
from bench.record import Figure
from bench.routing import page
from bench.routing.__main__ import PARTS, read
from bench.routing.latency import SIZES, Size, World
from bench.routing.plan import Part, Plan
from bench.routing.quality import HEADLINES, ONCE
from bench.routing.result import merged

TAKEN = {"p50_s": 1.0, "p95_s": 2.0, "p99_s": 3.0, "ttft_p95_s": 0.5, "waited": 0.0, "refused": 0.02}


def test_a_quick_look_is_small_and_writes_nothing() -> None:
    plan, parts = read(["--quick"])

    assert (plan.is_whole, plan.rounds, parts) == (False, 1, tuple(PARTS))
    assert max(size.providers for size in plan.sizes(SIZES)) == 1_000
    assert read(["--quick", "--rounds", "3"])[0].rounds == 3


def test_a_whole_run_has_every_size_and_names_its_parts() -> None:
    plan, parts = read(["--parts", "quality", "--seed", "9"])

    assert (plan.is_whole, plan.seed, parts) == (True, 9, ("quality",))
    assert len(plan.sizes(SIZES)) == len(SIZES)
    assert {case.providers for case in (*HEADLINES, *ONCE)} == {10, 100, 1_000, 10_000}


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--seed", "x"], ["--parts", "speed"], ["--unknown"]])
def test_what_it_cannot_do_is_refused_before_anything_starts(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(arguments)

    assert ended.value.code == 2
    assert "usage: python -m bench.routing" in capsys.readouterr().err


def test_a_part_replaces_what_it_gave_and_nothing_else() -> None:
    stamped = {"commit": "c", "date": "2026-01-01T00:00:00+00:00"}
    old = {
        "figures": {
            "decision_p99_us_10k": {"value": 60.0, "unit": "us", "peer": None, "ratio": None},
            "gone": {"value": 1.0, "unit": "us", "peer": None, "ratio": None},
            "simulated_steps": {"value": 1e6, "unit": "steps", "peer": None, "ratio": None},
        },
        "parts": {"latency": {**stamped, "rounds": 5, "figures": ["decision_p99_us_10k", "gone"]}},
        "quality": {"kept": {}},
    }
    part = Part(
        {"decision_p99_us_10k": Figure(40.0, "us")}, [{"latency": {"new": 1}}], {"latency": {}}, {"commit": "d"}
    )

    whole = merged("latency", part, old=old, raw=[{"latency": {"old": 1}}, {"quality": {"old": 1}}])

    assert {key: figure.value for key, figure in whole.figures.items()} == {
        "decision_p99_us_10k": 40.0,
        "simulated_steps": 1e6,
    }
    assert whole.rounds == [{"quality": {"old": 1}}, {"latency": {"new": 1}}]
    assert whole.more["quality"] == {"kept": {}}
    assert whole.more["parts"]["latency"]["commit"] == "d"


def test_the_page_shows_bounds_ratios_and_refusals() -> None:
    shown = page.render(
        {
            "figures": {
                "other": {"value": 1.0, "unit": "us", "peer": None},
                "heartbeat_us_10k": {"value": 12.5, "unit": "us", "peer": None},
            },
            "quality": {"steady, 10 machines, 70%": {"hushnet": TAKEN, "random": {**TAKEN, "p95_s": 8.0}}},
        }
    )

    assert shown.index("heartbeat_us_10k") < shown.index("`other`")
    assert "| `heartbeat_us_10k` | 12.5 | us | <= 50 | <= 15 |" in shown
    assert "| steady, 10 machines, 70% | **2.0**, 2.0% refused | 8.0 (0.25), 2.0% refused |" in shown


def test_the_report_knows_the_page() -> None:
    assert report._PAGES["routing"] is page.render


def test_a_world_is_measured_call_by_call_and_left_as_it_was() -> None:
    world = World(Size(40, 2), seed=1)

    times = world.measure(60)
    world.close()

    assert len(times.decide) == 60
    assert len(times.take) == times.assigned
    assert 0 < len(times.release) <= times.assigned
    assert len(times.heartbeat) >= 60
    assert all(provider.load.open_total == 0 for provider in world._fleet.providers())
    assert {"decide_p50_us", "heartbeat_p99_us", "assigned", "waits"} <= times.summary().keys()


def test_sizes_beyond_the_plan_are_left_out() -> None:
    assert [size.providers for size in Plan(providers_max=100).sizes(SIZES)] == [10, 100]
