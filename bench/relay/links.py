"""A thousand providers, each on a link of its own, and a thousand paced streams, through one coordinator process.

Every provider has one slot, so that every link carries one stream. Streams open over a ramp while those before them run:
first tokens are measured under the load. Providers dial a few at a time, as the listener asks of one address.
Absolute times, providers and consumers on the same cores included.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import msgspec

from bench.record import Figure
from bench.relay.client import Load, Measured, Order, run
from bench.relay.consumers import Target
from bench.relay.network import HushnetNetwork
from bench.relay.rounds import turn

LINKS: Final = 1000
RATE: Final = 16.0
"""Chunks a second of each stream: 16,000 in all, as many as 400 streams of 40."""
RAMP_S: Final = 10.0
WINDOW_S: Final = 20.0
REFERENCE_P95_MS: Final = 478.0
REFERENCE_MIB: Final = 174.0
"""What the reference system published for a thousand synthetic providers."""
REFERENCE: Final = "the reference system's published run"


def figures(taken: Measured, resident_mib: float) -> dict[str, Figure]:
    """Return the figures of one run; `lost_chunks` counts every stream with a chunk lost, reordered, doubled or missing."""
    p50, p95, p99 = taken.first_ms
    peak_mib = max(resident_mib, taken.rss_mib["coordinator"])
    return {
        "links_1000_lost_chunks": Figure(taken.faults, "streams", None, None),
        "links_1000_ttft_p50_ms": Figure(round(p50, 2), "ms", REFERENCE, round(p50 / 45, 4)),
        "links_1000_ttft_p95_ms": Figure(round(p95, 2), "ms", REFERENCE, round(p95 / REFERENCE_P95_MS, 4)),
        "links_1000_ttft_p99_ms": Figure(round(p99, 2), "ms", None, None),
        "links_1000_rss_mib": Figure(round(peak_mib, 1), "MiB", REFERENCE, round(peak_mib / REFERENCE_MIB, 3)),
        "links_1000_chunk_cpu_us": Figure(round(taken.cpu_each_us("coordinator"), 1), "us", None, None),
        "links_1000_delay_p99_ms": Figure(round(taken.delay_us[2] / 1000, 2), "ms", None, None),
    }


def measure(
    *, links: int = LINKS, rounds: int = 1, window_s: float = WINDOW_S
) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Run on a network of its own; return the figures of the worst round and every round as it was."""
    taken: list[Measured] = []
    with HushnetNetwork(links=links, slots=1, provider_processes=2) as network:
        trees = {"coordinator": [network.coordinator_pid], "providers": network.provider_pids}
        target = Target(network.base_url, network.api_key)
        load = Load(streams=links, rate=RATE, window_s=window_s, ramp_s=RAMP_S)
        for _ in range(rounds):
            with turn():
                taken.append(run(Order(target, load, trees)))
    worst = max(taken, key=lambda each: (each.faults, each.first_ms[1]))
    resident_mib = max(each.rss_mib["coordinator"] for each in taken)
    return figures(worst, resident_mib), [msgspec.to_builtins(each) for each in taken]


def main() -> int:
    """Measure and print."""
    found, rounds = measure()
    for key, figure in found.items():
        print(f"{key}: {figure.value} {figure.unit}")
    print({name: rounds[-1][name] for name in ("verdicts", "failures", "cpu_us", "rss_before_mib", "first_ms")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
