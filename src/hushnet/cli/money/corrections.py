"""`hush correct`: credits for requests that went wrong, adjustments, money in suspense, refunds. For operators."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote
from uuid import uuid4

import typer

from hushnet.cli import console
from hushnet.cli.money import refunds
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import format_usd

app = typer.Typer()
refunds.add_to(app)

_USD = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]{1,6}))?", re.ASCII)
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the books.")]
Amount = Annotated[str, typer.Argument(help="US dollars with up to six decimals, like 0.0042.")]


class Bucket(StrEnum):
    """The buckets that can be adjusted."""

    PROMO = "promo"
    PAID = "paid"
    EARNINGS = "earnings"


@app.command("request")
def credit(
    request_id: Annotated[str, typer.Argument(help="The request's id.")],
    amount: Amount,
    reason: Reason,
    nth: Annotated[
        int, typer.Option("--nth", help="Which credit of this request it is; the same again gives once.")
    ] = 1,
    at_fault: Annotated[bool, typer.Option("--provider-at-fault", help="Have the provider return its part.")] = False,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give back a part of what a request cost, where it was taken from."""
    wish = {"amount_micro_usd": parse_amount(amount), "reason": reason, "is_provider_at_fault": at_fault}
    with operator_client(base_url, api_key, home) as client:
        given = client.request("PUT", f"/v1/admin/generations/{quote(request_id, safe='')}/credits/{nth}", wish)
    if as_json:
        console.print_json(given)
        return
    parts = ", ".join(
        f"{format_usd(given[f'{bucket}_micro_usd'])} {bucket}" for bucket in Bucket if given[f"{bucket}_micro_usd"]
    )
    console.out().print(f"account {given['account_id']} got {parts}")


@app.command("balance")
def adjust(
    account: Annotated[int, typer.Argument(help="The account's id.")],
    amount: Annotated[str, typer.Option("--amount", help="US dollars; negative takes away.")],
    reason: Reason,
    bucket: Annotated[Bucket, typer.Option("--bucket", help="Which of the account's buckets.")] = Bucket.PROMO,
    adjustment: Annotated[
        str, typer.Option("--id", help="A UUID of yours: the same again is the same adjustment.")
    ] = "",
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Adjust a balance; above the limit it waits until another operator's key approves it."""
    name = adjustment or str(uuid4())
    wish = {
        "account_id": account,
        "bucket": bucket.value,
        "amount_micro_usd": parse_amount(amount),
        "reason": reason,
    }
    with operator_client(base_url, api_key, home) as client:
        made = client.request("PUT", f"/v1/admin/adjustments/{quote(name, safe='')}", wish)
    _print(made, as_json=as_json)


@app.command("suspense")
def suspense(
    account: Annotated[
        int | None, typer.Argument(help="Whose money it is; left out: tell how much is in suspense.")
    ] = None,
    amount: Annotated[str, typer.Option("--amount", help="US dollars.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="How it is known; it stands in the books.")] = "",
    adjustment: Annotated[
        str, typer.Option("--id", help="A UUID of yours: the same again is the same adjustment.")
    ] = "",
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Pay money in suspense to its owner; above the limit it waits until another operator's key approves it."""
    with operator_client(base_url, api_key, home) as client:
        if account is None:
            made = client.request("GET", "/v1/admin/suspense")
        else:
            wish = {"account_id": account, "amount_micro_usd": parse_amount(amount), "reason": reason}
            made = client.request("PUT", f"/v1/admin/suspense/{quote(adjustment or str(uuid4()), safe='')}", wish)
    if account is None and not as_json:
        console.out().print(f"{format_usd(made['amount_micro_usd'])} in suspense")
    else:
        _print(made, as_json=as_json)


@app.command("pending")
def pending(
    is_all: Annotated[bool, typer.Option("--all", help="Also those that were decided.")] = False,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the adjustments that wait for a second key."""
    with operator_client(base_url, api_key, home) as client:
        found = client.request("GET", f"/v1/admin/adjustments{'?all=true' if is_all else ''}")["data"]
    if as_json:
        console.print_json(found)
        return
    table = console.table(
        "id",
        "account",
        "bucket",
        "amount",
        "from",
        "reason",
        "by",
        "state",
        numeric=frozenset({"amount"}),
        whole=frozenset({"id"}),
    )
    for row in found:
        amount = format_usd(row["amount_micro_usd"])
        who = row["actor"] if row["approver"] is None else f"{row['actor']}, {row['approver']}"
        table.add_row(
            row["id"],
            str(row["account_id"]),
            row["bucket"],
            amount,
            row["source"],
            console.plain(row["reason"]),
            who,
            row["state"],
        )
    console.print_table(table)


@app.command("approve")
def approve(
    adjustment: Annotated[str, typer.Argument(help="The adjustment's id.")],
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make an adjustment that another operator's key has asked for."""
    with operator_client(base_url, api_key, home) as client:
        made = client.request("POST", f"/v1/admin/adjustments/{quote(adjustment, safe='')}/approve")
    _print(made, as_json=as_json)


@app.command("refuse")
def refuse(
    adjustment: Annotated[str, typer.Argument(help="The adjustment's id.")],
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Refuse an adjustment that waits."""
    with operator_client(base_url, api_key, home) as client:
        made = client.request("POST", f"/v1/admin/adjustments/{quote(adjustment, safe='')}/refuse")
    _print(made, as_json=as_json)


def parse_amount(text: str) -> int:
    """Read US dollars with up to six decimals as micro-USD; raises `RequestError`."""
    match = _USD.fullmatch(text)
    if match is None:
        raise RequestError("an amount looks like 12, -3.50 or 0.000042", code="amount_out_of_bounds")
    sign, dollars, micros = match.groups(default="")
    amount = int(dollars) * 1_000_000 + int(micros.ljust(6, "0"))
    return -amount if sign else amount


def _print(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.print_json(made)
        return
    console.out().print(f"{made['id']}: {format_usd(made['amount_micro_usd'])} {made['bucket']}, {made['state']}")
