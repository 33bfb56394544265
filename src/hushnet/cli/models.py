"""`hush models`: what is on offer, at which price, from how many providers."""

from __future__ import annotations

from typing import Any

from hushnet.cli import console
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.money import format_usd


def command(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List the models on offer, their prices and who serves them."""
    with client_of(base_url, api_key, home) as client:
        models = client.models.list()
    if as_json:
        console.print_json(models)
        return
    if not models:
        console.err().print("no model is on offer: no provider is connected. `hush provider start` connects one.")
        return
    table = console.table(
        "model",
        "context",
        "input",
        "cached",
        "output",
        "providers",
        "trust",
        numeric=frozenset({"context", "input", "cached", "output", "providers"}),
        whole=frozenset({"model"}),
    )
    for model in sorted(models, key=lambda entry: str(entry["id"])):
        table.add_row(*_row(model))
    console.print_table(table)
    console.out().print(
        "[dim]prices in USD per million tokens; providers: connected now; trust: the best tier among them[/]"
    )


def _row(model: dict[str, Any]) -> list[str]:
    price = model.get("price", {})
    prices = [format_usd(price[name]) if name in price else "-" for name in ("input", "cached", "output")]
    return [
        console.plain(model["id"]),
        str(model.get("context_tokens") or "-"),
        *prices,
        str(model.get("providers", "-")),
        console.plain(model.get("trust", "-")),
    ]
