"""`hush invite`: redeem a code; as the operator, make codes, list and revoke them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.money import format_usd

app = typer.Typer()


@app.command("redeem")
def redeem(
    code: Annotated[str, typer.Argument(help="The code, like ABCDE-FGHJK-MNPQR-STVWX.")],
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give your account the credit of an invite: once, and one invite an account."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        redeemed = client.request("POST", "/v1/invites/redeem", {"code": code})
    if as_json:
        console.print_json(redeemed)
        return
    until = "" if redeemed["expires_ms"] is None else f", to be spent by {_day(redeemed['expires_ms'])}"
    word = "credited" if redeemed["outcome"] == "posted" else "credited before"
    console.out().print(f"{format_usd(redeemed['amount_micro_usd'])} {word}{until}")


@app.command("create")
def create(
    amount: Annotated[str, typer.Argument(help="The credit in US dollars, like 5 or 12.50.")],
    uses: Annotated[int, typer.Option("--uses", help="How many accounts may use it.")] = 1,
    days: Annotated[int, typer.Option("--days", help="How many days it can be redeemed.")] = 30,
    credit_days: Annotated[int, typer.Option("--credit-days", help="How many days the credit lasts; 0: for ever.")] = 0,
    note: Annotated[str, typer.Option("--note", help="What it is for; shown in the list.")] = "",
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make an invite (operator). Its code is shown once and stored hashed: keep it."""
    wish = {"amount_usd": amount, "uses_max": uses, "days": days, "credit_days": credit_days, "note": note}
    with operator_client(base_url, api_key, home) as client:
        made = client.request("POST", "/v1/admin/invites", wish)
    if as_json:
        console.print_json(made)
        return
    console.out().print(made["code"])
    console.err().print(f"[dim]invite {made['id']}; the code is not shown again[/]")


@app.command("list")
def list_invites(
    base_url: BaseUrl = None, api_key: OperatorKey = None, home: Home = None, as_json: AsJson = False
) -> None:
    """List invites (operator): never their codes."""
    with operator_client(base_url, api_key, home) as client:
        found: list[dict[str, Any]] = client.request("GET", "/v1/admin/invites")["data"]
    if as_json:
        console.print_json(found)
        return
    table = console.table(
        "id", "credit", "used", "until", "note", numeric=frozenset({"credit"}), whole=frozenset({"id"})
    )
    for invite in found:
        used = f"{invite['uses']} of {invite['uses_max']}"
        table.add_row(
            invite["id"],
            format_usd(invite["amount_micro_usd"]),
            used,
            _day(invite["expires_ms"]),
            console.plain(invite["note"] or "-"),
        )
    console.print_table(table)


@app.command("revoke")
def revoke(
    invite: Annotated[str, typer.Argument(help="The invite's id, as `hush invite list` shows it.")],
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
) -> None:
    """Let an invite be redeemed no more (operator); what it has given stays."""
    with operator_client(base_url, api_key, home) as client:
        client.request("DELETE", f"/v1/admin/invites/{quote(invite, safe='')}")
    console.err().print(f"invite {invite} is revoked")


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
