"""What people see: one Rich console for answers (stdout), one for progress and errors (stderr)."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from hushnet.foundation.errors import HushnetError
from hushnet.foundation.redaction import redact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@cache
def out() -> Console:
    """The console for what the command was asked for."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


@cache
def err() -> Console:
    """The console for progress, notices and errors: never part of piped output."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one line of JSON for a script."""
    sys.stdout.write(json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def table(*columns: str, numeric: frozenset[str] = frozenset()) -> Table:
    """Make a plain table; columns in `numeric` are right-aligned."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    return made


def print_error(error: HushnetError) -> None:
    """Print an error, its code and its hint to stderr, with anything that looks like a key removed."""
    from rich.markup import escape

    err().print(f"[bold red]error[/] ({error.error_code}): {escape(redact(str(error)))}")
    if hint := error.hint():
        err().print(f"  [dim]hint:[/] {escape(redact(hint))}")


def silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit can't fail on a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
