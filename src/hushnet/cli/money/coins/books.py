"""What the operator says about coins: `hush coins strays`, `sold`, `fee`, `reverse`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.money import format_usd

Invoice = Annotated[str, typer.Argument(help="The invoice's id.")]
Amount = Annotated[str, typer.Argument(help="Whole coins, like 0.015.")]


def add_to(app: typer.Typer) -> None:
    """Add the operator's commands to the group."""
    app.command("strays")(strays)
    app.command("sold")(sold)
    app.command("fee")(fee)
    app.command("reverse")(reverse)


def strays(base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List coins that came without an invoice; their worth is in suspense."""
    with operator_client(base_url, api_key, home) as client:
        found = client.request("GET", "/v1/admin/coins/strays")["data"]
    if as_json:
        console.print_json(found)
        return
    table = console.table("gateway", "payment", "coins", "worth", numeric=frozenset({"worth"}))
    for row in found:
        coins = f"{row['amount']} {row['asset']} on {row['network']}"
        table.add_row(row["gateway"], console.plain(row["payment"]), coins, format_usd(row["amount_micro_usd"]))
    console.print_table(table)


def sold(
    sale: Annotated[str, typer.Argument(help="Your own id of the sale; the same id counts once.")],
    amount: Amount,
    usd: Annotated[str, typer.Argument(help="US dollars that arrived at the bank, like 612.30.")],
    asset: Annotated[str, typer.Option("--asset", help="The coin.")],
    network: Annotated[str, typer.Option("--network", help="Its network, where it is on several.")] = "",
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
) -> None:
    """Note in the books that coins were sold."""
    wish = {"sale_id": sale, "asset": asset, "network": network, "amount": amount, "amount_usd": usd}
    with operator_client(base_url, api_key, home) as client:
        made = client.request("POST", "/v1/admin/coins/sales", wish)
    console.err().print(f"sale {sale}: {made['outcome']}")


def fee(
    invoice: Invoice, amount: Amount, base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None
) -> None:
    """Note in the books what the gateway kept of an invoice's coins."""
    path = f"/v1/admin/coins/invoices/{quote(invoice, safe='')}/fee"
    with operator_client(base_url, api_key, home) as client:
        made = client.request("POST", path, {"amount": amount})
    console.err().print(f"fee of invoice {invoice}: {made['outcome']}")


def reverse(
    invoice: Invoice,
    is_sure: Annotated[bool, typer.Option("--yes", help="Take the money back without asking.")] = False,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
) -> None:
    """Take an invoice's credit back, because its coins went back on the chain or at the gateway."""
    if not is_sure:
        typer.confirm("What its owner has spent of it becomes a debt. Go on?", abort=True)
    with operator_client(base_url, api_key, home) as client:
        made = client.request("POST", f"/v1/admin/coins/invoices/{quote(invoice, safe='')}/reverse")
    console.err().print(f"invoice {invoice} is {made['state']}")
