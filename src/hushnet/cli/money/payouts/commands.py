"""`hush payout`: take earnings out, and say where they may go."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hushnet.cli import console
from hushnet.cli.money import settlement
from hushnet.cli.money.payouts import methods, puzzles
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.money import format_usd

app = typer.Typer()
app.add_typer(methods.app, name="methods", help="Say where payouts may go.", no_args_is_help=True)
puzzles.add_to(app)
settlement.add_to(app, "batch")

_NUMERIC = frozenset({"gross", "fee", "net"})
_WHOLE = frozenset({"id", "asked"})


@app.command("request")
def request(
    amount: Annotated[str, typer.Argument(help="US dollars, like 25 or 12.50, or `all`.", metavar="USD")],
    instant: Annotated[bool, typer.Option("--instant", help="Within minutes, for a fee; to a bank account.")] = False,
    method: Annotated[
        str | None, typer.Option("--method", help="Where to, as `hush payout methods list` shows it.", metavar="ID")
    ] = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a payout of earnings, to the default method unless another is named."""
    wish: dict[str, Any] = {"amount_usd": amount, "instant": instant, "request_id": f"cli-{secrets.token_hex(16)}"}
    if method is not None:
        wish["method"] = method
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        made = client.request("POST", "/v1/payouts", wish)
    _show(made, as_json=as_json)


@app.command("list")
def list_payouts(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List payouts, newest first."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        found = client.request("GET", "/v1/payouts")["data"]
    if as_json:
        console.print_json(found)
        return
    if not found:
        console.out().print("no payouts")
        return
    table = console.table("id", "asked", "state", "to", "gross", "fee", "net", "", numeric=_NUMERIC, whole=_WHOLE)
    for row in found:
        amounts = [format_usd(row[f"{name}_micro_usd"]) for name in ("gross", "fee", "net")]
        table.add_row(
            row["id"], _time(row["created_ms"]), _state(row), _to(row), *amounts, console.plain(row["reason"])
        )
    console.print_table(table)


@app.command("show")
def show(
    payout: Annotated[str, typer.Argument(help="The payout's id.", metavar="ID")],
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show where a payout is."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        found = client.request("GET", f"/v1/payouts/{quote(payout, safe='')}")
    _show(found, as_json=as_json)


@app.command("cancel")
def cancel(
    payout: Annotated[str, typer.Argument(help="The payout's id.", metavar="ID")],
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Take a payout back that has not been sent."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        found = client.request("POST", f"/v1/payouts/{quote(payout, safe='')}/cancel")
    _show(found, as_json=as_json)


@app.command("onboard")
def onboard(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """Tell Stripe where your bank account is; prints the page to open."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        found = client.request("POST", "/v1/payouts/onboarding")
    if as_json:
        console.print_json(found)
        return
    console.err().print(f"account at Stripe: {found['state']}; open this page within minutes:")
    console.out().print(found["url"])


class Period(StrEnum):
    """How often."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"
    OFF = "off"


@app.command("plan")
def plan(
    period: Annotated[Period | None, typer.Argument(help="Mondays, the first of a month, or only on request.")] = None,
    threshold: Annotated[
        str, typer.Option("--threshold", help="Only when at least so much may leave.", metavar="USD")
    ] = "10",
    method: Annotated[
        str | None, typer.Option("--method", help="Where to, instead of the default of then.", metavar="ID")
    ] = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Be paid regularly: everything that may leave, without asking. Without a period: show the plan."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        if period is None:
            found = client.request("GET", "/v1/payouts/plan")
        elif period is Period.OFF:
            found = client.request("DELETE", "/v1/payouts/plan")
        else:
            wish = {"period": period.value, "threshold_usd": threshold, "method": method}
            found = client.request("PUT", "/v1/payouts/plan", wish)
    if as_json:
        console.print_json(found)
        return
    if found["period"] is None:
        console.out().print("paid on request only")
        return
    least = format_usd(found["threshold_micro_usd"])
    last = f"; last time: {found['reason']}" if found["reason"] else ""
    console.out().print(f"paid {found['period']} from {least} on, next {_time(found['next_ms'])}{last}")


def _show(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.print_json(row)
        return
    table = console.table("payout", "")
    amounts = [(name, format_usd(row[f"{name}_micro_usd"])) for name in ("gross", "fee", "net")]
    facts = [("id", row["id"]), ("state", _state(row)), ("to", _to(row)), *amounts, ("asked", _time(row["created_ms"]))]
    if row["txid"]:
        facts.append(("transaction", row["txid"]))
    if row["reason"]:
        facts.append(("reason", console.plain(row["reason"])))
    for name, text in facts:
        table.add_row(name, text)
    console.print_table(table)


def _state(row: dict[str, Any]) -> str:
    return str(row["state"]).replace("_", " ")


def _to(row: dict[str, Any]) -> str:
    if row["rail"] == "coin":
        return f"{row['asset']} on {row['network']}"
    return "bank, instant" if row["instant"] else "bank"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
