"""Settlement of coin payouts on the command line: `hush ledger settle`, and the same as a command of another group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.money import format_usd

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send and write nothing.")]
Export = Annotated[
    Path | None,
    typer.Option("--export", help="Write the signed file of payouts that wait to be sent by hand.", metavar="FILE"),
]


def add_to(app: typer.Typer, name: str) -> None:
    """Make settlement a command of a group."""
    app.command(name)(settle)


def settle(
    is_dry_run: DryRun = False,
    export: Export = None,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Send the coin payouts that are due, the oldest first, within the limits of a batch and of a day.

    Payouts of coins that you send by hand are in the file of --export; say afterwards what became of each.
    """
    with operator_client(base_url, api_key, home) as client:
        batch = client.request("POST", "/v1/admin/coins/batch", {"dry_run": is_dry_run})
        document = client.request("GET", "/v1/admin/coins/batch") if export is not None else {}
    if export is not None:
        _write(export, document)
    if as_json:
        console.print_json(batch)
        return
    print_batch(batch)
    if export is not None:
        console.err().print(f"{export} has {len(document['payouts'])} payouts to send by hand")


def print_batch(batch: dict[str, Any]) -> None:
    """Print what is sent, what it is worth, and what is left out and why."""
    table = console.table(
        "payout", "coins", "to", "worth", "", numeric=frozenset({"worth"}), whole=frozenset({"payout"})
    )
    for row in batch["payouts"]:
        tag = "" if row["destination_tag"] is None else f" tag {row['destination_tag']}"
        coins = f"{row['amount']} {row['asset']} on {row['network']}"
        by_hand = "by hand" if row["by_hand"] else ""
        table.add_row(row["payout"], coins, row["address"] + tag, format_usd(row["net_micro_usd"]), by_hand)
    if batch["payouts"]:
        console.print_table(table)
    count, worth = len(batch["payouts"]), format_usd(batch["amount_micro_usd"])
    verb = "would be sent" if batch["dry_run"] else "are sent"
    console.out().print(f"{count} payouts of {worth} {verb}" if count else "no payout is due")
    for row in batch["left_out"]:
        console.out().print(f"[dim]{row['payout']} is left out: {row['reason'].replace('_', ' ')}[/]")


def _write(path: Path, document: Any) -> None:
    """Write the file for its owner's eyes only; an older one of that name is never overwritten."""
    with path.open("x", encoding="utf-8") as file:
        path.chmod(0o600)
        json.dump(document, file, indent=1)
        file.write("\n")
