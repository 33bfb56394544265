"""`hush usage`: what one used and what it cost, summed or request by request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from hushnet.cli import console
from hushnet.cli.money.sums import AsCsv, From, To, print_csv, print_sums, query
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.money import format_usd
from hushnet.sdk.client import Client

_AMOUNT: Final = "cost_micro_usd"
_PAGE_MAX: Final = 100


def command(
    by: Annotated[str, typer.Option("--by", help="day, model or key, or several with commas.")] = "day",
    requests: Annotated[
        int, typer.Option("--requests", help="List this many of the newest requests instead of sums.", min=0)
    ] = 0,
    model: Annotated[str | None, typer.Option("--model", help="Of this model only.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Of this key only; `hush keys list` shows the ids.", metavar="ID")
    ] = None,
    start: From = None,
    end: To = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show what you used and what it cost: by day, model or key, or request by request."""
    asked = {"from": start, "to": end, "model": model, "key": key}
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        if requests:
            rows = _requests(client, asked, requests)
            found: dict[str, Any] = {"data": rows}
        else:
            found = client.request("GET", query("/v1/usage/summary", by=by, **asked))
    if as_json:
        console.print_json(found)
    elif as_csv:
        print_csv(found["data"])
    elif requests:
        _print_requests(found["data"])
    else:
        print_sums(found, by.split(","), _AMOUNT, "cost")


def _requests(client: Client, asked: dict[str, str | None], wanted: int) -> list[dict[str, Any]]:
    """Fetch page after page until there are enough."""
    rows: list[dict[str, Any]] = []
    before = None
    while len(rows) < wanted:
        limit = str(min(_PAGE_MAX, wanted - len(rows)))
        page = client.request("GET", query("/v1/usage", limit=limit, before=before, **asked))
        rows += page["data"]
        if not page["has_more"]:
            break
        before = rows[-1]["id"]
    return rows


def _print_requests(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape

    numbers = ("input", "cached", "output", "cost")
    columns = ("request", "settled", "model", "outcome")
    table = console.table(*columns, *numbers, numeric=frozenset(numbers), whole=frozenset({"request", "settled"}))
    for row in rows:
        settled = datetime.fromtimestamp(row["settled_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        counts = (f"{row[name]:,}" for name in ("input_tokens", "cached_tokens", "output_tokens"))
        outcome = row["outcome"].replace("_", " ")
        table.add_row(row["id"], settled, escape(row["model"]), outcome, *counts, format_usd(row[_AMOUNT]))
    console.print_table(table)
