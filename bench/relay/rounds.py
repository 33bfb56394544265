"""Rounds: all systems run side by side, and in each round every one gets the same loads, in an order shuffled anew.

Only one system is loaded at a time; the others wait for requests meanwhile. What can't be had is left out, with its
reason. With `HUSH_BENCH_LOCK` naming a file, each round holds a lock on it, so that benches of one machine take turns.
"""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from bench.record import ROOT
from bench.relay.client import Load, Measured, Order, run
from bench.relay.environments import UnavailableError
from bench.relay.processes import stop
from bench.relay.stopping import held
from bench.relay.systems import SYSTEMS, System

LOADS: Final = ("paced", "requests", "first")
HELD_STREAMS: Final = 500
"""Slow streams that are open while memory is read, times the share of streams that the system is given."""
OVERLOAD_RATE: Final = 400.0
"""Chunks a second of each of 400 streams: more than the load generator can take, which shows its limit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. A whole run also reads memory under load, and finds the load generator's own limit."""

    systems: Sequence[str] = tuple(SYSTEMS)
    rounds: int = 5
    window_s: float = 10.0
    streams: int = 400
    rate: float = 40.0
    loads: Sequence[str] = LOADS
    settle_s: float = 1.0
    is_whole: bool = True


@dataclass(slots=True)
class Outcome:
    """What a run gave: `rounds` maps system to load to what was measured; `absent` says why a system is not there."""

    rate: float
    rounds: list[dict[str, dict[str, Measured]]] = field(default_factory=list)
    memory: dict[str, Measured] = field(default_factory=dict)
    limit: Measured | None = None
    absent: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def raw(self) -> list[dict[str, Any]]:
        """Return everything that was measured as plain values, a round an entry."""
        return [msgspec.to_builtins(taken) for taken in self.rounds]


def measure(plan: Plan) -> Outcome:
    """Start the systems, run the rounds, stop everything."""
    outcome = Outcome(plan.rate)
    with ExitStack() as stack:
        upstream_url, upstream_pid = stack.enter_context(upstream())
        running = _all_started(plan, upstream_url, outcome, stack)
        bench = _Bench(plan, upstream_pid, running)
        with turn():
            outcome.memory = bench.warm_up()
        for number in range(plan.rounds):
            with turn():
                print(f"round {number + 1} of {plan.rounds}", flush=True)
                outcome.rounds.append(bench.round())
        if plan.is_whole and (direct := [system for system in running if system.name == "direct"]):
            with turn():
                outcome.limit = bench.load(direct[0], Load(rate=OVERLOAD_RATE, window_s=4.0))
    return outcome


@dataclass(slots=True)
class _Bench:
    plan: Plan
    upstream_pid: int
    running: list[System]

    def warm_up(self) -> dict[str, Measured]:
        """Ask every system for a few answers; in a whole run also hold many streams open, and return what they cost."""
        held: dict[str, Measured] = {}
        for system in self.running:
            self.load(system, Load(kind="first", count=50))
            if self.plan.is_whole and system.roots:
                held[system.name] = self.load(system, self.held(system))
        return held

    def round(self) -> dict[str, dict[str, Measured]]:
        """Give every system its loads, in a new order."""
        taken: dict[str, dict[str, Measured]] = {}
        for system in random.sample(self.running, len(self.running)):
            taken[system.name] = {kind: self.load(system, self._load_of(system, kind)) for kind in self.plan.loads}
            print(f"  {system.name}: {summary(taken[system.name])}", flush=True)
        return taken

    def load(self, system: System, load: Load) -> Measured:
        """Put one load on a system."""
        trees = {"system": system.roots, "upstream": [self.upstream_pid]}
        return run(Order(system.target, load, {name: roots for name, roots in trees.items() if roots}))

    def held(self, system: System) -> Load:
        """Return many slow streams, to see what one costs in memory."""
        streams = max(1, HELD_STREAMS * system.streams // 400)
        return Load(streams=streams, rate=1.0, window_s=2.0, ramp_s=2.0)

    def _load_of(self, system: System, kind: str) -> Load:
        plan = self.plan
        if kind == "first":
            return Load(kind=kind)
        shared = Load(kind=kind, rate=plan.rate, ramp_s=plan.settle_s, settle_s=plan.settle_s)
        if kind == "requests":
            return replace(shared, streams=system.askers, window_s=plan.window_s / 3)
        return replace(shared, streams=min(plan.streams, system.streams), window_s=plan.window_s)


def _all_started(plan: Plan, upstream_url: str, outcome: Outcome, stack: ExitStack) -> list[System]:
    """Start every system that can be had; `stack` stops each, also one that a signal met half started."""
    running: list[System] = []
    for name in plan.systems:
        system = SYSTEMS[name]()
        stack.callback(system.stop)
        if _is_started(system, upstream_url, outcome):
            running.append(system)
    return running


def _is_started(system: System, upstream_url: str, outcome: Outcome) -> bool:
    """Install and start a system; note why when that can't be done."""
    print(f"{system.name} ...", flush=True)
    try:
        system.install()
        system.start(upstream_url)
    except (UnavailableError, RuntimeError, OSError) as error:
        system.stop()
        outcome.absent[system.name] = str(error)
        print(f"  left out: {error}", flush=True)
        return False
    outcome.versions[system.name] = system.version
    return True


def summary(taken: dict[str, Measured]) -> str:
    """Say in one line what a system's loads gave."""
    parts = []
    if paced := taken.get("paced"):
        parts.append(f"{paced.cpu_each_us('system'):.1f} us a chunk, delay p99 {paced.delay_us[2] / 1000:.2f} ms")
    if asked := taken.get("requests"):
        parts.append(f"{asked.units / asked.window_s:.0f} requests/s at {asked.cpu_each_us('system'):.0f} us")
    if first := taken.get("first"):
        parts.append(f"first token p50 {first.first_ms[0]:.2f} ms")
    faults = {name: count for each in taken.values() for name, count in each.verdicts.items() if name != "whole"}
    return ", ".join([*parts, *([str(faults)] if faults else [])])


@contextmanager
def upstream() -> Iterator[tuple[str, int]]:
    """Run the synthetic provider; gives its address and process id."""
    command = [sys.executable, "-m", "bench.relay.upstream"]
    with ExitStack() as stack:
        with held():
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            stack.callback(_end_upstream, process)
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid


def _end_upstream(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    assert process.stdout
    with held():
        process.stdin.close()
        process.stdout.close()
        stop(process)


@contextmanager
def turn() -> Iterator[None]:
    """Hold the machine's bench lock where there is one."""
    path = os.environ.get("HUSH_BENCH_LOCK")
    if not path:
        yield
        return
    with Path(path).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


__all__ = ["LOADS", "Outcome", "Plan", "measure", "turn", "upstream"]
