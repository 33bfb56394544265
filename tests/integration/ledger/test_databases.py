"""Opening databases: one writer, readers beside it, one line of revisions, and clear words when it cannot be."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from hushnet.coordinator.ledger.books.check import check
from hushnet.coordinator.storage import Database, migrations, open_ledger_store
from hushnet.coordinator.storage.tables import LEDGER, transfers
from hushnet.foundation.errors import ConfigurationError, StorageError
from support.ledger import CONSUMER, open_ledger, post
from support.postgres import fresh_database

IMMUTABLE = ("ledger_transfers", "ledger_facts", "ledger_batches")


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.db'}"


async def test_a_second_process_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from hushnet.coordinator.storage import Database\n"
        "try: asyncio.run(Database.open(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    database = await Database.open(sqlite_url(tmp_path))
    try:
        second = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", script, sqlite_url(tmp_path)], capture_output=True, text=True
        )
    finally:
        await database.aclose()

    assert second.stdout.startswith("ConfigurationError")
    assert f"(pid {os.getpid()})" in second.stdout


async def test_a_database_given_up_can_be_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        database = await Database.open(sqlite_url(tmp_path))
        await database.aclose()
        await database.aclose()
        with pytest.raises(StorageError):
            await database.read(lambda connection: connection.execute(text("SELECT 1")))


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    database = await Database.open(sqlite_url(tmp_path))
    await database.write(lambda connection: connection.execute(text("DELETE FROM ledger_caps")) and None)
    modes = await asyncio.to_thread(lambda: {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()})
    await database.aclose()

    assert modes == {0o600}


async def test_the_books_are_checked_beside_a_live_ledger(ledger_url: str) -> None:
    async with open_ledger(ledger_url) as books:
        await books.give(CONSUMER, promo=100)
        pair = await books.held(10)
        reader = await Database.open_reader(ledger_url)
        try:
            store = open_ledger_store(reader)
            assert await check(store) == []
            await books.ledger.close(post(*pair, 5))
            assert await check(store) == []
            with pytest.raises(StorageError):
                await reader.write(lambda connection: connection.execute(text("DELETE FROM ledger_holds")))
            with pytest.raises(DBAPIError):
                await reader.read(lambda connection: connection.execute(text("DELETE FROM ledger_holds")))
        finally:
            await reader.aclose()


async def test_a_read_sees_one_moment_while_the_writer_goes_on(tmp_path: Path) -> None:
    async with open_ledger(sqlite_url(tmp_path)) as books:
        database = books.database
        assert database is not None
        loop = asyncio.get_running_loop()
        count = select(func.count()).select_from(transfers)

        def twice(connection: Connection) -> tuple[int, int]:
            before = connection.execute(count).scalar_one()
            asyncio.run_coroutine_threadsafe(books.give(CONSUMER, promo=1), loop).result(10)
            return before, connection.execute(count).scalar_one()

        assert await database.read(twice) == (0, 0)


async def test_an_exception_undoes_the_whole_transaction(ledger_url: str) -> None:
    database = await Database.open(ledger_url)
    insert = text("INSERT INTO ledger_caps (id, scope, subject, period, ceiling) VALUES (1, 2, 1, 1, 5)")

    def fail(connection: Connection) -> None:
        connection.execute(insert)
        raise KeyError("no")

    try:
        with pytest.raises(KeyError):
            await database.write(fail)
        assert (
            await database.read(
                lambda connection: connection.execute(text("SELECT count(*) FROM ledger_caps")).scalar()
            )
            == 0
        )
    finally:
        await database.aclose()


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://root@localhost/x"])
async def test_what_names_no_database_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        await Database.open(url)


async def test_a_database_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        await Database.open_reader(sqlite_url(tmp_path))
    with pytest.raises(StorageError, match="cannot be opened"):
        await Database.open("sqlite:////proc/no/such.db")
    with fresh_database() as url, pytest.raises(StorageError, match="cannot be opened"):
        await Database.open(url.replace("/test_", "/gone_"))


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("somebody's notes")
    file.chmod(0o644)
    was = file.stat()

    with pytest.raises(ConfigurationError, match="no SQLite database"):
        await Database.open(sqlite_url(tmp_path))

    now = file.stat()
    assert (now.st_mode, now.st_mtime_ns, now.st_size) == (was.st_mode, was.st_mtime_ns, was.st_size)
    assert not file.with_name("ledger.db.lock").exists()


async def test_a_schema_of_another_release_is_refused(ledger_url: str) -> None:
    database = await Database.open(ledger_url)
    await database.write(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999_later'")) and None
    )
    await database.aclose()

    for opening in (Database.open(ledger_url), Database.open_reader(ledger_url)):
        with pytest.raises(ConfigurationError, match="newer"):
            await opening


def test_revisions_are_one_line_named_after_their_files() -> None:
    from alembic.script import ScriptDirectory

    folder = Path(migrations.__file__).parent
    revisions = list(ScriptDirectory(str(folder)).walk_revisions())[::-1]

    names = [revision.revision for revision in revisions]
    assert names == sorted(file.stem for file in (folder / "versions").glob("[0-9]*.py"))
    assert [revision.down_revision for revision in revisions] == [None, *names[:-1]]


async def test_the_tables_are_those_of_the_revisions(ledger_url: str) -> None:
    database = await Database.open(ledger_url)
    try:
        found = MetaData()
        await database.read(lambda connection: found.reflect(connection, only=list(LEDGER.tables)))
    finally:
        await database.aclose()

    for name, table in LEDGER.tables.items():
        assert [column.name for column in table.columns] == [column.name for column in found.tables[name].columns]
        assert [column.name for column in table.primary_key] == [
            column.name for column in found.tables[name].primary_key
        ]


async def test_transfers_cannot_be_updated_deleted_truncated_or_replaced(ledger_url: str) -> None:
    async with open_ledger(ledger_url) as books:
        await books.give(CONSUMER, promo=100)
        database = books.database
        assert database is not None
        attempts = [
            statement
            for table, column in zip(IMMUTABLE, ("amount", "owner", "row_count"), strict=True)
            for statement in (f"UPDATE {table} SET {column} = {column} + 1", f"DELETE FROM {table}")
        ]
        if database.dialect == "postgresql":
            attempts += [f"TRUNCATE {table}" for table in IMMUTABLE]
        else:
            attempts += [f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}" for table in IMMUTABLE]

        for attempt in attempts:
            with pytest.raises(DBAPIError, match="immutable"):
                await database.write(lambda connection, attempt=attempt: connection.execute(text(attempt)) and None)
        assert await books.findings() == []


async def test_a_changed_row_breaks_the_chain(ledger_url: str) -> None:
    async with open_ledger(ledger_url) as books:
        await books.give(CONSUMER, promo=100)
        database = books.database
        assert database is not None
        if database.dialect == "postgresql":
            unlock = ["ALTER TABLE ledger_transfers DISABLE TRIGGER immutable"]
        else:
            unlock = ["DROP TRIGGER ledger_transfers_unchanged"]
        for statement in [*unlock, "UPDATE ledger_transfers SET at_ms = at_ms - 1"]:
            await database.write(lambda connection, statement=statement: connection.execute(text(statement)) and None)

        assert [finding.invariant for finding in await books.findings()] == ["B8"]


async def test_balances_rederive_from_transfers(ledger_url: str) -> None:
    async with open_ledger(ledger_url) as books:
        await books.give(CONSUMER, promo=100)
        database = books.database
        assert database is not None
        statement = text("UPDATE ledger_accounts SET credits = credits + 1 WHERE owner > 0")
        await database.write(lambda connection: connection.execute(statement) and None)

        assert {finding.invariant for finding in await books.findings()} == {"B1", "B3"}


async def test_the_database_itself_refuses_an_account_below_its_floor(ledger_url: str) -> None:
    async with open_ledger(ledger_url) as books:
        await books.give(CONSUMER, promo=100)
        database = books.database
        assert database is not None
        for change in ("debits = debits + 101", "held = 101", "held = -1", "credits = -1"):
            statement = text(f"UPDATE ledger_accounts SET {change} WHERE owner > 0")
            with pytest.raises(DBAPIError):
                await database.write(lambda connection, statement=statement: connection.execute(statement) and None)


async def test_secondary_indexes_are_where_statements_look(ledger_url: str) -> None:
    database = await Database.open(ledger_url)
    try:
        indexes = await database.read(
            lambda connection: {
                index["name"]
                for table in ("ledger_facts", "usage_records")
                for index in inspect(connection).get_indexes(table)
            }
        )
    finally:
        await database.aclose()

    assert {"ledger_facts_owner", "usage_owner", "usage_provider"} <= indexes
