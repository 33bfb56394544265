"""What the commands of `hush ledger` share: the group, the options that find a database, progress on long work."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.coordinator.ledger.books.days import day_text, parse_day
from hushnet.coordinator.settings import CoordinatorSettings, load_settings
from hushnet.coordinator.storage import Database

app = typer.Typer()

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="sqlite:///PATH or postgresql://... (HUSH_DATABASE).", metavar="URL"),
]
Day = Annotated[str | None, typer.Option("--day", help="A closed day (default: the newest).", metavar="YYYY-MM-DD")]


@app.callback()
def group() -> None:
    """Check, close, export and prove the books."""


def settings_of(home: Path | None, database: str | None) -> CoordinatorSettings:
    return load_settings(flags={"home": home, "database": database}, environ=os.environ)


@asynccontextmanager
async def reader_of(settings: CoordinatorSettings) -> AsyncIterator[Database]:
    """Open the coordinator's database for reading only, also beside a live coordinator."""
    reader = await Database.open_reader(settings.database.reveal())
    try:
        yield reader
    finally:
        await reader.aclose()


def day_number(text: str | None) -> int | None:
    """Read a day that was typed; raises `typer.BadParameter`."""
    if text is None:
        return None
    day = parse_day(text)
    if day is None:
        raise typer.BadParameter(f"{text} is no day: write one like {day_text(0)}")
    return day


@contextmanager
def progress(doing: str) -> Iterator[Callable[[str, int], None]]:
    """Show on a terminal's stderr how far long work is; elsewhere say nothing. Yields what is told (what, how many)."""
    if not sys.stderr.isatty():
        yield lambda _what, _count: None
        return
    with console.err().status(doing) as status:
        yield lambda what, count: status.update(f"{doing}: {what} {count:,}")
