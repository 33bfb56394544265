"""What the ledger bench is asked for, what it makes of its rounds, and what it writes."""

from __future__ import annotations

import pytest
from bench.ledger import pairs, waits
from bench.ledger.__main__ import PARTS, read
from bench.ledger.result import merged
from bench.record import Figure
from bench.routing.plan import Part

ROUND = {
    "postgresql_single": 500.0,
    "postgresql_batched": 10_000.0,
    "postgresql_processor_us": 40.0,
    "sqlite_single": 800.0,
    "sqlite_batched": 8_000.0,
    "sqlite_processor_us": 60.0,
    "tpcb_at_1": 900.0,
    "tpcb_at_16": 2_500.0,
}


def test_a_quick_look_is_small_and_writes_nothing() -> None:
    plan, parts = read(["--quick"])

    assert (plan.is_whole, plan.rounds, parts) == (False, 1, tuple(PARTS))
    assert plan.histories < read([])[0].histories == 100_000


def test_a_whole_run_names_its_parts() -> None:
    plan, parts = read(["--parts", "waits,pairs", "--rounds", "9", "--histories", "1000000"])

    assert (plan.is_whole, plan.rounds, plan.histories, parts) == (True, 9, 1_000_000, ("waits", "pairs"))


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--histories", "x"], ["--parts", "speed"]])
def test_what_it_cannot_do_is_refused_before_anything_starts(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(arguments)

    assert ended.value.code == 2
    assert "usage: python -m bench.ledger" in capsys.readouterr().err


def test_a_ratio_is_the_median_of_the_rounds_own_and_the_better_tpcb_counts() -> None:
    figures = pairs.figures([ROUND, {**ROUND, "tpcb_at_16": 5_000.0}, {**ROUND, "postgresql_batched": 1_000.0}])

    assert figures["postgres_pairs_per_s"] == Figure(10_000, "pairs/s", "pgbench TPC-B transactions", 2.0)
    assert figures["sqlite_pairs_per_s"] == Figure(8_000, "pairs/s", "one transaction each", 10.0)


def test_waits_are_named_by_their_rate() -> None:
    taken = waits.percentiles("postgresql", [n / 1000 for n in range(1000)])

    assert taken == {"postgresql_p50_ms": 500.0, "postgresql_p99_ms": 990.0, "postgresql_p999_ms": 999.0}
    rounds = [{**taken, **waits.percentiles("sqlite", [0.001]), **waits.percentiles("nothing", [0.0])}]
    assert waits.figures(rounds, 500)["hold_added_p99_ms_500rps"] == Figure(990.0, "ms")


def test_a_part_replaces_what_it_gave_and_nothing_else() -> None:
    stamped = {"commit": "c", "date": "2026-01-01T00:00:00+00:00"}
    old = {
        "figures": {
            "gone": {"value": 1.0, "unit": "ms", "peer": None, "ratio": None},
            "books_checked_histories": {"value": 1e5, "unit": "histories", "peer": None, "ratio": None},
            "of_a_bench_before": {"value": 1.0, "unit": "ms", "peer": None, "ratio": None},
        },
        "parts": {
            "waits": {**stamped, "rounds": 5, "figures": ["gone"]},
            "histories": {**stamped, "rounds": 1, "figures": ["books_checked_histories"]},
        },
    }
    part = Part({"hold_added_p99_ms_500rps": Figure(3.0, "ms")}, [{"waits": {"new": 1}}], stamped={"commit": "d"})

    whole = merged("waits", part, old=old, raw=[{"waits": {"old": 1}}, {"histories": {"old": 1}}, {"before": 1}])

    assert set(whole.figures) == {"books_checked_histories", "hold_added_p99_ms_500rps"}
    assert whole.rounds == [{"histories": {"old": 1}}, {"waits": {"new": 1}}]
    assert whole.more["parts"]["waits"] == {"commit": "d", "rounds": 1, "figures": ["hold_added_p99_ms_500rps"]}
