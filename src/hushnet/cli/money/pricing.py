"""`hush pricing`: what models cost, the discount that an account gives on its own machines; the operator sets prices."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.money.corrections import parse_amount
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import format_usd

app = typer.Typer(invoke_without_command=True)

_PERCENT = re.compile(r"(100|[0-9]{1,2})(?:\.([0-9]{1,2}))?%?", re.ASCII)
_MONEY = ("input", "cached", "output", "minimum")


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show what every model costs, what is announced, and what trust tiers and fees make of it."""
    if context.invoked_subcommand is not None:
        return
    with client_of(base_url, api_key, home) as client:
        pricing: dict[str, Any] = client.request("GET", "/v1/pricing")
    if as_json:
        console.print_json(pricing)
        return
    numeric = frozenset({*_MONEY, "discount"})
    table = console.table("model", *_MONEY, "discount", "from", numeric=numeric, whole=frozenset({"model"}))
    for entry in pricing["data"]:
        off = f"up to {percent(entry['discount_bps_max'])}" if entry["discount_bps_max"] else "-"
        table.add_row(console.plain(entry["model"]), *_prices(entry["price"]), off, "now")
        for later in entry["announced"]:
            table.add_row("", *_prices(later["price"]), "", _moment(later["from_ms"]))
    table.add_row("[dim]any other[/]", *_prices(pricing["default"]), "", "now")
    console.print_table(table)
    for tier in pricing["tiers"]:
        if tier["price_bps"] != 10_000:
            console.out().print(f"at {tier['trust']} providers: {percent(tier['price_bps'])} of the price")
    console.out().print(
        f"[dim]USD per million tokens, the minimum per answer; the network keeps {percent(pricing['fee_bps'])}[/]"
    )


@app.command("discount")
def discount(
    less: Annotated[
        str | None,
        typer.Argument(metavar="PERCENT", help="How much less, like 12.5%; without it your discounts are listed."),
    ] = None,
    model: Annotated[str, typer.Option("--model", help="The model; * is every model not set by name.")] = "*",
    from_ms: Annotated[
        int | None, typer.Option("--from-ms", help="Announce it for this Unix time in milliseconds.")
    ] = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Set what all machines of your account take off a model's price, or list what they do."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        if less is not None:
            wish = {"model": model, "bps": parse_percent(less), "from_ms": from_ms}
            rows = [client.request("PUT", "/v1/provider/discounts", wish)]
        else:
            rows = client.request("GET", "/v1/provider/discounts")["data"]
    if as_json:
        console.print_json(rows)
        return
    table = console.table("model", "discount", "from", numeric=frozenset({"discount"}), whole=frozenset({"model"}))
    for row in rows:
        table.add_row(
            console.plain(row["model"]), percent(row["bps"]), "now" if row["is_in_force"] else _moment(row["from_ms"])
        )
    console.print_table(table)


@app.command("set")
def set_price(
    model: Annotated[str, typer.Argument(help="The model, as `hush models` names it.")],
    per_input: Annotated[str, typer.Option("--input", help="For a million prompt tokens.", metavar="USD")],
    per_output: Annotated[str, typer.Option("--output", help="For a million completion tokens.", metavar="USD")],
    per_cached: Annotated[
        str | None, typer.Option("--cached", help="For a million cached prompt tokens; else as input.", metavar="USD")
    ] = None,
    minimum: Annotated[str, typer.Option("--minimum", help="The least that an answer costs.", metavar="USD")] = "0",
    from_ms: Annotated[
        int | None, typer.Option("--from-ms", help="Announce it for this Unix time in milliseconds.")
    ] = None,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Set what a model costs, now or from a moment on. For operators."""
    amounts = {"input": per_input, "cached": per_cached or per_input, "output": per_output, "minimum": minimum}
    wish = {**{name: parse_amount(text) for name, text in amounts.items()}, "from_ms": from_ms}
    with operator_client(base_url, api_key, home) as client:
        tariff = client.request("PUT", f"/v1/admin/models/{quote(model)}/price", wish)
    if as_json:
        console.print_json(tariff)
        return
    since = "now" if from_ms is None else _moment(tariff["from_ms"])
    prices = ", ".join(f"{name} {format_usd(tariff['price'][name])}" for name in _MONEY)
    console.out().print(f"{tariff['model']} costs from {since}: {prices}")


def parse_percent(text: str) -> int:
    """Read `12`, `12.5%` or `12.34` per cent as basis points; raises `RequestError`."""
    match = _PERCENT.fullmatch(text)
    bps = -1 if match is None else int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 0 <= bps <= 10_000:
        raise RequestError("a discount is 0 to 100 per cent, with two decimals at most", code="out_of_range")
    return bps


def percent(bps: int) -> str:
    """Write basis points as per cent: `12.5 %`."""
    whole, hundredths = divmod(bps, 100)
    return f"{whole}.{hundredths:02d}".rstrip("0").rstrip(".") + " %"


def _prices(price: dict[str, int]) -> list[str]:
    return [format_usd(price[name]) for name in _MONEY]


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
