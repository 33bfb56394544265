"""The relay's part of docs/performance.md: its figures beside their bounds, the systems, the picture, and where each part is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.record import short
from bench.relay.report import table

BOUNDS: Final = {
    "chunk_cpu_standard_vs_nginx": ("<= 1.6", "<= 1.2"),
    "chunk_cpu_sealed_vs_nginx": ("<= 1.4", "<= 1.05"),
    "chunk_cpu_standard_vs_sglang_router": ("< 1", "<= 0.7"),
    "chunk_cpu_standard_vs_vllm_router": ("< 1", "<= 0.7"),
    "chunk_cpu_standard_vs_litellm": ("<= 0.05", "<= 0.025"),
    "added_ttft_p99_ms": ("<= 2.5", "<= 0.7"),
    "request_cpu_us": ("<= 400", "<= 200"),
    "links_1000_lost_chunks": ("0", "0"),
    "links_1000_ttft_p95_ms": ("<= 50", "<= 10"),
    "links_1000_rss_mib": ("<= 300", "<= 174"),
    "soak_growth_mib": ("< 5", "0"),
    "cancel_p99_ms": ("<= 100", "<= 20"),
}
"""What must be reached, and what is aimed at."""


def render(result: Mapping[str, Any]) -> str:
    """Return the section, without its heading."""
    parts = [_figures(result["figures"])]
    if "systems" in result:
        load = result["load"]
        parts.append(
            f"The same load through each system: {load['streams']} streams of {load['rate']:g} chunks of {load['bytes']} bytes a second, "
            "processor time of the whole process tree; median (lowest-highest) of the rounds; latencies p50 / p95 / p99, "
            "as added to the provider asked directly (in brackets).\n"
        )
        parts.append(table(result["systems"], result.get("absent", {})) + "\n")
        parts.append("![CPU of a chunk and added first token](../bench/results/relay.svg)\n")
    sources = [f"{name} {short(part['commit'])} {part['date'][:16]}" for name, part in result.get("parts", {}).items()]
    parts.append(f"Measured at: {'; '.join(sources)}. [How to read it](../bench/relay/README.md).\n")
    return "\n".join(parts)


def _figures(figures: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| key | value | unit | must | goal | peer |", "|---|--:|---|--:|--:|---|"]
    for key in sorted(figures, key=lambda key: ([*BOUNDS].index(key) if key in BOUNDS else len(BOUNDS), key)):
        figure, (must, goal) = figures[key], BOUNDS.get(key, ("", ""))
        lines.append(
            f"| `{key}` | {figure['value']:,.4g} | {figure['unit']} | {must} | {goal} | {figure['peer'] or ''} |"
        )
    return "\n".join(lines) + "\n"
