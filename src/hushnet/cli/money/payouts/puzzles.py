"""The operator's part of `hush payout`: payouts that only a person can decide, and what the person says."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.money import format_usd

PayoutId = Annotated[str, typer.Argument(help="The payout's id, as `hush payout stuck` shows it.", metavar="ID")]
_OPERATOR = "For the operator"


def add_to(app: typer.Typer) -> None:
    """Add the operator's commands to the group."""
    for name, command in (("stuck", stuck), ("retry", retry), ("returned", returned), ("arrived", arrived)):
        app.command(name, rich_help_panel=_OPERATOR)(command)


def stuck(base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List payouts that a person has to look at, with what was found."""
    with operator_client(base_url, api_key, home) as client:
        found = client.request("GET", "/v1/admin/payouts")["data"]
    if as_json:
        console.print_json(found)
        return
    if not found:
        console.out().print("nothing to look at")
        return
    table = console.table("id", "owner", "state", "net", "transfer", "found", whole=frozenset({"id"}))
    for row in found:
        words = "; ".join(f"{one['kind']}: {one['detail']}" for one in row["findings"]) or row["reason"]
        net = format_usd(row["net_micro_usd"])
        table.add_row(row["id"], str(row["owner"]), row["state"], net, row["transfer"] or "-", console.plain(words))
    console.print_table(table)


def retry(payout: PayoutId, base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None) -> None:
    """Fetch a stuck payout's money back from Stripe once more."""
    _resolve(payout, {"resolution": "retry"}, base_url, api_key, home)


def returned(payout: PayoutId, base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None) -> None:
    """Say that you have seen a payout's money with us, or that it never left: its owner gets it back."""
    _resolve(payout, {"resolution": "returned"}, base_url, api_key, home)


def arrived(
    payout: PayoutId,
    txid: Annotated[str, typer.Argument(help="The transaction on the chain.")],
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
) -> None:
    """Say that you have seen a payout's coins arrive."""
    _resolve(payout, {"resolution": "paid", "txid": txid}, base_url, api_key, home)


def _resolve(payout: str, wish: dict[str, Any], base_url: BaseUrl, api_key: OperatorKey, home: Home) -> None:
    with operator_client(base_url, api_key, home) as client:
        row = client.request("POST", f"/v1/admin/payouts/{quote(payout, safe='')}/resolve", wish)
    console.err().print(f"payout {row['id']} is now {row['state'].replace('_', ' ')}")
