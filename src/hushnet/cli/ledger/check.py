"""`hush ledger`: prove that the books balance, beside a live coordinator or without one."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, Home
from hushnet.coordinator.ledger.books.check import Finding, check_books
from hushnet.coordinator.ledger.chart import account_info
from hushnet.coordinator.ledger.store import Books
from hushnet.coordinator.settings import load_settings
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.foundation.money import format_usd

app = typer.Typer()

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="sqlite:///PATH or postgresql://... (HUSH_DATABASE).", metavar="URL"),
]


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of one pass over the books: what is wrong, and the trial balance by kind of account."""

    findings: tuple[Finding, ...]
    transfers: int
    open_holds: int
    totals: dict[str, int]


@app.callback()
def group() -> None:
    """Check the books."""


@app.command("check")
def check(home: Home = None, database: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Recompute every balance from the transfers and verify the audit chain, in one snapshot.

    Runs beside a live coordinator. The exit status is 1 when anything is wrong, and each finding names its row.
    """
    checked = asyncio.run(checked_books(home=home, database=database))
    if as_json:
        console.print_json(asdict(checked))
    else:
        print_checked(checked)
    if checked.findings:
        raise typer.Exit(1)


async def checked_books(*, home: Path | None, database: str | None) -> Checked:
    """Open the database for reading only and check everything in it."""
    settings = load_settings(flags={"home": home, "database": database}, environ=os.environ)
    reader = await Database.open_reader(settings.database.reveal())
    try:
        return await open_ledger_store(reader).inspect(_inspect)
    finally:
        await reader.aclose()


def print_checked(checked: Checked) -> None:
    """Print the trial balance and the findings."""
    table = console.table("account kind", "balance", numeric=frozenset({"balance"}))
    for kind, amount in sorted(checked.totals.items()):
        table.add_row(kind, format_usd(amount))
    table.add_row("[bold]sum[/]", f"[bold]{format_usd(sum(checked.totals.values()))}[/]")
    console.out().print(table)
    console.out().print(f"{checked.transfers} transfers, {checked.open_holds} open holds")
    for finding in checked.findings:
        console.out().print(f"[red]{finding.invariant}[/] {finding.subject}: {finding.detail}")
    console.out().print("[green]the books balance[/]" if not checked.findings else "[red]the books do not balance[/]")


def _inspect(books: Books) -> Checked:
    findings = check_books(books)
    totals: Counter[str] = Counter()
    for row in books.accounts():
        info = account_info(row.id)
        totals[info.kind.name.lower() if info else "unknown"] += row.credits - row.debits
    return Checked(
        findings=tuple(findings),
        transfers=sum(1 for _ in books.transfers()),
        open_holds=sum(1 for _ in books.holds()),
        totals=dict(totals),
    )
