"""Archiving takes rows out and nothing else: totals, roots, proofs and checks are as they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hushnet.cli.ledger.proofs import verified_folder
from hushnet.coordinator.ledger.books.archived import NOTHING
from hushnet.coordinator.ledger.books.check import Finding, check_books
from hushnet.coordinator.ledger.books.days import DAY_MS
from hushnet.coordinator.ledger.books.keeper import BookKeeper, BookKeys
from hushnet.coordinator.ledger.model import AlreadyPosted, CapUse, Code, Fact, Held, Invalid, Unknown
from hushnet.coordinator.ledger.reports.model import Scope
from hushnet.coordinator.ledger.reports.statement import statement_csv
from hushnet.coordinator.storage.books.archives import archived
from hushnet.coordinator.storage.books.archiving import DAYS_KEPT_MIN, Archives, archive_transfers, known_digests
from hushnet.coordinator.storage.books.days import SqlDayStore
from hushnet.coordinator.storage.books.exporting import export_books
from hushnet.coordinator.storage.books.keys import load_book_keys
from hushnet.coordinator.storage.books.reports import SqlReportStore
from hushnet.coordinator.storage.books.watched import WatchedBooks
from hushnet.coordinator.storage.database import Database
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import ConfigurationError, RequestError
from support.ledger import CONSUMER, PROVIDER, OpenLedger, database_url, open_ledger, post, void

DAY = 20_400
OLD_DAYS = 3


@dataclass
class Old:
    """Books of three old days and one of today."""

    books: OpenLedger
    keeper: BookKeeper
    keys: BookKeys
    folder: Path

    @property
    def database(self) -> Database:
        assert self.books.database is not None
        return self.books.database

    async def archive(self, name: str = "archive", *, before_day: int = DAY + OLD_DAYS) -> Path:
        now_ms = self.books.clock.now_ms()
        folder = self.folder / name
        await archive_transfers(self.database, folder, before_day=before_day, now_ms=now_ms, network="net")
        return folder

    async def check(self, *archives: Path) -> list[Finding]:
        """Check what is there, with the archives or without."""

        def work(connection: object) -> list[Finding]:
            given = Archives(archives) if archives else None
            books = WatchedBooks(connection, lambda _what, _count: None, given)  # type: ignore[arg-type] - a connection
            if given is None:
                return check_books(books, archived(connection))  # type: ignore[arg-type] - a connection
            return given.findings(known_digests(connection)) + check_books(books, NOTHING)  # type: ignore[arg-type] - a connection

        return await self.database.read(work)

    async def shown(self) -> tuple[object, ...]:
        """Return everything that archiving must leave as it is."""
        rows = [await self.keeper.day(day) for day in range(DAY, DAY + OLD_DAYS)]
        self.keeper._trees.clear()
        proofs = [await self.keeper.proofs(row, owner) for row in rows for owner in (CONSUMER, PROVIDER)]
        balances = [await self.books.ledger.balance(owner) for owner in (CONSUMER, PROVIDER)]
        usage = await self.books.ledger.usage(CONSUMER)
        return rows, [await self.keeper.root(row.day) for row in rows], proofs, balances, usage

    async def execute(self, statement: str) -> None:
        await self.database.write(lambda connection: connection.execute(text(statement)) and None)


@pytest.fixture(params=["sqlite", "postgresql"])
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Old]:
    with database_url(request.param, tmp_path) as url:
        async with open_ledger(url, clock=ManualClock(DAY * DAY_MS + 7_200_000)) as books:
            keys = await asyncio.to_thread(load_book_keys, tmp_path)
            assert books.database is not None
            keeper = BookKeeper(SqlDayStore(books.database), keys, books.clock, network="net")
            for _ in range(OLD_DAYS):
                await books.give(CONSUMER, promo=30, paid=500)
                await books.ledger.close(post(*await books.held(80), 60, 10))
                await books.ledger.close(void(*await books.held(20)))
                late = await books.held(11)
                await books.advance(DAY_MS / 1000)
                await books.ledger.close(post(*late, 5))
            await books.advance(DAYS_KEPT_MIN * DAY_MS / 1000)
            await books.ledger.close(post(*await books.held(9), 9))
            await keeper.close_due()
            yield Old(books, keeper, keys, tmp_path)


async def test_archiving_keeps_totals_root_and_proofs(old: Old) -> None:
    before = await old.shown()
    folder = await old.archive()
    assert await old.shown() == before
    assert await old.check() == []
    assert await old.check(folder) == []
    left = await old.books.store.inspect(lambda view: list(view.transfers()))
    assert len(left) == 2
    await old.books.ledger.close(post(*await old.books.held(70), 60))
    await old.books.advance(DAY_MS / 1000)
    (row,) = await old.keeper.close_due()
    assert row.findings == ()
    assert await old.check(folder) == []
    export = old.folder / "export"
    await old.database.read(
        lambda connection: export_books(
            connection, export, old.keys, network="net", now_ms=1, progress=lambda _what, _count: None
        )
    )
    assert verified_folder(export, None) == []


async def test_archives_follow_one_another(old: Old) -> None:
    first = await old.archive("first", before_day=DAY + 1)
    second = await old.archive("second")
    assert await old.check() == []
    assert await old.check(second, first) == []
    with pytest.raises(ConfigurationError, match="not the archives"):
        await old.check(second)
    with pytest.raises(RequestError, match="nothing as old"):
        await old.archive("third")


async def test_a_row_that_is_missing_or_altered_shows_beside_an_archive(old: Old) -> None:
    folder = await old.archive()
    path = folder / "ledger_transfers.csv"
    path.write_text(path.read_text().replace(",30,", ",31,", 1))
    assert {"file", "B8"} <= {finding.invariant for finding in await old.check(folder)}
    await old.execute("UPDATE ledger_archives SET row_count = row_count - 1")
    assert ("B8", "archive") in {(finding.invariant, finding.subject) for finding in await old.check()}
    await old.execute("UPDATE ledger_archives SET row_count = row_count + 1")
    await old.execute("UPDATE ledger_archived_sums SET credits = credits + 1 WHERE credits > 0")
    assert {finding.invariant for finding in await old.check()} == {"B3"}


async def test_rows_are_as_immutable_after_an_archive_as_before(old: Old) -> None:
    await old.archive()
    with pytest.raises(DBAPIError, match="immutable"):
        await old.execute("DELETE FROM ledger_transfers")
    assert await old.check() == []


async def test_what_must_stay_is_not_archived(old: Old) -> None:
    with pytest.raises(RequestError, match="stay"):
        await old.archive(before_day=DAY + OLD_DAYS + DAYS_KEPT_MIN)
    await old.books.set_cap(1, 1000)
    hold = old.books.new_hold(5, caps=(CapUse(1, 0),))
    assert isinstance(await old.books.ledger.hold(hold), Held)
    await old.execute("UPDATE ledger_holds SET id = 2")
    with pytest.raises(RequestError, match="hold as old"):
        await old.archive("kept")
    await old.execute(f"UPDATE ledger_holds SET id = {hold.id}")
    assert await old.check() == []


async def test_an_archived_key_and_id_are_never_used_again(old: Old) -> None:
    facts = await old.books.store.inspect(lambda view: list(view.facts()))
    settled = await old.books.ledger.usage(CONSUMER)
    await old.archive()
    oldest = settled[-1]
    hold = old.books.new_hold(5)
    again = await old.books.ledger.hold(type(hold)(oldest.id, CONSUMER, 80, hold.expires_ms))
    assert isinstance(again, Invalid)
    closed = await old.books.ledger.close(post(type(hold)(oldest.id, CONSUMER, 80, 1), Held(30, 50, 0), 60))
    assert isinstance(closed, Unknown)
    key = facts[0].key
    told = await old.books.ledger.fact(Fact(key, Code.ADJUSTMENT, (), actor="test", owner=CONSUMER))
    assert not isinstance(told, AlreadyPosted)
    assert await old.check() == []


async def test_a_statement_of_archived_days_is_refused_and_not_wrong(old: Old) -> None:
    store = SqlReportStore(old.database)
    to_ms = old.books.clock.now_ms() + 1
    kept = [each async for each in statement_csv(store, Scope(CONSUMER, from_ms=DAY * DAY_MS, to_ms=to_ms))]
    await old.archive()
    with pytest.raises(RequestError) as raised:
        await anext(statement_csv(store, Scope(CONSUMER, from_ms=DAY * DAY_MS, to_ms=to_ms)))
    assert raised.value.error_code == "archived"
    with pytest.raises(RequestError):
        await store.income(Scope(CONSUMER))
    later = Scope(CONSUMER, from_ms=(DAY + OLD_DAYS + 1) * DAY_MS, to_ms=to_ms)
    now = [each async for each in statement_csv(store, later)]
    assert now[-1] == kept[-1]
