"""What a power failure may take from SQLite's books: holds alone, and then nothing that was worth keeping."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hushnet.coordinator.ledger.check import check
from hushnet.coordinator.ledger.model import Closed
from hushnet.coordinator.storage.database_sqlite import SqliteDatabase
from support.ledger import CONSUMER, OpenLedger, open_ledger, post

FILES = ("ledger.db", "ledger.db-wal")


@asynccontextmanager
async def books_in(folder: Path) -> AsyncIterator[OpenLedger]:
    async with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as books:
        yield books


async def statements_of(books: OpenLedger) -> list[str]:
    """Return the list to which the writer's connection adds what it runs, from now on."""
    seen: list[str] = []
    database = books.database
    assert isinstance(database, SqliteDatabase)
    await database.write_raw(lambda raw: raw.set_trace_callback(seen.append))
    return seen


async def safety_of(books: OpenLedger) -> int:
    def read(raw: sqlite3.Connection) -> int:
        return int(raw.execute("PRAGMA synchronous").fetchone()[0])

    assert isinstance(books.database, SqliteDatabase)
    return await books.database.write_raw(read)


def commits(statements: list[str]) -> list[bool]:
    """Return of each commit whether it waited for the disk."""
    waits, found = True, []
    for statement in statements:
        if statement.startswith("PRAGMA synchronous"):
            waits = statement.endswith("FULL")
        elif statement == "COMMIT":
            found.append(waits)
    return found


async def test_only_commits_of_holds_alone_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    async with books_in(tmp_path) as books:
        await books.give(CONSUMER, promo=1000)
        statements = await statements_of(books)

        hold, parts = await books.held(10)
        assert commits(statements) == [False]
        assert isinstance(await books.ledger.close(post(hold, parts, 10)), Closed)

        assert commits(statements) == [False, True]
        assert await safety_of(books) == 2


async def test_a_refused_hold_leaves_a_connection_that_waits_again(tmp_path: Path) -> None:
    async with books_in(tmp_path) as books:
        await books.hold(10)  # of an account without money: decided and rolled back

        assert await safety_of(books) == 2


async def test_books_that_lost_a_hold_go_on_as_if_it_had_been_released(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with books_in(before) as books:
        await books.give(CONSUMER, promo=1000)
        for name in FILES:  # what the disk has: all up to the last commit that waited
            shutil.copy(before / name, after / name)
        lost, _ = await books.held(600)

    async with books_in(after) as books:
        hold, parts = await books.held(1000)

        assert hold.id > lost.id
        assert isinstance(await books.ledger.close(post(hold, parts, 1000)), Closed)
        assert await check(books.store) == []
