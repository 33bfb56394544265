"""`hush payout methods`: where payouts may go, one of them the default."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.errors import RequestError

app = typer.Typer()

MethodId = Annotated[str, typer.Argument(help="The method's id, as `list` shows it.", metavar="ID")]


@app.command("list")
def list_methods(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List payout methods; `*` marks the default."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        found = client.request("GET", "/v1/payouts/methods")["data"]
    if as_json:
        console.print_json(found)
        return
    table = console.table("", "id", "to", "address", "tag", "usable from", whole=frozenset({"id", "usable from"}))
    for row in found:
        where = "bank" if row["rail"] == "stripe" else f"{row['asset']} on {row['network']}"
        tag = "-" if row["tag"] is None else str(row["tag"])
        is_default = "*" if row["is_default"] else ""
        table.add_row(is_default, row["id"], where, row["address"], tag, _time(row["usable_ms"]))
    console.print_table(table)


@app.command("add")
def add(
    asset: Annotated[str, typer.Argument(help="A coin like BTC or USDC, or `bank` for the account at Stripe.")],
    network: Annotated[str, typer.Argument(help="The coin's network, like bitcoin or base.")] = "",
    address: Annotated[str, typer.Argument(help="The address on that network.")] = "",
    tag: Annotated[int | None, typer.Option("--tag", help="The destination tag, where the network has them.")] = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Add a place that payouts may go to. It can be used after two days, unless the operator says otherwise."""
    wish: dict[str, Any] = {"rail": "stripe"}
    if asset != "bank":
        if not (network and address):
            raise RequestError("a coin needs its network and an address", hint="hush payout methods add USDC base 0x…")
        wish = {"asset": asset, "network": network, "address": address, "tag": tag}
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        made = client.request("POST", "/v1/payouts/methods", wish)
    if as_json:
        console.print_json(made)
        return
    console.out().print(made["id"])
    console.err().print(f"can be used from {_time(made['usable_ms'])} on")


@app.command("default")
def default(method: MethodId, base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None) -> None:
    """Make a method the default."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        client.request("PUT", f"/v1/payouts/methods/{quote(method, safe='')}/default")
    console.err().print(f"payouts go to {method} unless another is named")


@app.command("remove")
def remove(method: MethodId, base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None) -> None:
    """Remove a method; payouts that went there keep naming it."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        client.request("DELETE", f"/v1/payouts/methods/{quote(method, safe='')}")
    console.err().print(f"method {method} is removed")


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
