"""`hush repay`: repay what the account owes from what it has earned."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.money import format_usd


def command(
    amount: Annotated[str, typer.Argument(help="US dollars of earnings at most, like 12.50.", metavar="USD")] = "all",
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Repay what the account owes, after what its deposits have, from earnings; owing nothing ends the freeze."""
    wish = {"amount_usd": amount, "id": f"cli-{secrets.token_hex(16)}"}
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        repaid = client.request("POST", "/v1/account/debt/repay", wish)
    if as_json:
        console.print_json(repaid)
        return
    earnings, paid, debt = (format_usd(repaid[f"{name}_micro_usd"]) for name in ("from_earnings", "from_paid", "debt"))
    console.out().print(f"repaid {earnings} from earnings and {paid} from deposits; {debt} is still owed")
