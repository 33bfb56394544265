"""A ledger with money in it, and a request that holds and settles: what every part of this bench drives.

Fifty consumers, ten providers, a platform fee (two settlement legs), usage records, the audit chain, disk writes waited for.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from hushnet.coordinator.ledger.model import Closed, Held, Hold, Usage, UsageOutcome
from hushnet.coordinator.ledger.prices import Reservation, Terms, settlement
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId
from hushnet.foundation.money import Price
from support.ledger import database_url
from support.postgres import server_url

KINDS: Final = ("sqlite", "postgresql")
CONSUMERS: Final = [AccountId(70_000 + n) for n in range(50)]
PROVIDERS: Final = [AccountId(80_000 + n) for n in range(10)]
PRICE, TERMS = Price(100_000, 50_000, 400_000, 1), Terms(fee_bps=1_000)
_WARM_PAIRS: Final = 500


def durable() -> None:
    """Have Postgres on a disk, and wait for it: tests do not, a bench does. Another's server is left alone."""
    server_url(is_durable=True)


@contextmanager
def fresh(kind: str) -> Iterator[str]:
    """Return the URL of an empty database of a kind, gone at the end."""
    with tempfile.TemporaryDirectory() as folder, database_url(kind, Path(folder)) as url:
        yield url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """Open the ledger of an empty database, give its consumers money, and warm it."""
    database = await Database.open(url)
    ledger = await Ledger.open(open_ledger_store(database), SystemClock())
    try:
        for consumer in CONSUMERS:
            await ledger.grant_promo(consumer, 10**12, grant_id=f"bench-{consumer}", actor="bench")
        for number in range(_WARM_PAIRS):
            await request(ledger, number)
        yield ledger
    finally:
        await ledger.aclose()
        await database.aclose()


async def held(ledger: Ledger, number: int) -> Reservation:
    """Make the hold of one request."""
    consumer = CONSUMERS[number % len(CONSUMERS)]
    hold = Hold(ledger.next_request_id(), consumer, 1_000, time.time_ns() // 1_000_000 + 120_000)
    parts = await ledger.hold(hold)
    assert isinstance(parts, Held), parts
    return Reservation(hold.id, consumer, parts)


async def settled(ledger: Ledger, reservation: Reservation, number: int) -> None:
    """Settle one request for most of what it held."""
    usage = Usage(
        ApiKeyId(1),
        ModelId("hush-tiny"),
        UsageOutcome.COMPLETED,
        provider=PROVIDERS[number % len(PROVIDERS)],
        machine="ab" * 32,
        tokens_in=100,
        tokens_out=200,
    )
    outcome = await ledger.close(settlement(reservation, usage, PRICE, TERMS, is_delivered=True))
    assert isinstance(outcome, Closed), outcome


async def request(ledger: Ledger, number: int) -> None:
    """Hold and settle."""
    await settled(ledger, await held(ledger, number), number)
