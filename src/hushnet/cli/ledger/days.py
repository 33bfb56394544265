"""`hush ledger close`, `trial`, `root`: days of the books."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import typer

from hushnet.cli import console
from hushnet.cli.ledger.app import DatabaseUrl, Day, app, day_number, progress, reader_of, settings_of
from hushnet.cli.ledger.check import print_trial, trial_totals
from hushnet.cli.options import AsJson, Home
from hushnet.coordinator.app.initialise import prepare_files
from hushnet.coordinator.ledger.books.days import DayBalance, DayRow, day_text
from hushnet.coordinator.ledger.books.keeper import BookKeeper, not_closed
from hushnet.coordinator.ledger.books.published import root_fields
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage import Database
from hushnet.coordinator.storage.books.days import SqlDayStore
from hushnet.coordinator.storage.books.keys import load_book_keys
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.money import format_usd


@app.command("close")
def close(home: Home = None, database: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Close every day that is due; a running coordinator does so by itself five minutes after midnight (UTC).

    On SQLite the coordinator must not be running. Repeating it changes nothing. The exit status is 1 when the balances of
    a day that was closed do not explain the accounts.
    """
    settings = settings_of(home, database)
    with progress("closing days"):
        rows = asyncio.run(_close(settings))
    if as_json:
        console.print_json([{**root_fields(row, network=settings.network), "findings": row.findings} for row in rows])
    else:
        print_days(rows)
    if any(row.findings for row in rows):
        raise typer.Exit(1)


@app.command("trial")
def trial(day: Day = None, home: Home = None, database: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show the trial balance of a closed day: what each kind of account held at its end, and that it sums to nothing."""
    row, balances = asyncio.run(_balances(settings_of(home, database), day_number(day)))
    totals = trial_totals((each.account, each.balance) for each in balances)
    if as_json:
        console.print_json({"day": day_text(row.day), "totals": totals})
        return
    console.out().print(f"[bold]{day_text(row.day)}[/], {len(balances)} accounts")
    print_trial(totals)


@app.command("root")
def root(day: Day = None, home: Home = None, database: DatabaseUrl = None) -> None:
    """Print the signed root of a closed day, as `/v1/ledger/root` publishes it: one line of JSON."""
    console.print_json(asyncio.run(_root(settings_of(home, database), day_number(day))))


def print_days(rows: Sequence[DayRow]) -> None:
    if not rows:
        console.out().print("no day is due")
        return
    numbers = frozenset({"owed to owners", "leaves"})
    table = console.table("day", "owed to owners", "leaves", "root", "", numeric=numbers, whole=frozenset({"day"}))
    for row in rows:
        state = f"[red]{row.findings[0]}[/]" if row.findings else "[green]balanced[/]"
        table.add_row(day_text(row.day), format_usd(row.liabilities), str(row.leaves), row.root.hex(), state)
    console.print_table(table)


async def _close(settings: CoordinatorSettings) -> list[DayRow]:
    prepare_files(settings)
    database = await Database.open(settings.database.reveal())
    try:
        return await keeper_of(settings, database).close_due()
    finally:
        await database.aclose()


async def _balances(settings: CoordinatorSettings, day: int | None) -> tuple[DayRow, list[DayBalance]]:
    async with reader_of(settings) as reader:
        store = SqlDayStore(reader)
        row = await store.day(day)
        if row is None:
            raise not_closed(day)
        return row, await store.inspect_days(lambda books: list(books.balances(row.day)))


async def _root(settings: CoordinatorSettings, day: int | None) -> dict[str, object]:
    async with reader_of(settings) as reader:
        return await keeper_of(settings, reader, is_new=False).root(day)


def keeper_of(settings: CoordinatorSettings, database: Database, *, is_new: bool = True) -> BookKeeper:
    """Make a keeper with the files of the coordinator's home; without `is_new` they must be there."""
    keys = load_book_keys(settings.home, is_new=is_new)
    return BookKeeper(SqlDayStore(database), keys, SystemClock(), network=settings.network)
