"""The table of a run, and its figures: ratios are taken inside each round, then their median."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bench.relay.client import Measured
from bench.relay.rounds import Outcome
from bench.relay.spread import Spread, differences, ratios, spread

Values = list[dict[str, float]]
"""One value a system for each round."""

COLUMNS: Final = ("system", "streams", "us a chunk", "/ nginx", "us a request", "requests/s", "added first token ms p50/p99",
    "added delay ms p50/p95/p99", "added jitter ms p50/p95/p99", "KiB a stream", "faults")  # fmt: skip


def values(outcome: Outcome, load: str, read: Callable[[Measured], float]) -> Values:
    """Return what `read` gives for each system in each round that had `load`."""
    return [{name: read(taken[load]) for name, taken in each.items() if load in taken} for each in outcome.rounds]


def chunk_us(outcome: Outcome) -> Values:
    """Processor microseconds of a system for each relayed chunk."""
    return values(outcome, "paced", lambda taken: taken.cpu_each_us("system"))


def request_us(outcome: Outcome) -> Values:
    """Processor microseconds of a system for each request without streaming."""
    return values(outcome, "requests", lambda taken: taken.cpu_each_us("system"))


def requests_s(outcome: Outcome) -> Values:
    """Requests a second without streaming."""
    return values(outcome, "requests", lambda taken: taken.units / taken.window_s)


def added_ms(outcome: Outcome, name: str, load: str, read: Callable[[Measured], float]) -> Spread | None:
    """Return how much more than `direct` a system showed in the same round, in milliseconds."""
    taken = differences(values(outcome, load, read), name, "direct")
    return spread(taken) if taken else None


def memory_kib(outcome: Outcome, name: str) -> float | None:
    """Return resident KiB that one open stream added to a system that had served before."""
    held = outcome.memory.get(name)
    return (held.rss_mib["system"] - held.rss_before_mib["system"]) * 1024 / held.streams if held else None


def faults(outcome: Outcome, name: str) -> dict[str, int]:
    """Return how streams and requests of a system ended that were not whole."""
    found: dict[str, int] = {}
    for taken in [*(load for each in outcome.rounds for load in each.get(name, {}).values())]:
        for verdict, count in taken.verdicts.items():
            if verdict != "whole":
                found[verdict] = found.get(verdict, 0) + count
    return found


def table(outcome: Outcome) -> str:
    """Return the run as a table in Markdown, and what was left out."""
    names = list(dict.fromkeys(name for each in outcome.rounds for name in sorted(each)))
    order = spread_of(chunk_us(outcome))
    names.sort(key=lambda name: order[name].middle if name in order else 0.0)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "--:|" * (len(COLUMNS) - 1)]
    lines += ["| " + " | ".join(_row(outcome, name)) + " |" for name in names]
    lines += [f"\n{name} was left out: {reason}" for name, reason in outcome.absent.items()]
    if outcome.limit:
        limit = outcome.limit
        lines.append(
            f"\nThe load generator alone: {limit.units / limit.window_s:,.0f} chunks/s at most, "
            f"{limit.cpu_each_us('client'):.1f} us of the client and {limit.cpu_each_us('upstream'):.1f} of the upstream each."
        )
    return "\n".join(lines)


def spread_of(rounds: Values) -> dict[str, Spread]:
    """Return the spread of each system that appears."""
    names = {name for taken in rounds for name in taken}
    return {name: spread([taken[name] for taken in rounds if name in taken]) for name in names}


def _row(outcome: Outcome, name: str) -> list[str]:
    chunks, asked, speed = (spread_of(read(outcome)).get(name) for read in (chunk_us, request_us, requests_s))
    streams = next((each[name]["paced"].streams for each in outcome.rounds if "paced" in each.get(name, {})), 0)
    to_nginx = ratios(chunk_us(outcome), name, "nginx")
    memory = memory_kib(outcome, name)
    is_direct = name == "direct"
    return [
        name,
        str(streams),
        "" if is_direct else str(chunks),
        str(spread(to_nginx)) if to_nginx and not is_direct else "",
        "" if is_direct else str(asked or ""),
        str(speed or ""),
        _added(outcome, name, "first", lambda taken: taken.first_ms, (0, 2)),
        _added(outcome, name, "paced", lambda taken: [us / 1000 for us in taken.delay_us], (0, 1, 2)),
        _added(outcome, name, "paced", lambda taken: [us / 1000 for us in taken.jitter_us], (0, 1, 2)),
        f"{memory:.0f}" if memory is not None else "",
        ", ".join(f"{count} {verdict}" for verdict, count in faults(outcome, name).items()) or "0",
    ]


def _added(outcome: Outcome, name: str, load: str, read: Callable[[Measured], object], ranks: tuple[int, ...]) -> str:
    if name == "direct":
        return " / ".join(f"({_middle(outcome, load, read, rank):.2f})" for rank in ranks)
    found = [added_ms(outcome, name, load, lambda taken, rank=rank: read(taken)[rank]) for rank in ranks]  # type: ignore
    return " / ".join(f"{each.middle:.2f}" for each in found if each)


def _middle(outcome: Outcome, load: str, read: Callable[[Measured], object], rank: int) -> float:
    taken: list[Mapping[str, float]] = [*values(outcome, load, lambda each: read(each)[rank])]  # type: ignore
    return spread([each["direct"] for each in taken if "direct" in each]).middle
