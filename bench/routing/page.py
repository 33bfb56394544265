"""The routing bench's part of docs/performance.md: its figures beside their bounds, and the tables behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.record import short

BOUNDS: Final = {
    "decision_p99_us_10k": ("<= 200", "<= 50"),
    "decision_growth_100_to_100k": ("<= 4", "<= 2"),
    "heartbeat_us_10k": ("<= 50", "<= 15"),
    "completion_p95_vs_power_of_two": ("<= 0.8", "<= 0.6"),
    "completion_p95_vs_reference": ("<= 1.0", "<= 0.85"),
    "prefix_hits_vs_load_only": (">= 2", ">= 4"),
    "simulated_steps": (">= 1e6", ">= 1e8"),
}
"""What must be reached, and what is aimed at."""


def render(result: Mapping[str, Any]) -> str:
    """Return the section, without its heading."""
    parts = [figures(result["figures"])]
    if "latency" in result:
        parts.append("Wall time of each call, p50 / p99 in microseconds; medians of the rounds.\n")
        parts.append(latency(result["latency"]))
    if "quality" in result:
        parts.append("Completion p95 of the same requests in seconds under each policy, and our ratio to it.\n")
        parts.append(quality(result["quality"]))
    if "conversations" in result:
        parts.append("Conversations, with and without knowing where each was served before.\n")
        parts.append(conversations(result["conversations"]))
    sources = [f"{name} {short(part['commit'])} {part['date'][:16]}" for name, part in result.get("parts", {}).items()]
    parts.append(f"Measured at: {'; '.join(sources)}. [How to read it](../bench/routing/README.md).\n")
    return "\n".join(parts)


def figures(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures with their bounds, those that have one first."""
    lines = ["| key | value | unit | must | goal | peer |", "|---|--:|---|--:|--:|---|"]
    for key in sorted(found, key=lambda key: ([*BOUNDS].index(key) if key in BOUNDS else len(BOUNDS), key)):
        figure, (must, goal) = found[key], BOUNDS.get(key, ("", ""))
        lines.append(
            f"| `{key}` | {figure['value']:,.4g} | {figure['unit']} | {must} | {goal} | {figure['peer'] or ''} |"
        )
    return "\n".join(lines) + "\n"


def latency(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the costs of the calls by size of the fleet."""
    lines = ["| fleet | decision | take | release | heartbeat | assigned |", "|---|--:|--:|--:|--:|--:|"]
    for label, taken in found.items():
        cells = [
            f"{taken[f'{name}_p50_us']:.1f} / {taken[f'{name}_p99_us']:.1f}"
            for name in ("decide", "take", "release", "heartbeat")
        ]
        lines.append(f"| {label} | {' | '.join(cells)} | {taken['assigned']:.0%} |")
    return "\n".join(lines) + "\n"


def quality(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return completion times by trace and policy."""
    policies = list(dict.fromkeys(policy for each in found.values() for policy in each))
    lines = [f"| trace | {' | '.join(policies)} |", "|---" + "|--:" * len(policies) + "|"]
    for label, each in found.items():
        ours = each[policies[0]]["p95_s"]
        cells = [_cell(each[policy], ours, is_ours=policy == policies[0]) for policy in policies]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def conversations(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return hits and times of both memories."""
    lines = ["| router | kept prefix tokens hit | of all prompt tokens | completion p95 s | first token p95 s |"]
    lines.append("|---|--:|--:|--:|--:|")
    for name, each in found.items():
        times = f"{each['p95_s']:.1f} | {each['ttft_p95_s']:.2f}"
        lines.append(f"| {name} | {each['hit_of_prefix']:.1%} | {each['hit_of_prompt']:.1%} | {times} |")
    return "\n".join(lines) + "\n"


def _cell(taken: Mapping[str, float], ours: float, *, is_ours: bool) -> str:
    refused = f", {taken['refused']:.1%} refused" if taken["refused"] else ""
    if is_ours:
        return f"**{taken['p95_s']:.1f}**{refused}"
    return f"{taken['p95_s']:.1f} ({ours / max(taken['p95_s'], 1e-9):.2f}){refused}"
