"""How many hold + post pairs a second: batched, one transaction each, and pgbench's TPC-B, in turn in every round.

Closed loop: 256 requests at once hold and settle, so that operations that arrive together are committed together. One at
a time, every operation is a transaction of its own. Load generator, ledger and database share the machine.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any, Final

import uvloop

from bench.ledger import shop, tpcb
from bench.ledger.plan import Plan
from bench.record import Figure
from bench.routing.plan import Part
from hushnet.coordinator.ledger.service import Ledger

_CONCURRENT: Final = 256


def measure(plan: Plan) -> Part:
    """Measure every system once a round."""
    shop.durable()
    rounds: list[dict[str, Any]] = []
    for number in range(plan.rounds):
        taken: dict[str, float] = {}
        for kind in shop.KINDS if number % 2 else shop.KINDS[::-1]:
            with shop.fresh(kind) as url:
                taken |= uvloop.run(_measured(url, kind, plan))
        with shop.fresh("postgresql") as url:
            taken |= tpcb.measured(url, seconds=plan.tpcb_s)
        rounds.append({"pairs": taken})
        print({name: round(value) for name, value in taken.items()}, flush=True)
    return Part(figures([each["pairs"] for each in rounds]), rounds)


async def _measured(url: str, kind: str, plan: Plan) -> dict[str, float]:
    async with shop.opened(url) as ledger:
        single, _ = await _run(ledger, pairs=plan.single_pairs, concurrent=1)
        batched, processor_us = await _run(ledger, pairs=plan.pairs, concurrent=_CONCURRENT)
    return {f"{kind}_single": single, f"{kind}_batched": batched, f"{kind}_processor_us": processor_us}


async def _run(ledger: Ledger, *, pairs: int, concurrent: int) -> tuple[float, float]:
    """Return pairs a second, and this process's processor time a pair in microseconds."""
    numbers = iter(range(pairs))

    async def requests() -> None:
        for number in numbers:
            await shop.request(ledger, number)

    processor_s, started_s = time.process_time(), time.perf_counter()
    await asyncio.gather(*(requests() for _ in range(concurrent)))
    elapsed_s, processor_s = time.perf_counter() - started_s, time.process_time() - processor_s
    return pairs / elapsed_s, 1_000_000 * processor_s / pairs


def figures(rounds: list[dict[str, float]]) -> dict[str, Figure]:
    """Medians over the rounds; a ratio is the median of the rounds' own ratios."""
    better = [{**each, "tpcb": max(each["tpcb_at_1"], each["tpcb_at_16"])} for each in rounds]

    def of(name: str) -> float:
        return median(each[name] for each in better)

    def against(name: str, peer: str) -> float:
        return round(median(each[name] / each[peer] for each in better), 2)

    def pairs(name: str, peer: str, peer_name: str) -> Figure:
        return Figure(round(of(name)), "pairs/s", peer_name, against(name, peer))

    return {
        "postgres_pairs_per_s": pairs("postgresql_batched", "tpcb", "pgbench TPC-B transactions"),
        "postgres_tpcb_per_s": Figure(round(of("tpcb")), "transactions/s"),
        "postgres_single_pairs_per_s": pairs("postgresql_single", "postgresql_batched", "batched pairs"),
        "postgres_processor_us": Figure(round(of("postgresql_processor_us"), 1), "us a pair, ledger's process"),
        "sqlite_pairs_per_s": pairs("sqlite_batched", "sqlite_single", "one transaction each"),
        "sqlite_single_pairs_per_s": Figure(round(of("sqlite_single")), "pairs/s"),
        "sqlite_processor_us": Figure(round(of("sqlite_processor_us"), 1), "us a pair, ledger's process"),
    }
