"""`hush budget`: how much the account, or one of its keys, may cost per day, week, month, request or life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import format_usd, parse_usd

app = typer.Typer()

PERIODS: Final = ("request", "day", "week", "month", "life")
Key = Annotated[
    str | None,
    typer.Option("--key", help="The id of a key, as `hush keys list` shows it: its budgets, not the account's."),
]


@app.command("list")
def list_budgets(
    key: Key = None, base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False
) -> None:
    """List every budget that requests count against, with what is spent, held and left."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        found = client.request("GET", _path(key))["data"]
    if as_json:
        console.print_json(found)
        return
    if not found:
        console.out().print("no budgets")
        return
    amounts = ("budget", "spent", "held", "left")
    table = console.table("of", "per", *amounts, "resets", "set by", numeric=frozenset(amounts))
    for row in found:
        counts = (row[f"{name}_micro_usd"] for name in ("amount", "spent", "held", "left"))
        shown = ["-" if count is None else format_usd(count) for count in counts]
        table.add_row(row["scope"], row["period"], *shown, _reset(row), row["set_by"])
    console.print_table(table)


@app.command("set")
def set_budget(
    budget: Annotated[str, typer.Argument(help="An amount in USD and its period: 5/day, 0.10/request, 100/life.")],
    key: Key = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Set a budget; it acts on the next request, and takes the place of one of the same period."""
    wish = parse_budget(budget)
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        made = client.request("PUT", _path(key), wish)
    if as_json:
        console.print_json(made)
        return
    left = "" if made["left_micro_usd"] is None else f", {format_usd(made['left_micro_usd'])} left"
    console.err().print(f"{made['scope']} budget: {format_usd(made['amount_micro_usd'])} per {made['period']}{left}")


@app.command("remove")
def remove(
    period: Annotated[str, typer.Argument(help=f"Which one: {', '.join(PERIODS)}.")],
    key: Key = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
) -> None:
    """Remove a budget."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        client.request("DELETE", f"{_path(key)}?period={quote(period, safe='')}")
    console.err().print(f"the budget per {period} is removed")


def parse_budget(text: str) -> dict[str, str]:
    """Read `5/day` into what the interface takes; raises `RequestError`."""
    amount, _, period = text.partition("/")
    if period not in PERIODS:
        raise RequestError(f"a budget looks like 5/day; the periods are {', '.join(PERIODS)}", code="unsupported_value")
    parse_usd(amount)
    return {"period": period, "amount_usd": amount}


def _path(key: str | None) -> str:
    return "/v1/budgets" if key is None else f"/v1/keys/{quote(key, safe='')}/budgets"


def _reset(row: dict[str, Any]) -> str:
    if row["resets_ms"] is None:
        return "-"
    return datetime.fromtimestamp(row["resets_ms"] // 1000, UTC).strftime("%Y-%m-%d %H:%M")
