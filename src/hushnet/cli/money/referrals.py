"""`hush referral`: your code for others, and whose code brought you."""

from __future__ import annotations

from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.money.pricing import percent
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of

app = typer.Typer()


@app.command("show")
def show(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """Show your referral code, how many accounts came by it, and what it earns."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        standing = client.request("GET", "/v1/referrals")
    if as_json:
        console.print_json(standing)
        return
    share = standing["fee_bps"] * standing["referral_bps"] // 10_000
    console.out().print(standing["code"])
    console.err().print(
        f"[dim]{standing['referred']} accounts came by it; "
        f"of what they pay for requests, {percent(share)} is credited to your earnings once a day[/]"
    )


@app.command("name")
def name(
    code: Annotated[str, typer.Argument(help="The code of who brought you.")],
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Name who brought you: once, and before your first paid request."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        named = client.request("PUT", "/v1/referrals/referrer", {"code": code})
    if as_json:
        console.print_json(named)
        return
    console.out().print("named" if named["outcome"] == "named" else "named before")
