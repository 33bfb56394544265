"""Resident memory of the coordinator under load over many minutes: paced streams, requests, hang-ups, again and again.

`python -m bench.relay.soak [--minutes 15] [--warm-up 8] [--streams 400]`. A cycle is half a minute of paced streams,
standard and sealed in turn, requests without streaming, then hang-ups in every phase; memory, open files and threads are
read at the same point of every cycle. Growth is the line fitted through the cycles after the warm-up, from its first
point to its last, so that one reading decides nothing; the plain difference stands beside it. The warm-up is longer than
the seven minutes for which ids of sealed envelopes are remembered.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import uvloop

from bench.record import Figure
from bench.relay.cancel import PHASES, hang_ups
from bench.relay.client import Load, Order, run
from bench.relay.consumers import Target
from bench.relay.network import HushnetNetwork
from bench.relay.processes import PROC, rss_mib, tree
from bench.relay.rounds import turn

WINDOW_S: Final = 20.0
REQUESTS_S: Final = 4.0
HANG_UPS: Final = 8
"""Of each phase in each mode, in each cycle."""
QUIET_S: Final = 2.0
"""After the last request of a cycle, before memory is read: what is settling is not growth."""
_RUNNING: Final = re.compile(r"^hush_requests_running (\d+)", re.MULTILINE)


class Reading(msgspec.Struct, frozen=True):
    """The coordinator after one cycle: `at_s` since the first, and how many streams and requests it had served by then."""

    at_s: float
    rss_mib: float
    files: int
    threads: int
    running: int
    served: int


def growth(readings: Sequence[Reading]) -> tuple[float, float]:
    """Return growth in MiB over `readings`: of the fitted line, and last minus first; zeros below two readings."""
    if len(readings) < 2:
        return 0.0, 0.0
    times = [each.at_s for each in readings]
    values = [each.rss_mib for each in readings]
    middle, level = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    slope = sum((at - middle) * (value - level) for at, value in zip(times, values, strict=True)) / spread
    return slope * (times[-1] - times[0]), values[-1] - values[0]


def read(network: HushnetNetwork, *, since_s: float, served: int) -> Reading:
    """Read the process tree of the coordinator."""
    pids = tree([network.coordinator_pid])
    running = _RUNNING.search(network.metrics())
    return Reading(
        at_s=time.monotonic() - since_s,
        rss_mib=rss_mib([network.coordinator_pid]),
        files=sum(len(list((PROC / str(pid) / "fd").iterdir())) for pid in pids),
        threads=sum(len(list((PROC / str(pid) / "task").iterdir())) for pid in pids),
        running=int(running[1]) if running else 0,
        served=served,
    )


def cycle(network: HushnetNetwork, streams: int) -> int:
    """Run one cycle; return the requests served. Raises `RuntimeError` when one was not answered whole."""
    plain = Target(network.base_url, network.api_key)
    sealed = Target(network.base_url, network.api_key, sealed=True, network=network.network)
    served = 0
    for target in (plain, sealed):
        for load in (
            Load(streams=streams, window_s=WINDOW_S / 2),
            Load(kind="requests", streams=16, window_s=REQUESTS_S),
        ):
            with turn():
                taken = run(Order(target, load))
            if taken.faults:
                raise RuntimeError(f"the load broke: {taken.verdicts} {taken.failures}")
            served += sum(taken.verdicts.values())
    uvloop.run(hang_ups({"standard": plain, "sealed": sealed}, HANG_UPS))
    return served + 2 * HANG_UPS * len(PHASES)


def figures(readings: Sequence[Reading], minutes: float) -> dict[str, Figure]:
    """Return the growth after the warm-up, and what a leak would show in."""
    fitted, difference = growth(readings)
    first, last = readings[0], readings[-1]
    return {
        "soak_growth_mib": Figure(round(fitted, 2), "MiB", None, None),
        "soak_difference_mib": Figure(round(difference, 2), "MiB", None, None),
        "soak_minutes": Figure(round(minutes, 1), "minutes", None, None),
        "soak_served": Figure(last.served - first.served, "requests", None, None),
        "soak_rss_mib": Figure(round(last.rss_mib, 1), "MiB", None, None),
        "soak_files_growth": Figure(last.files - first.files, "open files", None, None),
        "soak_running_left": Figure(last.running, "requests", None, None),
    }


def measure(
    *, minutes: float = 15.0, warm_up: float = 8.0, streams: int = 400, settings: dict[str, str] | None = None
) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Run cycles for the warm-up and `minutes` more; return figures and every reading, the warm-up's too."""
    readings: list[Reading] = []
    with HushnetNetwork(settings=settings or {}) as network:
        started_s, served = time.monotonic(), 0
        while (at_s := time.monotonic() - started_s) < (warm_up + minutes) * 60 or len(readings) < 2:
            served += cycle(network, streams)
            time.sleep(QUIET_S)
            readings.append(read(network, since_s=started_s, served=served))
            print(f"{at_s / 60:5.1f} min: {msgspec.to_builtins(readings[-1])}", file=sys.stderr, flush=True)
        if findings := network.check_books():
            raise RuntimeError(f"the books do not balance: {findings[:3]}")
    warm = [each for each in readings if each.at_s >= warm_up * 60]
    raw = [{**msgspec.to_builtins(each), "is_warm": each in warm} for each in readings]
    return figures(warm, (warm[-1].at_s - warm[0].at_s) / 60), raw


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay.soak", description="Does the coordinator grow?")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--warm-up", type=float, default=8.0)
    parser.add_argument("--streams", type=int, default=400)
    options = parser.parse_args()
    found, _ = measure(minutes=options.minutes, warm_up=options.warm_up, streams=options.streams)
    for key, figure in found.items():
        print(f"{key}: {figure.value} {figure.unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
