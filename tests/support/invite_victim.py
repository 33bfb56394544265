"""Processes that redeem an invite, until the named fault kills them.

Run as `python invite_victim.py`: for each line `URL NOW_MS CODE FAULT` on stdin it forks a process that redeems CODE for the
consumer, from wherever the database stands, with `HUSH_FAULT` set to FAULT (`-` for none), and answers with a line: the
process's exit status.
"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg
from sqlalchemy.dialects import postgresql, sqlite

from hushnet.coordinator.incentives.invites import Invites
from hushnet.coordinator.ledger.faults import faults_from
from hushnet.coordinator.storage import database_postgres, database_sqlite, ledger_postgres, ledger_sqlite
from hushnet.foundation.clock import ManualClock
from support.incentives import AMPLE
from support.ledger import CONSUMER
from support.money import open_money

WARM = (asyncpg, postgresql, sqlite, database_postgres, database_sqlite, ledger_postgres, ledger_sqlite)
"""Imported before the first fork, so that no victim spends its short life on imports."""


async def live(url: str, now_ms: int, code: str) -> None:
    """Redeem the code as an owner does who does not know whether it has done so before."""
    async with open_money(url, clock=ManualClock(now_ms), reach=faults_from(os.environ)) as money:
        await Invites(money.store, money.clock, AMPLE).redeem(CONSUMER, code)


def run_victim(url: str, now_ms: str, code: str, fault: str) -> int:
    """Fork, let the child live until its fault or its end, and return its exit status."""
    child = os.fork()
    if child == 0:
        if fault != "-":
            os.environ["HUSH_FAULT"] = fault
        asyncio.run(live(url, int(now_ms), code))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for line in sys.stdin:
        print(run_victim(*line.split()), flush=True)
