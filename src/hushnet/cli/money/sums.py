"""Sums by day, model, key or machine, as `hush usage` and `hush earnings` show them: a table, JSON, or CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from hushnet.cli import console
from hushnet.foundation.money import format_usd

From = Annotated[
    str | None, typer.Option("--from", help="The first day, UTC (default: 30 days back).", metavar="YYYY-MM-DD")
]
To = Annotated[str | None, typer.Option("--to", help="The last day, UTC (default: now).", metavar="YYYY-MM-DD")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV; amounts are in micro-USD.")]

_COUNTS: Final = {
    "requests": "requests",
    "input_tokens": "input",
    "cached_tokens": "cached",
    "output_tokens": "output",
}
_MACHINE_SHOWN: Final = 12


def query(path: str, **parameters: str | None) -> str:
    """Return a path with those parameters that are given."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def print_sums(found: Mapping[str, Any], parts: Sequence[str], amount: str, heading: str) -> None:
    """Print a line a group, and the totals."""
    numbers = (*_COUNTS.values(), heading)
    table = console.table(*parts, *numbers, numeric=frozenset(numbers), whole=frozenset({"day", "key"}))
    for row in found["data"]:
        table.add_row(*(_part(part, row[part]) for part in parts), *_numbers(row, amount))
    total = _numbers(found["totals"], amount)
    table.add_row("[bold]total[/]", *[""] * (len(parts) - 1), *(f"[bold]{number}[/]" for number in total))
    console.print_table(table)


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of one shape with their names in the first line."""
    if rows:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    sys.stdout.flush()


def _numbers(row: Mapping[str, Any], amount: str) -> list[str]:
    return [*(f"{row[name]:,}" for name in _COUNTS), format_usd(row[amount])]


def _part(part: str, value: str) -> str:
    from rich.markup import escape

    return escape(value[:_MACHINE_SHOWN] if part == "machine" else value) or "-"
