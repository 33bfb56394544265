"""Parts of the relay bench are measured apart and told together, each with its own commit and date."""

from dataclasses import asdict

from bench.record import Figure
from bench.relay import page
from bench.relay.parts import Part, merged

THEN, NOW = {"commit": "a" * 40, "date": "2026-01-01T00:00:00"}, {"commit": "b" * 40, "date": "2026-01-02T00:00:00"}
SYSTEMS = Part(
    {"chunk_cpu_standard_vs_nginx": Figure(1.4, "times", "nginx", 1.4), "old": Figure(1, "us")},
    [{"nginx": 1}, {"nginx": 2}],
    {"systems": {}, "absent": {"litellm": "no network"}, "load": {"streams": 4, "rate": 40.0, "bytes": 288}},
    THEN,
)


def written(part: Part) -> dict:
    return {"figures": {key: asdict(figure) for key, figure in part.figures.items()}, **part.more}


def test_a_part_joins_what_others_gave_and_keeps_their_origin() -> None:
    first = merged("systems", SYSTEMS, old={}, raw=[])
    ttft = Part({"added_ttft_p99_ms": Figure(0.6, "ms")}, [{"pass": 0}], stamped=NOW)
    both = merged("ttft", ttft, old=written(first), raw=first.rounds)
    assert set(both.figures) == {"chunk_cpu_standard_vs_nginx", "old", "added_ttft_p99_ms"}
    assert [each["part"] for each in both.rounds] == ["systems", "systems", "ttft"]
    assert both.more["parts"]["systems"]["commit"] == THEN["commit"]
    assert both.more["parts"]["ttft"]["commit"] == NOW["commit"]
    assert both.more["absent"] == {"litellm": "no network"}


def test_a_part_that_ran_again_leaves_nothing_of_its_last_run() -> None:
    first = merged("systems", SYSTEMS, old={}, raw=[])
    again = Part({"chunk_cpu_standard_vs_nginx": Figure(1.2, "times", "nginx", 1.2)}, [{"nginx": 3}], SYSTEMS.more, NOW)
    result = merged("systems", again, old=written(first), raw=first.rounds)
    assert list(result.figures) == ["chunk_cpu_standard_vs_nginx"]
    assert result.figures["chunk_cpu_standard_vs_nginx"].value == 1.2
    assert result.rounds == [{"part": "systems", "nginx": 3}]


def test_the_page_shows_figures_beside_their_bounds_and_says_who_is_missing() -> None:
    text = page.render(written(merged("systems", SYSTEMS, old={}, raw=[])))
    assert "| `chunk_cpu_standard_vs_nginx` | 1.4 | times | <= 1.6 | <= 1.2 | nginx |" in text
    assert "`litellm` was left out: no network" in text
    assert "systems aaaaaaaaaa 2026-01-01T00:00" in text


def test_the_headline_counts_the_rounds_of_the_systems_whatever_else_was_taken() -> None:
    ttft = Part({"added_ttft_p99_ms": Figure(0.6, "ms")}, [{"pass": number} for number in range(800)], stamped=NOW)
    alone = merged("ttft", ttft, old={}, raw=[])
    assert alone.more["rounds"] == 800
    both = merged("systems", SYSTEMS, old=written(alone), raw=alone.rounds)
    assert both.more["rounds"] == 2
    again = merged("ttft", ttft, old=written(both), raw=both.rounds)
    assert again.more["rounds"] == 2
    assert again.more["parts"]["ttft"]["rounds"] == 800
