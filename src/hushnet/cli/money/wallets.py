"""`hush wallet`: who may pay per use, and who may not any more."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="The wallet's address, or a request that it paid (as findings say).")]


@app.command("show")
def show(
    wallet: Name, base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Show a wallet: its account, what it has not settled, whether it is barred."""
    with operator_client(base_url, api_key, home) as client:
        _print(client.request("GET", _path(wallet)), as_json)


@app.command("bar")
def bar(
    wallet: Name, base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Let a wallet pay for nothing more; its credit stays its own."""
    with operator_client(base_url, api_key, home) as client:
        _print(client.request("POST", _path(wallet), {"barred": True}), as_json)


@app.command("unbar")
def unbar(
    wallet: Name, base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Let a wallet pay again, say after what was lost of it was made good."""
    with operator_client(base_url, api_key, home) as client:
        _print(client.request("POST", _path(wallet), {"barred": False}), as_json)


def _path(wallet: str) -> str:
    return f"/v1/admin/x402/wallets/{quote(wallet, safe='')}"


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.print_json(found)
        return
    state = "may pay" if found["barred_ms"] is None else "is barred"
    console.out().print(f"{found['wallet']} {state}; account {found['account'] or '-'}, {found['unsettled']} unsettled")
