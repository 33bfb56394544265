"""`make profile-relay`: put the paced load on one coordinator, sample it, and print what each stage costs a chunk.

The load runs twice. The first gives processor time a chunk by /proc, with no profiler near; the second the shares, which
split it. The table says both, and its rows add up to the first. Options: `python -m bench.relay.profile --help`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.record import ROOT, machine, stamp
from bench.relay.arguments import count, quantity
from bench.relay.client import Load, Measured, Order, outcome, started
from bench.relay.consumers import Target
from bench.relay.network import HushnetNetwork
from bench.relay.processes import user_and_kernel_us
from bench.relay.profile import flames, stacks, stages
from bench.relay.profile.sampling import LET_TRACE, RATE, sample
from bench.relay.rounds import turn
from bench.relay.stopping import stoppable

OUT: Final = ROOT / ".bench" / "profile"
SETTLE_S: Final = 1.0
START_S_MAX: Final = 60.0
SAMPLES_MIN: Final = 400
"""A stage with a tenth of so many samples is off by a sixth of itself, by chance alone (1/sqrt(40))."""
METHOD: Final = (
    "Processor time is read from /proc over a window without profiler. Stages share its kernel part in proportion to "
    "py-spy's samples in system calls, its user part to the other samples of threads at work."
)


@dataclass(frozen=True, slots=True)
class Options:
    """What to profile, and for how many seconds."""

    mode: str
    streams: int
    rate: float
    seconds: int
    links: int

    @property
    def load(self) -> Load:
        """Return the load, whose window outlasts what is done inside it."""
        return Load(streams=self.streams, rate=self.rate, window_s=self.seconds + 2.0, settle_s=2 * SETTLE_S)


class Profile:
    """One coordinator with its providers, and the loads on it."""

    def __init__(self, options: Options, network: HushnetNetwork) -> None:
        self._options, self._network = options, network
        is_sealed = options.mode == "sealed"
        self._target = Target(
            network.base_url, network.api_key, sealed=is_sealed, network=network.network if is_sealed else ""
        )

    def cost(self) -> tuple[Measured, float]:
        """Return what the load costs, and the kernel's share of it."""
        spent: list[float] = []

        def watch() -> None:
            before = user_and_kernel_us([self._network.coordinator_pid])
            time.sleep(self._options.seconds)
            after = user_and_kernel_us([self._network.coordinator_pid])
            spent.extend(late - early for late, early in zip(after, before, strict=True))

        measured = self._under_load(watch)
        return measured, spent[1] / sum(spent)

    def samples(self, raw: Path) -> tuple[Measured, Counter[stacks.Stack]]:
        """Return what the load costs under the profiler, and the stacks that were seen."""
        measured = self._under_load(lambda: sample(self._network.coordinator_pid, self._options.seconds, raw))
        with raw.open() as lines:
            return measured, stacks.read(lines)

    def _under_load(self, do: Callable[[], None]) -> Measured:
        """Run the load, and `do` once all its streams run; raises `RuntimeError` when an answer was not whole."""
        order = Order(self._target, self._options.load, {"coordinator": [self._network.coordinator_pid]})
        with started(order) as client:
            until = time.monotonic() + START_S_MAX
            while client.poll() is None and self._streams() < self._options.streams:
                if time.monotonic() > until:
                    raise RuntimeError(f"only {self._streams():.0f} streams run after {START_S_MAX:.0f} s")
                time.sleep(0.1)
            time.sleep(SETTLE_S)
            do()
            measured = outcome(client)
        if measured.faults:
            raise RuntimeError(f"{measured.faults} answers were not whole: {measured.verdicts}")
        return measured

    def _streams(self) -> float:
        found = re.search(r"^hush_requests_running (\S+)$", self._network.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0


def profile(options: Options) -> tuple[list[stages.Row], dict[str, Any]]:
    """Run both loads, write the stacks and the picture; return the table, and it with all else that was found."""
    slots = -(-2 * options.streams // options.links)
    OUT.mkdir(parents=True, exist_ok=True)
    raw = OUT / f"{options.mode}.raw"
    print(f"starting the network: {options.links} links ...", flush=True)
    with turn(), HushnetNetwork(links=options.links, slots=slots, prefix=LET_TRACE) as network:
        made = Profile(options, network)
        print(f"load without profiler: {options.seconds} s of {_load(options)} ...", flush=True)
        cost, kernel = made.cost()
        print(f"load under the profiler: {options.seconds} s, {RATE} samples a second ...", flush=True)
        sampled, seen = made.samples(raw)
    raw.unlink()
    at_work, chunk_us = stacks.busy(seen), cost.cpu_each_us("coordinator")
    parts = {"user_us": chunk_us * (1 - kernel), "kernel_us": chunk_us * kernel}
    rows = stages.table(at_work, **parts)
    _draw(options, at_work, chunk_us)
    counts = {"samples": at_work.total(), "samples_waiting": seen.total() - at_work.total(), "samples_a_second": RATE}
    return rows, {
        **stamp(),
        "machine": machine(),
        **asdict(options),
        "chunk_us": chunk_us,
        **parts,
        "sampled_chunk_us": sampled.cpu_each_us("coordinator"),
        **counts,
        "stages": [{**row._asdict(), "us": row.us} for row in rows],
        "method": METHOD,
    }


def _draw(options: Options, samples: Counter[stacks.Stack], chunk_us: float) -> None:
    title = f"{options.mode}: {chunk_us:.1f} us of the processor a chunk, {_load(options)}"
    (OUT / f"{options.mode}.collapsed").write_text(stacks.collapsed(samples))
    (OUT / f"{options.mode}.svg").write_text(flames.draw(samples, title))


def _load(options: Options) -> str:
    return f"{options.streams} streams x {options.rate:g}/s"


def show(rows: list[stages.Row], found: dict[str, Any]) -> None:
    """Print the table and where the rest lies."""
    load = f"{found['streams']} streams x {found['rate']:g}/s over {found['links']} links"
    print(f"\n{found['mode']}, {load}, {found['samples']} samples ({found['samples_waiting']} of waiting left out)")
    print("\n".join(stages.lines(rows)))
    if found["samples"] < SAMPLES_MIN:
        longer = f"take more with --seconds (it was {found['seconds']})"
        print(f"WARNING: {found['samples']} samples are few, rows are off by chance below {SAMPLES_MIN}: {longer}")
    parts = f"user {found['user_us']:.2f} + kernel {found['kernel_us']:.2f}"
    print(f"CPU a chunk: {found['chunk_us']:.2f} us = {parts}; while sampled {found['sampled_chunk_us']:.2f} us")
    print(f"{METHOD}\nwritten: {OUT.relative_to(ROOT)}/{found['mode']}.{{svg,collapsed,json}}", flush=True)


def main() -> int:
    """Profile what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay.profile", description="What each stage costs a chunk.")
    shown = " (default: %(default)s)"
    parser.add_argument("--mode", choices=("standard", "sealed"), default="standard", help="of the clients" + shown)
    parser.add_argument("--streams", type=count, default=400, help="paced streams at a time" + shown)
    parser.add_argument("--rate", type=quantity, default=40.0, help="chunks a second of each stream" + shown)
    parser.add_argument("--seconds", type=count, default=15, help="how long to sample" + shown)
    parser.add_argument("--links", type=count, default=16, help="provider links of all streams together" + shown)
    options = Options(**vars(parser.parse_args()))
    try:
        with stoppable(lambda: "stopped before there was a table"):
            rows, found = profile(options)
    except (RuntimeError, ValueError) as error:
        print(f"profile-relay: {error}", file=sys.stderr)
        return 1
    (OUT / f"{options.mode}.json").write_text(json.dumps(found, indent=1) + "\n")
    show(rows, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
