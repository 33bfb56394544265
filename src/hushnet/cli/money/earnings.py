"""`hush earnings`: what one's machines earned, what came besides, and what may be withdrawn."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from hushnet.cli import console
from hushnet.cli.money.sums import AsCsv, From, To, print_csv, print_sums, query
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.money import format_usd

_AMOUNT: Final = "earned_micro_usd"


def command(
    by: Annotated[str, typer.Option("--by", help="day, machine or model, or several with commas.")] = "day",
    start: From = None,
    end: To = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show what your machines earned, other income, and what you can withdraw. A provider's token will do for a key."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        found = client.request("GET", query("/v1/earnings", by=by, **{"from": start, "to": end}))
    if as_json:
        console.print_json(found)
        return
    if as_csv:
        print_csv(found["data"])
        return
    print_sums(found, by.split(","), _AMOUNT, "earned")
    for income in found["income"]:
        amount = format_usd(income["amount_micro_usd"])
        console.out().print(f"{income['day']}  {income['type'].replace('_', ' ')}  {amount}")
    withdrawable = format_usd(found["balance"]["withdrawable_micro_usd"])
    later = format_usd(found["not_yet_withdrawable_micro_usd"])
    console.out().print(f"\n[bold]withdrawable[/] {withdrawable}  [dim]{later} still maturing, or held by requests[/]")
