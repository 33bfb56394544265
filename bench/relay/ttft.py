"""Added time to first token: one client that asks the upstream and Hushnet in turn, in one interleaved run.

Each pass asks the upstream directly, Hushnet standard and Hushnet sealed, in a shuffled order, over connections that stay
open, with a pause of a person's least before each. What Hushnet adds is the difference inside a pass, so that the tail is
its own and what disturbs the machine for longer than a pass cancels out. Authentication, hold, routing, sealing and the
provider's opening and sealing all count; so does the consumer's opening in sealed mode, its sealing does not.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Mapping
from typing import Any, Final

import uvloop

from bench.record import Figure
from bench.relay.consumers import Connection, Consumer, Sealer, Target
from bench.relay.instructions import Instructions
from bench.relay.network import HushnetNetwork
from bench.relay.rounds import turn, upstream
from bench.relay.spread import percentiles

PASSES: Final = 800
WARM_UP: Final = 50
PAUSE_S: Final = 0.004
"""The settlement of one request is not in the way of the next: a client on its own does not ask within microseconds."""
RATE: Final = 200.0
"""The end of an answer, its receipt above all, is not in the way of its first token: no engine speaks once."""
ANSWER_S_MAX: Final = 10.0
PEER: Final = "the provider called directly"


class Caller:
    """One path to a first token, on a connection of its own."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sealer: Sealer | None = None
        self._connection: Connection | None = None

    async def first_ms(self) -> float:
        """Ask for two chunks and return the milliseconds from the request to it; raises `RuntimeError` when it is not whole."""
        if self._connection is None or self._connection.is_lost:
            self._connection = await Connection.open(self._target)
            self._sealer = await Sealer.of(self._target)
        consumer = Consumer(Instructions(chunks=2, rate=RATE))
        consumer.begin(self._connection, self._target, self._sealer)
        outcome = await asyncio.wait_for(consumer.ended(), ANSWER_S_MAX)
        if outcome != "whole":
            raise RuntimeError(f"a first token ended as {outcome}: {consumer.failure}")
        return consumer.first_ms


async def passes(targets: Mapping[str, Target], count: int) -> list[dict[str, float]]:
    """Run passes over `targets`; return milliseconds to the first token by name, without the warm-up."""
    callers = {name: Caller(target) for name, target in targets.items()}
    taken: list[dict[str, float]] = []
    for number in range(-WARM_UP, count):
        found: dict[str, float] = {}
        for name in random.sample(list(callers), len(callers)):
            await asyncio.sleep(PAUSE_S)
            found[name] = await callers[name].first_ms()
        if number >= 0:
            taken.append(found)
    return taken


def added(taken: list[dict[str, float]], name: str) -> tuple[float, ...]:
    """Return p50, p95 and p99 of what `name` took longer than `direct` in the same pass."""
    return percentiles([each[name] - each["direct"] for each in taken])


def figures(taken: list[dict[str, float]]) -> dict[str, Figure]:
    """Return the figures of both modes; the ratio is that of whole times at the same percentile."""
    found: dict[str, Figure] = {}
    direct = percentiles([each["direct"] for each in taken])
    for name, suffix in (("standard", ""), ("sealed", "_sealed")):
        whole = percentiles([each[name] for each in taken])
        for rank, (label, value) in enumerate(zip(("p50", "p95", "p99"), added(taken, name), strict=True)):
            ratio = round(whole[rank] / direct[rank], 2) if direct[rank] else None
            found[f"added_ttft{suffix}_{label}_ms"] = Figure(round(value, 3), "ms", PEER, ratio)
    return found


def measure(*, count: int = PASSES) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Run the passes on a network of their own; return figures and raw passes."""
    with upstream() as (url, _), HushnetNetwork(links=4) as network, turn():
        through = Target(network.base_url, network.api_key)
        sealed = Target(network.base_url, network.api_key, sealed=True, network=network.network)
        taken = uvloop.run(passes({"direct": Target(url), "standard": through, "sealed": sealed}, count))
    return figures(taken), [{"pass": number, **each} for number, each in enumerate(taken)]


def main() -> int:
    """Measure and print."""
    for key, figure in measure()[0].items():
        print(f"{key}: {figure.value} {figure.unit} (times whole: {figure.ratio})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
