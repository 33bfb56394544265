"""`hush budget`: how much the account, or one of its keys, may cost per day, week, month, request or life.

With `--account` it is the operator's: budgets that the account cannot raise. `programmes` are what the operator gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import format_usd, parse_usd
from hushnet.sdk.client import Client

app = typer.Typer()

PERIODS: Final = ("request", "day", "week", "month", "life")
Key = Annotated[
    str | None,
    typer.Option("--key", help="The id of a key, as `hush keys list` shows it: its budgets, not the account's."),
]
Account = Annotated[
    int | None,
    typer.Option("--account", help="An account's id: the operator's budgets for it, with the operator's key."),
]


@app.command("list")
def list_budgets(
    key: Key = None,
    account: Account = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List every budget that requests count against, with what is spent, held and left."""
    with _client(account, base_url, api_key, home) as client:
        found = client.request("GET", _path(key, account))["data"]
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
    account: Account = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Set a budget; it acts on the next request, and takes the place of one of the same period."""
    wish = parse_budget(budget)
    with _client(account, base_url, api_key, home) as client:
        made = client.request("PUT", _path(key, account), wish)
    if as_json:
        console.print_json(made)
        return
    left = "" if made["left_micro_usd"] is None else f", {format_usd(made['left_micro_usd'])} left"
    console.err().print(f"{made['scope']} budget: {format_usd(made['amount_micro_usd'])} per {made['period']}{left}")


@app.command("remove")
def remove(
    period: Annotated[str, typer.Argument(help=f"Which one: {', '.join(PERIODS)}.")],
    key: Key = None,
    account: Account = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
) -> None:
    """Remove a budget."""
    with _client(account, base_url, api_key, home) as client:
        client.request("DELETE", f"{_path(key, account)}?period={quote(period, safe='')}")
    console.err().print(f"the budget per {period} is removed")


@app.command("programmes")
def programmes(
    base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None, as_json: AsJson = False
) -> None:
    """List what the operator gives in a period, and what is left of it; settings of the coordinator set it. For operators."""
    with operator_client(base_url, api_key, home) as client:
        found = client.request("GET", "/v1/admin/programmes")["data"]
    if as_json:
        console.print_json(found)
        return
    amounts = ("ceiling", "given", "left")
    table = console.table("programme", "per", *amounts, numeric=frozenset(amounts))
    for row in found:
        shown = (format_usd(row[f"{name}_micro_usd"]) for name in ("amount", "spent", "left"))
        table.add_row(row["name"], row["period"], *shown)
    console.print_table(table)


def parse_budget(text: str) -> dict[str, str]:
    """Read `5/day` into what the interface takes; raises `RequestError`."""
    amount, _, period = text.partition("/")
    if period not in PERIODS:
        raise RequestError(f"a budget looks like 5/day; the periods are {', '.join(PERIODS)}", code="unsupported_value")
    parse_usd(amount)
    return {"period": period, "amount_usd": amount}


def _path(key: str | None, account: int | None) -> str:
    if key is not None and account is not None:
        raise RequestError("--key and --account do not go together", code="invalid_request")
    if account is not None:
        return f"/v1/admin/accounts/{account}/budgets"
    return "/v1/budgets" if key is None else f"/v1/keys/{quote(key, safe='')}/budgets"


@contextmanager
def _client(account: int | None, base_url: str | None, api_key: str | None, home: Path | None) -> Iterator[Client]:
    """Make a client that sends the account's own key, or the operator's where it is about another's account."""
    if account is not None:
        with operator_client(base_url, api_key, home) as client:
            yield client
        return
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        yield client


def _reset(row: dict[str, Any]) -> str:
    if row["resets_ms"] is None:
        return "-"
    return datetime.fromtimestamp(row["resets_ms"] // 1000, UTC).strftime("%Y-%m-%d %H:%M")
