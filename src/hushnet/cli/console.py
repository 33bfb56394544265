"""What people see: one Rich console for answers (stdout), one for progress and errors (stderr)."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from hushnet.foundation.errors import HushnetError
from hushnet.foundation.redaction import redact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# A file and a pipe have no edge: a table there is one line a row.
WIDTH_OF_A_FILE: Final = 4096


@cache
def out() -> Console:
    """The console for what the command was asked for."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)


@cache
def err() -> Console:
    """The console for progress, notices and errors: never part of piped output; at a terminal it wraps at words."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(value: Any) -> None:
    """Print one line of JSON for a script."""
    sys.stdout.write(json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain(text: object) -> str:
    """Return text that somebody else chose (a name, a note, a reason) so that it is printed as it is: `[/]` is no markup."""
    from rich.markup import escape

    return escape(str(text))


def table(*columns: str, numeric: frozenset[str] = frozenset(), whole: frozenset[str] = frozenset()) -> Table:
    """Make a plain table; columns in `numeric` are right-aligned, and they and those in `whole` are never broken."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        is_numeric = column in numeric
        made.add_column(
            column,
            justify="right" if is_numeric else "left",
            overflow="fold",
            no_wrap=is_numeric or column in whole,
        )
    return made


def print_table(made: Table) -> None:
    """Print a table as the answer; where its unbroken columns don't fit, the terminal breaks the line and nothing is lost."""
    from rich.measure import Measurement

    console = out()
    wide = console.options.update(max_width=WIDTH_OF_A_FILE)
    for column in made.columns:
        if column.no_wrap:  # Rich counts the longest word of a cell, and would cut the rest off
            cells = (column.header, *column.cells)
            column.min_width = max(Measurement.get(console, wide, cell).maximum for cell in cells)
    least = Measurement.get(console, wide, made).minimum
    made.width = least if least > console.width else None
    console.print(made)


def print_error(error: HushnetError) -> None:
    """Print an error, its code and its hint to stderr, with anything that looks like a key removed."""
    from rich.markup import escape

    err().print(f"[bold red]error[/] ({error.error_code}): {escape(redact(str(error)))}")
    if hint := error.hint():
        err().print(f"  [dim]hint:[/] {escape(redact(hint))}")


def silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit can't fail on a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
