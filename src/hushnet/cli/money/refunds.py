"""`hush correct deposit|refund`: a deposit by card as the operator sees it, and its way back to the card."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote
from uuid import uuid4

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.money import format_usd

Deposit = Annotated[str, typer.Argument(help="The deposit's id.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the operator's."""
    app.command("deposit")(show)
    app.command("refund")(refund)


def show(
    deposit: Deposit,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show a deposit by card: whose it is, how it stands, and what took money of it back."""
    with operator_client(base_url, api_key, home) as client:
        found = client.request("GET", f"/v1/admin/deposits/{quote(deposit, safe='')}")
    if as_json:
        console.print_json(found)
        return
    amount, state = format_usd(found["amount_micro_usd"]), found["state"]
    console.out().print(f"{found['id']}: {amount} of account {found['account_id']}, {state}", markup=False)
    console.out().print(f"at Stripe: {found['payment_intent'] or found['checkout'] or '-'}", markup=False)
    for each in found["reversals"]:
        name = each["refund_id"] or each["stripe_id"] or each["id"]
        amount = format_usd(each["amount_micro_usd"])
        console.out().print(f"{each['kind']} {name}: {amount}, {each['state']}", markup=False)


def refund(
    deposit: Deposit,
    amount: Annotated[str, typer.Argument(help="US dollars, like 20 or 12.50.", metavar="USD")],
    refund_id: Annotated[
        str, typer.Option("--id", help="An id of yours: the same one refunds once.", metavar="ID")
    ] = "",
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Send money of a deposit back to its card; it is set aside at once, and refused when it is spent."""
    wish = {"amount_usd": amount, "refund_id": refund_id or f"cli-{uuid4().hex}"}
    with operator_client(base_url, api_key, home) as client:
        made = client.request("POST", f"/v1/admin/deposits/{quote(deposit, safe='')}/refunds", wish)
    if as_json:
        console.print_json(made)
        return
    console.out().print(f"refund {made['refund_id']}: {format_usd(made['amount_micro_usd'])}, {made['state']}")
