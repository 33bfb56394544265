"""`hush coins`: what is taken and paid out here, and paying in with coins."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from hushnet.cli import console
from hushnet.cli.money.coins import books
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.money import format_usd
from hushnet.sdk.client import Client

app = typer.Typer(invoke_without_command=True)
books.add_to(app)

POLL_S: Final = 3.0
_OVER: Final = frozenset({"paid", "underpaid", "expired", "review", "reversed", "refused"})
_WORDS: Final = {
    "creating": "the gateway is asked for an address",
    "pending": "no coins yet",
    "detected": "coins are on their way",
    "paid": "paid",
    "underpaid": "ended with less than was asked; what came is credited",
    "expired": "ended without coins",
    "review": "coins came too late; the operator decides",
    "reversed": "the coins went back",
    "refused": "the gateway gave no quote",
}


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the coins that are taken and paid out, each on its network."""
    if context.invoked_subcommand is not None:
        return
    with client_of(base_url, api_key, home) as client:
        found = client.request("GET", "/v1/coins")["data"]
    if as_json:
        console.print_json(found)
        return
    if not found:
        console.out().print("no coins are taken here")
        return
    table = console.table("coin", "network", "decimals", "pay in", "pay out", numeric=frozenset({"decimals"}))
    for row in found:
        table.add_row(row["asset"], row["network"], str(row["decimals"]), _yes(row["deposit"]), _yes(row["payout"]))
    console.print_table(table)


@app.command("deposit")
def deposit(
    amount: Annotated[str, typer.Argument(help="US dollars, like 20 or 12.50.")],
    asset: Annotated[str, typer.Option("--asset", help="The coin, like BTC or USDC.")],
    network: Annotated[str, typer.Option("--network", help="Its network, where it is on several.")] = "",
    is_waiting: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until the coins are confirmed.")] = True,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Pay in with coins: prints the address and the exact amount, and waits until they are confirmed."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        wish = {"amount_usd": amount, "asset": asset, "network": network}
        invoice = client.request("POST", "/v1/deposits/coin", wish)
        if not as_json:
            invoice = _until(client, invoice, lambda seen: seen["state"] != "creating")
            print_invoice(invoice)
        if is_waiting:
            invoice = _until(client, invoice, lambda seen: seen["state"] in _OVER, is_told=not as_json)
    if as_json:
        console.print_json(invoice)
    elif is_waiting:
        console.out().print(_outcome(invoice))
    if is_waiting and invoice["state"] not in {"paid", "underpaid"}:
        raise typer.Exit(1)


@app.command("invoices")
def invoices(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List your coin invoices, newest first."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        found = client.request("GET", "/v1/deposits/coin")["data"]
    if as_json:
        console.print_json(found)
        return
    table = console.table(
        "invoice", "made", "asked", "coins", "received", "credited", "state", whole=frozenset({"invoice"})
    )
    for row in found:
        asked, credited = format_usd(row["amount_micro_usd"]), format_usd(row["credited_micro_usd"])
        coins = f"{row['amount'] or '-'} {row['asset']} on {row['network']}"
        table.add_row(row["id"], _moment(row["created_ms"]), asked, coins, row["received"], credited, row["state"])
    console.print_table(table)


def print_invoice(invoice: dict[str, Any]) -> None:
    """Print what to send, where, until when: each on a line of its own, so that it can be copied."""
    out = console.out()
    if invoice["address"] is None:
        out.print(_outcome(invoice))
        return
    missing = invoice["amount"] if invoice["missing"] == "0" else invoice["missing"]
    out.print(f"send exactly [bold]{missing} {invoice['asset']}[/] on {invoice['network']} to")
    out.print(f"  [bold]{invoice['address']}[/]")
    if invoice["destination_tag"] is not None:
        out.print(
            f"  with destination tag [bold]{invoice['destination_tag']}[/] (without it the coins cannot be attributed)"
        )
    out.print(f"  until {_moment(invoice['expires_ms'])}, for {format_usd(invoice['amount_micro_usd'])}")
    for name in ("uri", "url"):
        if invoice[name]:
            out.print(f"  {invoice[name]}")


def _until(
    client: Client, invoice: dict[str, Any], is_enough: Callable[[dict[str, Any]], bool], *, is_told: bool = False
) -> dict[str, Any]:
    """Ask until it is enough, and say on stderr whenever something has changed."""
    said = ""
    while not is_enough(invoice):
        progress = f"{_WORDS[invoice['state']]} ({invoice['received']} of {invoice['amount']} {invoice['asset']})"
        if is_told and progress != said:
            console.err().print(f"[dim]{progress}[/]")
            said = progress
        time.sleep(POLL_S)
        invoice = client.request("GET", f"/v1/deposits/coin/{invoice['id']}")
    return invoice


def _outcome(invoice: dict[str, Any]) -> str:
    credited = format_usd(invoice["credited_micro_usd"])
    return f"{_WORDS[invoice['state']]}; {credited} of {format_usd(invoice['amount_micro_usd'])} credited"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "-"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
