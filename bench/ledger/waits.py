"""What a request waits for its hold at a fixed rate: open loop, so that a slow answer delays no other request.

Requests come at random (a Poisson process), hold, are served for 50 to 250 ms, and settle. A wait is counted from when the
request was due, the load generator's own lateness included; how late it was without any ledger stands beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random
from statistics import median
from typing import Any

import uvloop

from bench.ledger import shop
from bench.ledger.plan import Plan
from bench.record import Figure
from bench.routing.plan import Part
from hushnet.coordinator.ledger.service import Ledger


def measure(plan: Plan) -> Part:
    """Measure each database, and no ledger at all, once a round."""
    shop.durable()
    rounds: list[dict[str, Any]] = []
    for number in range(plan.rounds):
        taken = percentiles("nothing", uvloop.run(_arrivals(plan, Random(number), _nothing)))
        for kind in shop.KINDS:
            with shop.fresh(kind) as url:
                taken |= percentiles(kind, uvloop.run(_measured(url, plan, Random(number))))
        rounds.append({"waits": taken})
        print({name: round(value, 2) for name, value in taken.items()}, flush=True)
    return Part(figures([each["waits"] for each in rounds], plan.rate), rounds)


async def _measured(url: str, plan: Plan, rng: Random) -> list[float]:
    async with shop.opened(url) as ledger:
        return await _arrivals(plan, rng, lambda number, due_s, waits: _request(ledger, number, due_s, waits, rng))


async def _arrivals(
    plan: Plan, rng: Random, request: Callable[[int, float, list[float]], Awaitable[None]]
) -> list[float]:
    """Start requests when they are due, whatever became of those before; return every wait in seconds."""
    waits: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    due_s = time.perf_counter()
    for number in range(round(plan.waits_s * plan.rate)):
        due_s += rng.expovariate(plan.rate)
        late_s = due_s - time.perf_counter()
        if late_s > 0:
            await asyncio.sleep(late_s)
        task = asyncio.ensure_future(request(number, due_s, waits))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return waits


async def _request(ledger: Ledger, number: int, due_s: float, waits: list[float], rng: Random) -> None:
    reservation = await shop.held(ledger, number)
    waits.append(time.perf_counter() - due_s)
    await asyncio.sleep(rng.uniform(0.05, 0.25))
    await shop.settled(ledger, reservation, number)


async def _nothing(_number: int, due_s: float, waits: list[float]) -> None:
    waits.append(time.perf_counter() - due_s)


def percentiles(kind: str, waits_s: list[float]) -> dict[str, float]:
    """Return the percentiles of waits in seconds, in milliseconds."""
    ordered = sorted(1000 * wait for wait in waits_s)
    parts = {"p50": 500, "p99": 990, "p999": 999}
    return {f"{kind}_{name}_ms": ordered[len(ordered) * part // 1000] for name, part in parts.items()}


def figures(rounds: list[dict[str, float]], rate: int) -> dict[str, Figure]:
    """Return the medians over the rounds."""

    def of(name: str) -> float:
        return round(median(each[name] for each in rounds), 2)

    names = {"postgresql": "hold_added", "sqlite": "sqlite_hold_added", "nothing": "load_generator_late"}
    return {
        f"{name}_{part}_ms_{rate}rps": Figure(of(f"{kind}_{part}_ms"), "ms")
        for kind, name in names.items()
        for part in ("p99", "p50", "p999")
    }
