"""Hold + settlement pairs a second through the ledger, and what a hold adds to a request, on SQLite and Postgres.

Each round runs both databases at several numbers of concurrent requests, interleaved; the peer of each figure is the
same ledger with one request at a time, where every operation is a transaction of its own. Fifty consumers, ten
providers, a platform fee (two settlement legs), usage records and audit chain, disk writes waited for. Load generator,
ledger and database share the machine. `HUSH_BENCH_ROUNDS` (5).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.record import Figure, write
from hushnet.coordinator.ledger.model import Closed, Held, Hold, Usage, UsageOutcome
from hushnet.coordinator.ledger.prices import Reservation, Terms, settlement
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId
from hushnet.foundation.money import Price
from support.ledger import database_url
from support.postgres import administer

ROUNDS = int(os.environ.get("HUSH_BENCH_ROUNDS", "5"))
PAIRS = {1: 300, 16: 2_000, 64: 5_000, 256: 8_000}
"""Pairs measured at each number of concurrent requests."""
CONSUMERS = [AccountId(70_000 + n) for n in range(50)]
PROVIDERS = [AccountId(80_000 + n) for n in range(10)]
PRICE, TERMS = Price(100_000, 50_000, 400_000, 1), Terms(fee_bps=1_000)


def main() -> None:
    """Measure and write the result."""
    # Tests do not wait for the disk; a bench does.
    administer("ALTER SYSTEM SET fsync = on")
    administer("SELECT pg_reload_conf()")
    rounds: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        taken: dict[str, float] = {}
        for kind in ("sqlite", "postgresql"):
            with tempfile.TemporaryDirectory() as folder, database_url(kind, Path(folder)) as url:
                taken |= {f"{kind}_{name}": value for name, value in asyncio.run(measured(url)).items()}
        rounds.append(taken)
    figures: dict[str, Figure] = {}
    for name in rounds[0]:
        value = median(taken[name] for taken in rounds)
        kind, _, what = name.partition("_")
        peer = (
            None
            if "_at_" not in name
            else median(taken[f"{kind}_{what.partition('_at_')[0]}_at_1"] for taken in rounds)
        )
        unit = "pairs/s" if "pairs" in name else "ms" if "_ms_" in name else "us"
        figures[name] = Figure(round(value, 2), unit, peer and "one at a time", peer and round(value / peer, 2))
    write("ledger", figures, rounds)


async def measured(url: str) -> dict[str, float]:
    """One round on one database."""
    database = await Database.open(url)
    ledger = await Ledger.open(open_ledger_store(database), SystemClock())
    try:
        for consumer in CONSUMERS:
            await ledger.grant_promo(consumer, 10**12, grant_id=f"bench-{consumer}", actor="bench")
        await run(ledger, pairs=200, concurrent=16)
        taken: dict[str, float] = {}
        for concurrent, pairs in PAIRS.items():
            taken |= await run(ledger, pairs=pairs, concurrent=concurrent)
        return taken
    finally:
        await ledger.aclose()
        await database.aclose()


async def run(ledger: Ledger, *, pairs: int, concurrent: int) -> dict[str, float]:
    """Run `pairs` requests, `concurrent` at a time, and return throughput, hold latency and processor time."""
    waits_s: list[float] = []
    numbers = iter(range(pairs))

    async def requests() -> None:
        waits_s.extend([await request(ledger, number) for number in numbers])

    processor_s, started_s = time.process_time(), time.perf_counter()
    await asyncio.gather(*(requests() for _ in range(concurrent)))
    elapsed_s, processor_s = time.perf_counter() - started_s, time.process_time() - processor_s
    waits_s.sort()
    return {
        f"pairs_at_{concurrent}": pairs / elapsed_s,
        f"hold_p50_ms_at_{concurrent}": 1000 * waits_s[pairs // 2],
        f"hold_p99_ms_at_{concurrent}": 1000 * waits_s[pairs * 99 // 100],
        f"process_us_a_pair_at_{concurrent}": 1_000_000 * processor_s / pairs,
    }


async def request(ledger: Ledger, number: int) -> float:
    """Hold and settle; return how long the hold took in seconds."""
    consumer, provider = CONSUMERS[number % len(CONSUMERS)], PROVIDERS[number % len(PROVIDERS)]
    hold = Hold(ledger.next_request_id(), consumer, 1_000, SystemClock().now_ms() + 120_000)
    started_s = time.perf_counter()
    parts = await ledger.hold(hold)
    waited_s = time.perf_counter() - started_s
    assert isinstance(parts, Held)
    usage = Usage(
        ApiKeyId(1),
        ModelId("hush-tiny"),
        UsageOutcome.COMPLETED,
        provider=provider,
        machine="ab" * 32,
        tokens_in=100,
        tokens_out=200,
    )
    close = settlement(Reservation(hold.id, consumer, parts), usage, PRICE, TERMS, is_delivered=True)
    assert isinstance(await ledger.close(close), Closed)
    return waited_s


if __name__ == "__main__":
    main()
