"""`hush ledger export`, `archive`, `statement`: the whole books, the oldest rows, and one owner's account, as files."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.ledger.app import DatabaseUrl, app, day_number, progress, reader_of, settings_of
from hushnet.cli.options import Home
from hushnet.coordinator.app.initialise import prepare_files
from hushnet.coordinator.ledger.books.days import DAY_MS, day_of
from hushnet.coordinator.ledger.reports.model import Scope
from hushnet.coordinator.ledger.reports.statement import statement_csv
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage import Database
from hushnet.coordinator.storage.books.archiving import archive_transfers
from hushnet.coordinator.storage.books.exporting import Manifest, export_books
from hushnet.coordinator.storage.books.keys import load_book_keys
from hushnet.coordinator.storage.books.reports import SqlReportStore
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.ids import AccountId

_DAYS_DEFAULT = 30


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Where to; it must not be there yet, or be empty.")],
    home: Home = None,
    database: DatabaseUrl = None,
) -> None:
    """Write the books as files that anybody can verify with `hush ledger verify FOLDER`: rows, chain, days, roots.

    One snapshot, beside a live coordinator. It shows what everybody is owed: give it to an auditor, don't publish it.
    """
    with progress("exporting") as note:
        manifest = asyncio.run(_export(settings_of(home, database), folder, note))
    _print_files(manifest)


@app.command("archive")
def archive(
    folder: Annotated[Path, typer.Argument(help="Where to; it must not be there yet, or be empty.")],
    before: Annotated[
        str, typer.Option("--before", help="Transfers that began before this day.", metavar="YYYY-MM-DD")
    ],
    home: Home = None,
    database: DatabaseUrl = None,
) -> None:
    """Move the oldest transfers out of the database into a folder; balances, facts, usage, days, roots and proofs stay.

    Only what a closed day covers. On SQLite the coordinator must not be running. Keep the folder: `check --archive` reads it.
    """
    day = day_number(before)
    assert day is not None, "the option is required"
    with progress("archiving") as note:
        manifest = asyncio.run(_archive(settings_of(home, database), folder, day, note))
    _print_files(manifest)


@app.command("statement")
def statement(
    owner: Annotated[int, typer.Argument(help="The account's id.", min=1)],
    start: Annotated[
        str | None, typer.Option("--from", help="The first day, UTC (default: 30 days back).", metavar="YYYY-MM-DD")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The last day, UTC (default: now).", metavar="YYYY-MM-DD")
    ] = None,
    home: Home = None,
    database: DatabaseUrl = None,
) -> None:
    """Print one account's statement as CSV: opening balances, every movement, closing balances, a column a bucket."""
    first, last, now_ms = day_number(start), day_number(end), SystemClock().now_ms()
    to_ms = now_ms if last is None else min((last + 1) * DAY_MS, now_ms)
    from_ms = (day_of(to_ms) - _DAYS_DEFAULT + 1 if first is None else first) * DAY_MS
    if from_ms >= to_ms:
        raise typer.BadParameter("--from must be before --to, and not in the future")
    asyncio.run(_statement(settings_of(home, database), Scope(AccountId(owner), from_ms=from_ms, to_ms=to_ms)))


def _print_files(manifest: Manifest) -> None:
    for name, entry in manifest.files.items():
        console.out().print(f"{entry.rows:>12,}  {name}")


async def _archive(settings: CoordinatorSettings, folder: Path, day: int, note: Callable[[str, int], None]) -> Manifest:
    prepare_files(settings)
    database = await Database.open(settings.database.reveal())
    try:
        now_ms = SystemClock().now_ms()
        return await archive_transfers(
            database, folder, before_day=day, now_ms=now_ms, network=settings.network, progress=note
        )
    finally:
        await database.aclose()


async def _export(settings: CoordinatorSettings, folder: Path, note: Callable[[str, int], None]) -> Manifest:
    keys = load_book_keys(settings.home, is_new=False)
    async with reader_of(settings) as reader:
        with storage_faults():
            return await reader.read(
                lambda connection: export_books(
                    connection,
                    folder,
                    keys,
                    network=settings.network,
                    now_ms=SystemClock().now_ms(),
                    progress=note,
                )
            )


async def _statement(settings: CoordinatorSettings, scope: Scope) -> None:
    async with reader_of(settings) as reader:
        async for piece in statement_csv(SqlReportStore(reader), scope):
            sys.stdout.write(piece)
    sys.stdout.flush()
