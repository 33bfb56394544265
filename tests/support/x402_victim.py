"""Processes that buy with one payment, serve it and settle it, until the named fault kills them.

Run as `python -m support.x402_victim`: for each line `DATABASE FACILITATOR HEADER NOW_MS FAULT` on stdin it forks a process that
sets `HUSH_FAULT` and does so, and answers with a line: the process's exit status.
"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg
from sqlalchemy.dialects import postgresql, sqlite

from hushnet.coordinator.ledger.faults import faults_from
from hushnet.coordinator.payments.x402.authorised import LOOK_MS
from hushnet.coordinator.payments.x402.book import Bought
from hushnet.coordinator.payments.x402.payload import Scheme, read_payment
from hushnet.coordinator.storage import database_postgres, database_sqlite, ledger_postgres, ledger_sqlite
from hushnet.foundation.clock import ManualClock
from support.x402_shop import Till, open_shop

WARM = (asyncpg, postgresql, sqlite, database_postgres, database_sqlite, ledger_postgres, ledger_sqlite)
"""Imported before the first fork, so that no victim spends its short life on imports."""
COST = 1200


async def use(url: str, facilitator: str, header: str, now_ms: int) -> None:
    payment = read_payment(header.encode(), version=2)
    async with open_shop(url, Till(facilitator), ManualClock(now_ms), reach=faults_from(os.environ)) as shop:
        bought = await shop.buy(payment)
        if payment.scheme is Scheme.UPTO and isinstance(bought, Bought):
            await shop.close(bought, COST)
            await shop.pass_time(LOOK_MS / 1000 + 1)
            await shop.keeper.step()
            await shop.calls.step()


def run_victim(url: str, facilitator: str, header: str, now_ms: str, fault: str) -> int:
    """Fork, let the child live until its fault, and return its exit status."""
    child = os.fork()
    if child == 0:
        os.environ["HUSH_FAULT"] = fault
        asyncio.run(use(url, facilitator, header, int(now_ms)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for line in sys.stdin:
        print(run_victim(*line.split()), flush=True)
