"""`hush balance`: what is left to spend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.money import format_usd

_ROWS = (
    ("spendable", "what requests can draw on now"),
    ("promo", "granted credit: spendable, not refundable"),
    ("paid", "deposits"),
    ("earnings", "income of your providers"),
    ("held", "reserved for requests that are running"),
    ("withdrawable", "earnings that can be paid out"),
)


def command(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """Show what is left to spend."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        balance = client.balance()
    if as_json:
        console.print_json(balance)
        return
    show(balance)


def show(balance: Mapping[str, Any]) -> None:
    """Print a balance as a table."""
    table = console.table("balance", "USD", "", numeric=frozenset({"USD"}), whole=frozenset({"balance"}))
    for name, meaning in _ROWS:
        if (amount := balance.get(f"{name}_micro_usd")) is not None:
            table.add_row(name, format_usd(amount), f"[dim]{meaning}[/]")
    console.print_table(table)
