"""What a run says about each system, and the figures that are held to a bound.

Every ratio and every difference is taken inside one round, where all systems met the same machine; then the median.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from bench.record import Figure
from bench.relay.client import Measured
from bench.relay.rounds import Outcome
from bench.relay.spread import differences, ratios, spread

Read = Callable[[Measured], float]
Rounds = list[dict[str, float]]
PACE_MIN: Final = 0.98
"""Below this share of the chunks that were due, a system did not keep up, and what it cost says little."""
PEERS: Final = {
    "chunk_cpu_standard_vs_nginx": ("hushnet_standard", "nginx"),
    "chunk_cpu_sealed_vs_nginx": ("hushnet_sealed", "nginx"),
    "chunk_cpu_standard_vs_sglang_router": ("hushnet_standard", "sglang_router"),
    "chunk_cpu_standard_vs_vllm_router": ("hushnet_standard", "vllm_router"),
    "chunk_cpu_standard_vs_litellm": ("hushnet_standard", "litellm"),
}


def values(outcome: Outcome, load: str, read: Read) -> Rounds:
    """Return what `read` gives for each system in each round that had `load`."""
    return [{name: read(taken[load]) for name, taken in each.items() if load in taken} for each in outcome.rounds]


def chunk_us(taken: Measured) -> float:
    """Processor microseconds of the measured tree for each chunk or request."""
    return taken.cpu_each_us("system")


def figures(outcome: Outcome) -> dict[str, Figure]:
    """Return the ratios of the goal, as `value` and as `ratio`, and what the load generator can do."""
    rounds = values(outcome, "paced", chunk_us)
    found: dict[str, Figure] = {}
    for key, (over, under) in PEERS.items():
        if taken := ratios(rounds, over, under):
            middle = round(spread(taken).middle, 4)
            found[key] = Figure(middle, "times", under, middle)
    if outcome.limit:
        limit = outcome.limit
        found["load_generator_chunks_per_s"] = Figure(round(limit.units / limit.window_s), "1/s")
        found["load_generator_client_us"] = Figure(round(limit.cpu_each_us("client"), 2), "us a chunk")
    return found


def systems(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return what is known of each system, cheapest chunk first; triples are median, lowest, highest of the rounds."""
    names = {name for each in outcome.rounds for name in each}
    found = {name: _system(outcome, name) for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1].get("chunk_us", (0.0,))[0]))


def _system(outcome: Outcome, name: str) -> dict[str, Any]:
    loads = [taken for each in outcome.rounds for taken in each.get(name, {}).values()]
    faults: Counter[str] = Counter()
    for taken in loads:
        faults.update({verdict: count for verdict, count in taken.verdicts.items() if verdict != "whole"})
    about: dict[str, Any] = {"version": outcome.versions.get(name, ""), "faults": dict(faults)}
    about["answers"] = sum(sum(taken.verdicts.values()) for taken in loads)
    about |= _paced(outcome, name) | _requests(outcome, name) | _latencies(outcome, name)
    if held := outcome.memory.get(name):
        grown_mib = held.rss_mib["system"] - held.rss_before_mib["system"]
        about["kib_a_stream"] = round(grown_mib * 1024 / held.streams, 1)
        about["rss_mib"] = round(held.rss_before_mib["system"], 1)
    return about


def _paced(outcome: Outcome, name: str) -> dict[str, Any]:
    mine = [each[name]["paced"] for each in outcome.rounds if "paced" in each.get(name, {})]
    if not mine:
        return {}
    about: dict[str, Any] = {
        "streams": mine[0].streams,
        "client_us": _triple([each.cpu_each_us("client") for each in mine]),
    }
    about["pace"] = round(min(each.units / (each.window_s * each.streams * outcome.rate) for each in mine), 3)
    if name != "direct":
        about["chunk_us"] = _triple([chunk_us(each) for each in mine])
        about["chunk_us_vs_nginx"] = _triple(ratios(values(outcome, "paced", chunk_us), name, "nginx"))
    return about


def _requests(outcome: Outcome, name: str) -> dict[str, Any]:
    mine = [each[name]["requests"] for each in outcome.rounds if "requests" in each.get(name, {})]
    if not mine:
        return {}
    about = {"askers": mine[0].streams, "requests_per_s": _triple([each.units / each.window_s for each in mine])}
    return about if name == "direct" else about | {"request_us": _triple([chunk_us(each) for each in mine])}


def _latencies(outcome: Outcome, name: str) -> dict[str, Any]:
    """First token, delay of a chunk and its change from chunk to chunk at p50, p95, p99 in ms: added ones but for `direct`."""
    about: dict[str, Any] = {}
    for what, load, read in (
        ("first_token_ms", "first", lambda taken: taken.first_ms),
        ("delay_ms", "paced", lambda taken: [us / 1000 for us in taken.delay_us]),
        ("jitter_ms", "paced", lambda taken: [us / 1000 for us in taken.jitter_us]),
    ):
        ranks = [values(outcome, load, lambda taken, r=rank, read=read: read(taken)[r]) for rank in range(3)]  # type: ignore[misc]
        if name == "direct":
            taken = [[each[name] for each in rounds if name in each] for rounds in ranks]
        else:
            taken = [differences(rounds, name, "direct") for rounds in ranks]
        if all(taken):
            about[what if name == "direct" else f"added_{what}"] = [round(spread(each).middle, 3) for each in taken]
    return about


def _triple(taken: Sequence[float]) -> list[float]:
    if not taken:
        return []
    found = spread(taken)
    return [float(f"{value:.4g}") for value in (found.middle, found.low, found.high)]


_COLUMNS: Final = (
    "system",
    "streams",
    "us a chunk",
    "times nginx",
    "us a request",
    "requests/s",
    "added first token, ms",
    "added delay, ms",
    "added jitter, ms",
    "KiB a stream",
    "not whole",
)


def table(found: dict[str, dict[str, Any]], absent: dict[str, str]) -> str:
    """Return the systems as a table in Markdown, and why others are not in it."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---|" + "--:|" * (len(_COLUMNS) - 1)]
    lines += [f"| {' | '.join(_row(name, about))} |" for name, about in found.items()]
    lines += [f"\n`{name}` was left out: {reason}" for name, reason in absent.items()]
    return "\n".join(lines)


def _row(name: str, about: dict[str, Any]) -> list[str]:
    kept = "" if about.get("pace", 1.0) >= PACE_MIN else f" (kept {about['pace']:.0%} of the pace)"
    return [
        f"{name} {about['version']}".strip() + kept,
        str(about.get("streams", "")),
        _spread(about.get("chunk_us")),
        _spread(about.get("chunk_us_vs_nginx")),
        _spread(about.get("request_us")),
        _spread(about.get("requests_per_s")),
        *(_ranks(about, what) for what in ("first_token_ms", "delay_ms", "jitter_ms")),
        f"{about['kib_a_stream']:.0f}" if "kib_a_stream" in about else "",
        ", ".join(f"{count} {verdict}" for verdict, count in about["faults"].items()) or "0",
    ]


def _spread(taken: Sequence[float] | None) -> str:
    return "{} ({}-{})".format(*(_number(value) for value in taken)) if taken else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ranks(about: dict[str, Any], what: str) -> str:
    if added := about.get(f"added_{what}"):
        return " / ".join(f"{value:.2f}" for value in added)
    return "(" + " / ".join(f"{value:.2f}" for value in about[what]) + ")" if what in about else ""
