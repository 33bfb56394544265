"""`hush ledger check`: prove that the books balance, beside a live coordinator or without one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from hushnet.cli import console
from hushnet.cli.ledger.app import DatabaseUrl, app, progress, reader_of, settings_of
from hushnet.cli.options import AsJson, Home
from hushnet.coordinator.ledger.books.archived import NOTHING
from hushnet.coordinator.ledger.books.check import Finding, check_books
from hushnet.coordinator.ledger.books.promises import check_promises
from hushnet.coordinator.ledger.chart import USD, account_info
from hushnet.coordinator.storage.books.archives import archived
from hushnet.coordinator.storage.books.archiving import Archives, known_digests
from hushnet.coordinator.storage.books.promises import SqlPromises
from hushnet.coordinator.storage.books.watched import WatchedBooks
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.foundation.money import format_usd


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of one pass over the books: what is wrong, and the trial balance by kind of account and asset."""

    findings: tuple[Finding, ...]
    transfers: int
    open_holds: int
    totals: dict[str, int]


@app.command("check")
def check(
    archive: Annotated[
        list[Path] | None,
        typer.Option("--archive", help="A folder that `archive` wrote; name all, and every row is checked again."),
    ] = None,
    home: Home = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every balance from the transfers, compare them with payouts, refunds and payments, and verify the chain.

    One snapshot, beside a live coordinator. The exit status is 1 when anything is wrong, and each finding names its row.
    """
    with progress("checking the books") as note:
        checked = asyncio.run(checked_books(home=home, database=database, note=note, archives=archive or ()))
    if as_json:
        console.print_json(asdict(checked))
    else:
        print_checked(checked)
    if checked.findings:
        raise typer.Exit(1)


async def checked_books(
    *,
    home: Path | None,
    database: str | None,
    note: Callable[[str, int], None] = lambda _what, _count: None,
    archives: Sequence[Path] = (),
) -> Checked:
    """Open the database for reading only and check everything in it, with `archives` what was taken out as well."""
    given = Archives(archives) if archives else None
    async with reader_of(settings_of(home, database)) as reader:
        with storage_faults():
            return await reader.read(lambda connection: _inspect(connection, note, given))


def print_checked(checked: Checked) -> None:
    """Print the trial balance and the findings."""
    print_trial(checked.totals)
    console.out().print(f"{checked.transfers} transfers, {checked.open_holds} open holds")
    print_findings(checked.findings)


def print_findings(findings: Iterable[Finding]) -> None:
    found = list(findings)
    for finding in found:
        console.out().print(f"[red]{finding.invariant}[/] {console.plain(f'{finding.subject}: {finding.detail}')}")
    console.out().print("[red]the books do not balance[/]" if found else "[green]the books balance[/]")


def print_trial(totals: dict[str, int]) -> None:
    """Print balances by kind and asset, dollars first, with the sum of each asset."""
    table = console.table("account kind", "balance", numeric=frozenset({"balance"}))
    for asset in sorted({_asset_of(name) for name in totals}, key=lambda asset: (asset != USD, asset)):
        amounts = {name: amount for name, amount in sorted(totals.items()) if _asset_of(name) == asset}
        written = format_usd if asset == USD else "{:,}".format
        for name, amount in amounts.items():
            table.add_row(name, written(amount))
        heading = "sum" if asset == USD else f"sum {asset}"
        table.add_row(f"[bold]{heading}[/]", f"[bold]{written(sum(amounts.values()))}[/]")
    console.out().print(table)


def trial_totals(balances: Iterable[tuple[int, int]]) -> dict[str, int]:
    """Sum (account, balance) by kind; a coin's kinds carry the asset: `fx_coin BTC.bitcoin`."""
    totals: Counter[str] = Counter()
    for account, balance in balances:
        info = account_info(account)
        kind = info.kind.name.lower() if info else "unknown"
        totals[kind if info is None or info.asset == USD else f"{kind} {info.asset}"] += balance
    return dict(totals)


def _asset_of(name: str) -> str:
    return name.partition(" ")[2] or USD


def _inspect(connection: Connection, note: Callable[[str, int], None], archives: Archives | None) -> Checked:
    books = WatchedBooks(connection, note, archives)
    findings = [] if archives is None else archives.findings(known_digests(connection))
    findings += check_books(books, NOTHING if archives is not None else archived(connection))
    findings += check_promises(books, SqlPromises(connection))
    return Checked(
        findings=tuple(findings),
        transfers=books.seen["ledger_transfers"],
        open_holds=books.seen["ledger_holds"],
        totals=trial_totals((row.id, row.credits - row.debits) for row in books.accounts()),
    )
