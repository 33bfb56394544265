"""The load client: paced streams, requests without streaming, and first tokens one at a time, each measured in its own process.

`python -m bench.relay.client` reads one `Order` as JSON from standard input and prints one `Measured`. It reads the
processor time of the systems' process trees itself, at the same moments at which it counts chunks.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

import msgspec
import uvloop

from bench.record import ROOT
from bench.relay.consumers import Connection, Consumer, Sealer, Target
from bench.relay.instructions import Instructions
from bench.relay.processes import cpu_us, rss_mib, stop
from bench.relay.spread import percentiles
from bench.relay.stopping import held

GOLDEN: Final = 0.618033988749895
"""Steps of this fraction of a period spread any number of phases evenly."""
FIRST_RATE: Final = 200.0
"""Pace of the short streams: what ends an answer, a receipt above all, is not in the way of its first token."""
END_S_MAX: Final = 30.0


class Load(msgspec.Struct, frozen=True):
    """`paced`: `streams` of `rate` chunks a second, measured for `window_s` once all run, then read to their end.
    `requests`: `streams` connections, each asking again as soon as it was answered. `first`: `count` short streams in turn.
    """

    kind: str = "paced"
    streams: int = 400
    rate: float = 40.0
    window_s: float = 10.0
    bytes: int = 288
    ramp_s: float = 1.0
    settle_s: float = 1.0
    count: int = 200


class Order(msgspec.Struct, frozen=True):
    """A load on a target; `trees` names the root processes whose cost is measured."""

    target: Target
    load: Load
    trees: dict[str, list[int]] = {}


class Measured(msgspec.Struct, kw_only=True):
    """What one load cost and how it went. Triples are p50, p95, p99; `units` are chunks or requests inside the window."""

    streams: int
    units: int
    window_s: float
    cpu_us: dict[str, float] = {}
    rss_mib: dict[str, float] = {}
    rss_before_mib: dict[str, float] = {}
    verdicts: dict[str, int] = {}
    delay_us: tuple[float, ...] = ()
    jitter_us: tuple[float, ...] = ()
    first_ms: tuple[float, ...] = ()
    failures: list[str] = []

    def cpu_each_us(self, tree: str) -> float:
        """Return processor microseconds of a tree for each unit."""
        return self.cpu_us.get(tree, 0.0) / self.units if self.units else 0.0

    @property
    def faults(self) -> int:
        """Return how many streams or requests ended in anything but a whole answer."""
        return sum(count for name, count in self.verdicts.items() if name != "whole")


class Costs:
    """Processor time of process trees between two moments; the client itself is among them."""

    def __init__(self, trees: Mapping[str, list[int]]) -> None:
        self._trees = trees
        self._before = self._read()

    def since(self) -> dict[str, float]:
        """Return microseconds by tree since this was made."""
        return {name: us - self._before[name] for name, us in self._read().items()}

    def _read(self) -> dict[str, float]:
        return {name: cpu_us(roots) for name, roots in self._trees.items()} | {"client": time.process_time() * 1e6}


async def measure(order: Order) -> Measured:
    """Run one order in this process, which should do nothing else."""
    kinds = {"paced": paced, "requests": requests, "first": first}
    before = {name: rss_mib(roots) for name, roots in order.trees.items()}
    measured = await kinds[order.load.kind](order)
    measured.rss_before_mib = before
    return measured


async def paced(order: Order) -> Measured:
    """Open the streams over the ramp with their phases spread evenly, measure a window, read every stream to its end."""
    load = order.load
    lasts_s = load.ramp_s + load.settle_s + load.window_s + load.settle_s / 2
    instructions = Instructions(chunks=max(1, int(load.rate * lasts_s)), rate=load.rate, bytes=load.bytes)
    sealer = await Sealer.of(order.target)
    consumers = [Consumer(instructions) for _ in range(load.streams)]
    started_s = time.monotonic()
    runs = [
        asyncio.create_task(_stream(order.target, consumer, sealer, _turn(number, load)))
        for number, consumer in enumerate(consumers)
    ]
    await asyncio.sleep(load.ramp_s + load.settle_s)
    costs, marks = Costs(order.trees), [consumer.events.count for consumer in consumers]
    window_s = time.monotonic()
    await asyncio.sleep(load.window_s)
    taken, ends = costs.since(), [consumer.events.count for consumer in consumers]
    window_s = time.monotonic() - window_s
    resident = {name: rss_mib(roots) for name, roots in order.trees.items()}
    await asyncio.wait(runs, timeout=lasts_s - (time.monotonic() - started_s) + load.ramp_s + END_S_MAX)
    delay_us, jitter_us = _delays(consumers, marks, ends)
    return Measured(
        streams=load.streams,
        units=sum(ends) - sum(marks),
        window_s=window_s,
        cpu_us=taken,
        rss_mib=resident,
        verdicts=dict(Counter(consumer.outcome or "unfinished" for consumer in consumers)),
        failures=sorted({consumer.failure for consumer in consumers if consumer.failure})[:5],
        first_ms=percentiles([consumer.first_ms for consumer in consumers]),
        delay_us=delay_us,
        jitter_us=jitter_us,
    )


def _turn(number: int, load: Load) -> float:
    """Return when stream `number` opens, in seconds: spread over the ramp, its phase apart from its neighbours'."""
    phase_s = (number * GOLDEN % 1.0) / load.rate if load.rate else 0.0
    return load.ramp_s * number / load.streams + phase_s


async def _stream(target: Target, consumer: Consumer, sealer: Sealer | None, wait_s: float) -> None:
    await asyncio.sleep(wait_s)
    try:
        connection = await Connection.open(target)
    except (OSError, TimeoutError) as error:
        consumer.outcome, consumer.failure = "unconnected", type(error).__name__
        return
    consumer.begin(connection, target, sealer)
    await consumer.ended()
    connection.close()


def _delays(
    consumers: list[Consumer], marks: list[int], ends: list[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Percentiles of delays (emission to receipt), and of how much one differs from the one before it."""
    delays: list[float] = []
    jitter: list[float] = []
    for consumer, mark, end in zip(consumers, marks, ends, strict=True):
        mine = consumer.events.delays_ns[mark:end].tolist()
        delays += [delay / 1000 for delay in mine]
        jitter += [abs(after - before) / 1000 for before, after in itertools.pairwise(mine)]
    return percentiles(delays), percentiles(jitter)


class _Asker:
    """Asks again and again over one connection, without streaming."""

    def __init__(self, connection: Connection, target: Target, verdicts: Counter[str]) -> None:
        self._connection, self._target, self._verdicts = connection, target, verdicts
        self._body = Instructions(chunks=8).chat(stream=False, model=target.model)
        self.is_stopped = False
        self.sealer: Sealer | None = None
        self._words = 0
        connection.on_body, connection.on_end = self._count, self._answered

    def ask(self) -> None:
        headers, body = {"Content-Type": "application/json"}, self._body
        if self.sealer is not None:
            exchange = self.sealer.exchange(body)
            headers, body = exchange.headers, exchange.envelope
        self._words = 0
        self._connection.send(self._target.head(headers, body))

    def _count(self, body: bytes) -> None:
        self._words += body.count(b"word")

    def _answered(self) -> None:
        status = self._connection.reader.status
        # What a sealed answer says is not looked into here: its records are opened in the paced load.
        is_whole = status == 200 and (self.sealer is not None or self._words == 8) and not self._connection.is_lost
        self._verdicts["whole" if is_whole else f"refused {status}"] += 1
        if not self.is_stopped and not self._connection.is_lost:
            self.ask()


async def requests(order: Order) -> Measured:
    """Keep every connection busy with requests that do not stream, and measure a window."""
    target, load = order.target, order.load
    verdicts: Counter[str] = Counter()
    sealer = await Sealer.of(target)
    askers = [_Asker(await Connection.open(target), target, verdicts) for _ in range(load.streams)]
    for asker in askers:
        asker.sealer = sealer
        asker.ask()
    await asyncio.sleep(load.settle_s)
    costs, before, started_s = Costs(order.trees), verdicts.total(), time.monotonic()
    await asyncio.sleep(load.window_s)
    taken, units, window_s = costs.since(), verdicts.total() - before, time.monotonic() - started_s
    for asker in askers:
        asker.is_stopped = True
    return Measured(streams=load.streams, units=units, window_s=window_s, cpu_us=taken, verdicts=dict(verdicts))


async def first(order: Order) -> Measured:
    """Ask for streams of two chunks in turn over one connection, and measure each from its request to its first chunk."""
    target = order.target
    sealer = await Sealer.of(target)
    connection = await Connection.open(target)
    taken: list[Consumer] = []
    started_s = time.monotonic()
    for _ in range(order.load.count):
        if connection.is_lost:
            connection = await Connection.open(target)
        taken.append(Consumer(Instructions(chunks=2, rate=FIRST_RATE)))
        taken[-1].begin(connection, target, sealer)
        await asyncio.wait_for(taken[-1].ended(), END_S_MAX)
    warm = taken[len(taken) // 10 :]
    return Measured(
        streams=1,
        units=len(taken),
        window_s=time.monotonic() - started_s,
        verdicts=dict(Counter(consumer.outcome for consumer in taken)),
        first_ms=percentiles([consumer.first_ms for consumer in warm]),
    )


def run(order: Order) -> Measured:
    """Run an order in a process of its own; raises `RuntimeError` with what it said when it fails."""
    with started(order) as process:
        return outcome(process)


@contextmanager
def started(order: Order) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process run an order beside what is inside; it is ended there if it has not come to its `outcome`."""
    command, pipe = [sys.executable, "-m", "bench.relay.client"], subprocess.PIPE
    with ExitStack() as stack:
        with held():
            process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
            stack.enter_context(process)
            stack.callback(stop, process)
        assert process.stdin
        with process.stdin as orders:
            orders.write(msgspec.json.encode(order))
        process.stdin = None  # which `communicate` would flush
        yield process


def outcome(process: subprocess.Popen[bytes]) -> Measured:
    """Wait for what a `started` order gave; raises `RuntimeError` with what was said when it failed."""
    said, complained = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load client failed: {complained.decode(errors='replace')[-1500:]}")
    return msgspec.json.decode(said, type=Measured)


def main() -> None:
    """Run the order on standard input."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    gc.freeze()
    gc.set_threshold(50_000)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(measure(order))))


if __name__ == "__main__":
    main()
