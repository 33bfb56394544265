"""What readers that stop cost everybody else: 500 paced streams, none of them stalled, then 50 of them, in turns.

In both loads 450 streams are measured, and 50 more run beside them from a process of their own: they ask
for large events and read them, or never read one. The window of those fills within two seconds, and all of them ask anew
every four, so that 50 are stalled or about to be all the time. What is compared is the delay of the 450 and how much it
changes from one chunk to the next, within one round.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from bench.record import ROOT, Figure
from bench.relay.client import Load, Measured, Order, run
from bench.relay.consumers import Connection, Consumer, Target
from bench.relay.instructions import Instructions
from bench.relay.network import HushnetNetwork
from bench.relay.processes import stop
from bench.relay.rounds import turn
from bench.relay.stopping import held

STREAMS: Final = 500
STALLED: Final = 50
RATE: Final = 16.0
"""Chunks a second of each stream: what 500 of them, their provider and their coordinator can do on two cores with room to spare."""
EVENT_BYTES: Final = 16 * 1024
"""Of the other streams: 256 KB a second, so that a window is full in two seconds rather than in two minutes."""
RECEIVE_BYTES: Final = 16 * 1024
EVENTS: Final = 22
"""What a stalled reader is sent until its provider waits: as many are read in the load without one, so that both carry the
same bytes and differ in the reading alone."""
STALL_S: Final = 4.0
"""After this a stream is asked for anew: it was full after less than two seconds, and cut within one more."""
WINDOW_S: Final = 10.0
_CUT: Final = re.compile(r'^hush_requests_total\{[^}]*outcome="failed_after_content"[^}]*\} (\S+)', re.MULTILINE)
LOADS: Final = ("reading", "stalled")


class Round(msgspec.Struct, frozen=True):
    """Both loads of one round."""

    reading: Measured
    stalled: Measured
    cut: int
    """Streams that the coordinator broke off for want of a reader."""

    def ratio(self, name: str) -> float:
        """Return the p99 of `name` among stalled readers over that among readers."""
        return float(getattr(self.stalled, name)[2] / getattr(self.reading, name)[2])


async def hold(target: Target, *, is_stalled: bool) -> None:
    """Keep `STALLED` streams open until cancelled; each is replaced by a new one when it has ended or has stalled."""
    async with asyncio.TaskGroup() as group:
        for number in range(STALLED):
            group.create_task((_stall if is_stalled else _read)(target, number))


async def _read(target: Target, number: int) -> None:
    await asyncio.sleep(STALL_S * number / STALLED)
    while True:
        connection = await Connection.open(target)
        consumer = Consumer(Instructions(chunks=EVENTS, rate=RATE, bytes=EVENT_BYTES))
        consumer.begin(connection, target)
        await asyncio.gather(consumer.ended(), asyncio.sleep(STALL_S))
        connection.close()


async def _stall(target: Target, number: int) -> None:
    loop, address = asyncio.get_running_loop(), urlsplit(target.base_url)
    body = Instructions(chunks=100_000, rate=RATE, bytes=EVENT_BYTES).chat(stream=True, model=target.model)
    await asyncio.sleep(STALL_S * number / STALLED)
    while True:
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            line.setblocking(False)
            await loop.sock_connect(line, (address.hostname, address.port))
            await loop.sock_sendall(line, target.head({"Content-Type": "application/json"}, body))
            await asyncio.sleep(STALL_S)


@contextmanager
def beside(target: Target, kind: str) -> Iterator[None]:
    """Run the other 50 streams in a process of their own."""
    command = [sys.executable, "-m", "bench.relay.slow_readers", "--hold", kind, "--url", target.base_url]
    with ExitStack() as stack:
        with held():
            process = subprocess.Popen([*command, "--key", target.api_key], cwd=ROOT, start_new_session=True)
            stack.callback(stop, process)
        yield


def measure(*, rounds: int = 3, window_s: float = WINDOW_S) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Run both loads in turns on one network; return the figures and every round as it was."""
    taken: list[Round] = []
    with HushnetNetwork(links=16) as network:
        target = Target(network.base_url, network.api_key)
        load = Load(streams=STREAMS - STALLED, rate=RATE, window_s=window_s, ramp_s=2.0, settle_s=STALL_S)
        order = Order(target, load, {"coordinator": [network.coordinator_pid]})
        for number in range(rounds):
            found: dict[str, Measured] = {}
            seen = cut_so_far(network)
            for kind in LOADS if number % 2 == 0 else LOADS[::-1]:
                with turn(), beside(target, kind):
                    found[kind] = run(order)
            taken.append(Round(found["reading"], found["stalled"], cut_so_far(network) - seen))
    return figures(taken), [msgspec.to_builtins(each) for each in taken]


def cut_so_far(network: HushnetNetwork) -> int:
    """Return how many answers the coordinator has broken off after content."""
    return sum(int(float(found[1])) for found in _CUT.finditer(network.metrics()))


def figures(rounds: list[Round]) -> dict[str, Figure]:
    """Return medians over the rounds; a ratio is that of stalled over reading within a round."""

    def p99_ms(kind: str, name: str) -> float:
        return round(median(getattr(getattr(each, kind), name)[2] for each in rounds) / 1000, 2)

    def mib(kind: str) -> float:
        return round(max(getattr(each, kind).rss_mib["coordinator"] for each in rounds), 1)

    peer = "the same streams without stalled readers"
    found = {
        f"slow_readers_{word}_p99_ms": Figure(
            p99_ms("stalled", name), "ms", peer, round(median(each.ratio(name) for each in rounds), 2)
        )
        for word, name in (("delay", "delay_us"), ("jitter", "jitter_us"))
    }
    return found | {
        "slow_readers_lost": Figure(sum(each.stalled.faults for each in rounds), "streams"),
        "slow_readers_cut": Figure(min(each.cut for each in rounds), "streams"),
        "slow_readers_rss_mib": Figure(mib("stalled"), "MiB", peer, round(mib("stalled") / mib("reading"), 3)),
    }


def main() -> int:
    """Measure and print, or be the process of the other 50 streams."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.relay.slow_readers", description="What do stalled readers cost?"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=WINDOW_S)
    parser.add_argument("--hold", choices=LOADS, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    parser.add_argument("--key", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold:
        uvloop.run(hold(Target(options.url, options.key), is_stalled=options.hold == "stalled"))
    found, rounds = measure(rounds=options.rounds, window_s=options.seconds)
    for key, figure in found.items():
        print(f"{key}: {figure.value} {figure.unit} {figure.ratio or ''}")
    print([each["stalled"]["verdicts"] for each in rounds])
    return 0


if __name__ == "__main__":
    sys.exit(main())
