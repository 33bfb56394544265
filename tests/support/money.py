"""A money store for tests, on each database, beside an open ledger whose books must balance at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from hushnet.coordinator.ledger.books.check import Finding
from hushnet.coordinator.ledger.books.promises import check_promises
from hushnet.coordinator.ledger.faults import FaultHook, no_faults
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.transaction import Row
from hushnet.coordinator.storage.books.promises import SqlPromises
from hushnet.coordinator.storage.ledger_books import SqlBooks
from hushnet.coordinator.storage.ledger_store import SqlLedgerStore
from hushnet.coordinator.storage.money import SqlMoneyStore
from hushnet.foundation.clock import ManualClock
from support.ledger import OpenLedger, database_url, open_ledger

R = TypeVar("R", bound=Row)


@dataclass
class OpenMoney:
    """A money store, the ledger of the same database, and the clock that both read."""

    store: SqlMoneyStore
    books: OpenLedger
    url: str
    is_bare: bool = False
    """Set by a test that moves money without the payout or dispute that would explain it."""

    @property
    def ledger(self) -> Ledger:
        return self.books.ledger

    @property
    def clock(self) -> ManualClock:
        return self.books.clock

    async def broken_promises(self) -> list[Finding]:
        """Return where the ledger and the rows of payouts, refunds, payments and referrals disagree (B6, B11)."""
        assert self.books.database is not None
        return await self.books.database.read(
            lambda connection: check_promises(SqlBooks(connection), SqlPromises(connection))
        )

    async def all_of(self, row_type: type[R]) -> list[R]:
        """Return every row of a table, as far as a test makes any."""
        return await self.store.read(lambda view: view.rows(row_type).find(limit=10_000))


@asynccontextmanager
async def open_money(
    url: str, *, clock: ManualClock | None = None, reach: FaultHook = no_faults
) -> AsyncIterator[OpenMoney]:
    """Open ledger and money store of a database; at the end the books must balance."""
    async with open_ledger(url, clock=clock, reach=reach) as books:
        assert books.database is not None
        assert isinstance(books.store, SqlLedgerStore)
        opened = OpenMoney(SqlMoneyStore(books.database, books.store, books.ledger, books.clock), books, url)
        yield opened
        assert await books.findings() == []
        assert opened.is_bare or await opened.broken_promises() == []


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again until it holds."""
    async with asyncio.timeout(60):
        while not await look():  # noqa: ASYNC110 - what a worker commits in its own time
            await asyncio.sleep(0.01)


@pytest.fixture(params=["sqlite", "postgresql"])
async def money(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenMoney]:
    """An open money store on each database."""
    with database_url(request.param, tmp_path) as url:
        async with open_money(url) as opened:
            yield opened
