"""From a consumer's hang-up to the provider's cancel, in every phase and both modes, under the paced load.

Phases: `before_headers` (at most 12 ms after the request was sent), `before_content` (the provider works, nothing has been
shown), `mid_stream` (chunks flow), `non_stream` (a whole answer is awaited). One monotonic clock serves all processes of
a machine: the time is that between the consumer's close and the cancel in the provider's link. A request that was hung up
on before any provider had it is counted apart: there is nothing to stop.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from bench.record import Figure
from bench.relay.client import Load, Measured, Order, run
from bench.relay.consumers import Connection, Sealer, Target
from bench.relay.instructions import Instructions
from bench.relay.network import HushnetNetwork
from bench.relay.rounds import turn
from bench.relay.spread import percentiles

HANG_UPS: Final = 100
"""Of each phase in each mode."""
PACE_S: Final = 0.05
"""Between two hang-ups, 20 a second: they come beside the load, not instead of it."""
LONG: Final = 1_000_000
NOTED_S_MAX: Final = 5.0
PROMISE_MS: Final = 100.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What is asked for, and when the consumer hangs up: so long after the request, once so many bytes have come."""

    instructions: Instructions
    stream: bool = True
    wait_s: tuple[float, float] = (0.0, 0.0)
    body_bytes: int = 0


PHASES: Final = {
    "before_headers": Phase(Instructions(chunks=LONG, delay_ms=60_000), wait_s=(0.0, 0.012)),
    "before_content": Phase(Instructions(chunks=LONG, delay_ms=60_000, head=True), wait_s=(0.1, 0.3)),
    "mid_stream": Phase(Instructions(chunks=LONG, rate=40.0), body_bytes=1000),
    "non_stream": Phase(Instructions(chunks=1000, delay_ms=60_000), stream=False, wait_s=(0.1, 0.3)),
}


async def hang_up(phase: Phase, tag: str, *, target: Target, sealer: Sealer | None) -> int:
    """Ask, wait for the phase, close the connection; return the moment of the close in nanoseconds."""
    asked = Instructions(**{name: getattr(phase.instructions, name) for name in _MEMBERS}, tag=tag)
    headers, body = {"Content-Type": "application/json"}, asked.chat(stream=phase.stream, model=target.model)
    if sealer is not None:
        exchange = sealer.exchange(body)
        headers, body = exchange.headers, exchange.envelope
    connection = await Connection.open(target)
    has_come = asyncio.Event()
    left = phase.body_bytes

    def count(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left <= 0:
            has_come.set()

    connection.on_body = count
    connection.on_end = has_come.set
    connection.send(target.head(headers, body))
    await asyncio.sleep(random.uniform(*phase.wait_s))
    if phase.body_bytes:
        await asyncio.wait_for(has_come.wait(), NOTED_S_MAX)
    elif has_come.is_set():
        raise RuntimeError(f"{tag} was answered with {connection.reader.status} before its consumer hung up")
    closed_ns = time.monotonic_ns()
    connection.close()
    return closed_ns


_MEMBERS: Final = ("chunks", "rate", "bytes", "delay_ms", "head")


async def hang_ups(targets: dict[str, Target], count: int) -> dict[str, int]:
    """Hang up `count` times in each phase and mode, shuffled; return the moments of the closes by tag."""
    sealers = {mode: await Sealer.of(target) for mode, target in targets.items()}
    wanted = [(mode, phase, number) for mode in targets for phase in PHASES for number in range(count)]
    running: dict[str, asyncio.Task[int]] = {}
    async with asyncio.TaskGroup() as group:
        for mode, phase, number in random.sample(wanted, len(wanted)):
            tag = f"{mode}.{phase}.{number}"
            working = hang_up(PHASES[phase], tag, target=targets[mode], sealer=sealers[mode])
            running[tag] = group.create_task(working)
            await asyncio.sleep(PACE_S)
    return {tag: task.result() for tag, task in running.items()}


def match(closed: dict[str, int], reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join hang-ups with what providers noted: one entry each, `ms` None where no provider ever had the request."""
    noted = {entry["tag"]: entry for entry in reports}
    found = []
    for tag, closed_ns in closed.items():
        mode, phase, _ = tag.split(".")
        entry = noted.get(tag)
        if entry is not None and entry["outcome"] != "cancelled":
            raise RuntimeError(f"{tag} ended as {entry['outcome']}")
        ms = None if entry is None else (entry["cancelled_ns"] - closed_ns) / 1e6
        found.append({"mode": mode, "phase": phase, "ms": ms})
    return found


def figures(taken: list[dict[str, Any]]) -> dict[str, Figure]:
    """Return p50 and p99 over all hang-ups that had something to stop, and by mode and phase."""
    found: dict[str, Figure] = {}
    groups: dict[str, list[float]] = {"": []}
    for each in taken:
        if each["ms"] is not None:
            groups[""].append(each["ms"])
            groups.setdefault(f"_{each['mode']}_{each['phase']}", []).append(each["ms"])
    for name, values in groups.items():
        p50, _, p99 = percentiles(values)
        for label, value in (("p50", p50), ("p99", p99)):
            found[f"cancel_{label}_ms{name}"] = Figure(
                round(value, 2), "ms", "promise of 100 ms", round(value / PROMISE_MS, 4)
            )
    found["cancel_unstarted"] = Figure(sum(each["ms"] is None for each in taken), "hang-ups", None, None)
    return found


def measure(*, count: int = HANG_UPS, streams: int = 400) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Hang up under the load on a network of its own; raises `RuntimeError` when anything but the hang-ups broke."""
    with HushnetNetwork() as network, turn():
        plain = Target(network.base_url, network.api_key)
        sealed = Target(network.base_url, network.api_key, sealed=True, network=network.network)
        window_s = count * 2 * len(PHASES) * PACE_S + 2
        order = Order(plain, Load(streams=streams, window_s=window_s), {"coordinator": [network.coordinator_pid]})
        under: list[Measured] = []
        load = threading.Thread(target=lambda: under.append(run(order)))
        load.start()
        time.sleep(2.0)
        closed = uvloop.run(hang_ups({"standard": plain, "sealed": sealed}, count))
        load.join()
        taken = match(closed, _settled_reports(network, closed))
        findings = network.check_books()
    if not under or under[0].faults or findings:
        raise RuntimeError(f"the load broke: {under and under[0].verdicts}, books: {findings}")
    return figures(taken), taken


def _settled_reports(network: HushnetNetwork, closed: dict[str, int]) -> list[dict[str, Any]]:
    """Wait until the providers' reports say no more; what is missing then never reached one."""
    until = time.monotonic() + NOTED_S_MAX
    while len(reports := network.reports()) < len(closed) and time.monotonic() < until:
        time.sleep(0.1)
    return reports


def main() -> int:
    """Measure and print."""
    found, taken = measure()
    for key, figure in found.items():
        print(f"{key}: {figure.value} {figure.unit}")
    print(Counter(f"{each['mode']}.{each['phase']}" for each in taken if each["ms"] is None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
