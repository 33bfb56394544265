"""Processes that use a ledger and say what was acknowledged, until the named fault kills them.

Run as `python ledger_victim.py`: for each line `URL FAULT` on stdin it forks a process that sets `HUSH_FAULT` and uses
the ledger of that URL, and answers with a line: the process's exit status, and a word for each acknowledged operation.
"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg
from sqlalchemy.dialects import postgresql, sqlite

from hushnet.coordinator.ledger.chart import Kind, user_account
from hushnet.coordinator.ledger.model import Close, CloseKind, Credit, Held, Hold, Usage, UsageOutcome
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.coordinator.storage import (
    Database,
    database_postgres,
    database_sqlite,
    ledger_postgres,
    ledger_sqlite,
    open_ledger_store,
)
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId

WARM = (asyncpg, postgresql, sqlite, database_postgres, database_sqlite, ledger_postgres, ledger_sqlite)
"""Imported before the first fork, so that no victim spends its short life on imports."""

CONSUMER, PROVIDER = AccountId(70_000), AccountId(80_000)


async def use(url: str, said: int) -> None:
    database = await Database.open(url)
    clock = SystemClock()
    ledger = await Ledger.open(open_ledger_store(database), clock, settings=LedgerSettings(draft_s=0))
    await ledger.grant_promo(CONSUMER, 1000, grant_id="demo", actor="victim")
    os.write(said, b"granted ")
    for draft_amount in (None, 30):
        hold = Hold(ledger.next_request_id(), CONSUMER, 100, clock.now_ms() + 60_000)
        parts = await ledger.hold(hold)
        assert isinstance(parts, Held)
        os.write(said, b"held ")
        if draft_amount is not None:
            ledger.note_draft(settlement(hold, parts, draft_amount))
            await ledger.save_drafts()
        await ledger.close(settlement(hold, parts, 50))
        os.write(said, b"settled ")
    await ledger.aclose()
    await database.aclose()


def settlement(hold: Hold, parts: Held, amount: int) -> Close:
    use = Usage(ApiKeyId(1), ModelId("hush-tiny"), UsageOutcome.COMPLETED, provider=PROVIDER, tokens_in=1)
    credit = Credit(user_account(PROVIDER, Kind.EARNINGS), amount)
    return Close(hold.id, hold.owner, parts, CloseKind.POST, use, (credit,))


def run_victim(url: str, fault: str) -> str:
    """Fork, let the child live until its fault, and return its exit status and what it had said."""
    reads, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ["HUSH_FAULT"] = fault
        asyncio.run(use(url, said))
        os._exit(0)
    os.close(said)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reads) as words:
        return f"{os.waitstatus_to_exitcode(status)} {words.read()}"


if __name__ == "__main__":
    for line in sys.stdin:
        print(run_victim(*line.split()), flush=True)
