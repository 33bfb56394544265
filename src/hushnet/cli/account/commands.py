"""`hush account close`: one's own account, or as the operator any, for good."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.account import operator
from hushnet.cli.options import AsJson, BaseUrl, Home, client_of
from hushnet.cli.route.operator import operator_client
from hushnet.foundation.money import format_usd
from hushnet.sdk.client import Client

app = typer.Typer()
operator.add_to(app)

AnyKey = Annotated[
    str | None, typer.Option("--api-key", help="The API key; with ACCOUNT the operator's.", metavar="KEY")
]


@app.command("close")
def close(
    account: Annotated[
        int | None, typer.Argument(help="As the operator: whose account; without it your own.", show_default=False)
    ] = None,
    gives_up: Annotated[
        bool, typer.Option("--give-up", help="Leave deposits and earnings that are still in it behind.")
    ] = False,
    is_sure: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    base_url: BaseUrl = None,
    api_key: AnyKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Close an account for good: its keys stop, its card is forgotten, granted credit goes back.

    Deposits and earnings are taken out first (`hush payout request`; the operator refunds deposits), or given up.
    """
    with _client(account, base_url, api_key, home) as client:
        left = _left(client, account) if gives_up else 0
        if not is_sure:
            loss = f", and {format_usd(left)} of deposits and earnings with it" if left else ""
            typer.confirm(f"This closes the account for good{loss}. Go on?", abort=True)
        path = "/v1/account/close" if account is None else f"/v1/admin/accounts/{account}/close"
        closed = client.request("POST", path, {"gives_up_micro_usd": left})
    if as_json:
        console.print_json(closed)
        return
    gone = closed["paid_given_up_micro_usd"] + closed["earnings_given_up_micro_usd"]
    console.out().print(f"account {closed['account_id']} is closed; {format_usd(gone)} was given up")


def _client(
    account: int | None, base_url: str | None, api_key: str | None, home: Path | None
) -> AbstractContextManager[Client]:
    return client_of(base_url, api_key, home) if account is None else operator_client(base_url, api_key, home)


def _left(client: Client, account: int | None) -> int:
    """Return what is given up: what the account shows now, and no more should something come in meanwhile."""
    balance = client.balance() if account is None else client.request("GET", f"/v1/admin/accounts/{account}")["balance"]
    return int(balance["paid_micro_usd"]) + int(balance["earnings_micro_usd"])
