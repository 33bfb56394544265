"""`hush deposit`: put money in by card, see what became of it, and have the card charged when the balance runs low."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from hushnet.cli import console
from hushnet.cli.money.coins.commands import deposit as coin_deposit
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.errors import HushnetError, RequestError
from hushnet.foundation.money import format_usd
from hushnet.sdk.client import Client

app = typer.Typer()
app.command("coin")(coin_deposit)

POLL_S: Final = 1.0
_WAITING: Final = frozenset({"created", "open", "processing"})
_STATES: Final = {
    "created": "asking the payment processor",
    "open": "waiting for you to pay",
    "processing": "paid; waiting for the bank",
    "paid": "credited",
    "failed": "failed",
    "expired": "expired unpaid",
    "held": "received, but not as asked: the operator looks at it",
}


@app.command("card")
def card(
    amount: Annotated[str, typer.Argument(help="US dollars, like 20 or 12.50.", metavar="USD")],
    is_opened: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    saves_card: Annotated[bool, typer.Option("--save-card", help="Keep the card, for `hush deposit auto`.")] = False,
    waits: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is credited.")] = True,
    deposit_id: Annotated[
        str, typer.Option("--id", help="An id of yours: the same one never makes a second deposit.", metavar="ID")
    ] = "",
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Pay by card: print the page where, and wait until the money is here. Ctrl-C stops only the waiting."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        wish = {"amount_usd": amount, "id": deposit_id or f"cli-{uuid.uuid4().hex}", "save_card": saves_card}
        deposit = _until_made(client, client.request("POST", "/v1/deposits", wish))
        if not as_json:
            _show_page(deposit, is_opened=is_opened)
        if waits:
            deposit = _wait(client, deposit, is_quiet=as_json)
    if as_json:
        console.print_json(deposit)
    if deposit["state"] in {"failed", "expired", "held"}:
        _say_how_it_ended(deposit)
        raise typer.Exit(1)
    if deposit["state"] == "paid" and not as_json:
        console.out().print(f"{format_usd(deposit['amount_micro_usd'])} credited")


@app.command("list")
def list_deposits(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List the account's deposits by card, newest first."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        deposits = client.request("GET", "/v1/deposits")["data"]
    if as_json:
        console.print_json(deposits)
        return
    table = console.table("id", "made", "USD", "state", "", numeric=frozenset({"USD"}), whole=frozenset({"id", "made"}))
    for one in deposits:
        made = datetime.fromtimestamp(one["created_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(one["id"], made, format_usd(one["amount_micro_usd"]), one["state"], console.plain(_notes(one)))
    console.print_table(table)


@app.command("auto")
def auto(
    below: Annotated[
        str | None, typer.Option("--below", help="Top up when less is left to spend.", metavar="USD")
    ] = None,
    amount: Annotated[str | None, typer.Option("--amount", help="Charge this much.", metavar="USD")] = None,
    daily: Annotated[
        str | None, typer.Option("--daily-limit", help="At most so much a day (default: three times).", metavar="USD")
    ] = None,
    is_off: Annotated[bool, typer.Option("--off", help="Charge nothing unasked any more.")] = False,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Have the saved card charged when the balance runs low; without options, show whether it is."""
    if is_off and (below or amount or daily):
        raise RequestError("--off goes alone", code="invalid_request")
    if (below is None) is not (amount is None):
        raise RequestError("--below and --amount go together", code="invalid_request")
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        path = "/v1/deposits/auto_topup"
        if is_off:
            shown = client.request("DELETE", path)
        elif below is not None:
            wish = {"below_usd": below, "amount_usd": amount, **({"daily_limit_usd": daily} if daily else {})}
            shown = client.request("PUT", path, wish)
        else:
            shown = client.request("GET", path)
    if as_json:
        console.print_json(shown)
    else:
        console.out().print(_topup_text(shown))


@app.command("forget-card")
def forget_card(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None) -> None:
    """Forget the saved card, here and at the payment processor."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        client.request("DELETE", "/v1/deposits/card")
    console.err().print("no card is saved")


def _show_page(deposit: dict[str, Any], *, is_opened: bool) -> None:
    if not deposit.get("url"):
        return
    console.out().print(deposit["url"])
    if is_opened:
        typer.launch(deposit["url"])


def _until_made(client: Client, deposit: dict[str, Any]) -> dict[str, Any]:
    """Wait for the page when the processor is slow."""
    while deposit["state"] == "created":
        time.sleep(POLL_S)
        deposit = _now(client, deposit)
    return deposit


def _now(client: Client, deposit: dict[str, Any]) -> dict[str, Any]:
    """Ask how a deposit stands; one that cannot be asked about now stands as it did."""
    try:
        found: dict[str, Any] = client.request("GET", f"/v1/deposits/{deposit['id']}")
    except HushnetError as error:
        if not error.is_retryable:
            raise
        return deposit
    return found


def _wait(client: Client, deposit: dict[str, Any], *, is_quiet: bool) -> dict[str, Any]:
    """Follow a deposit until it is over. A hang-up of this wait changes nothing: the money comes all the same."""
    from rich.status import Status

    status = None if is_quiet else Status(_STATES[deposit["state"]], console=console.err())
    try:
        if status is not None:
            status.start()
        while deposit["state"] in _WAITING:
            time.sleep(POLL_S)
            deposit = _now(client, deposit)
            if status is not None:
                status.update(_STATES.get(deposit["state"], deposit["state"]))
    except KeyboardInterrupt:
        console.err().print("not waiting any more; the deposit goes on, `hush deposit list` shows it")
        raise typer.Exit(130) from None
    finally:
        if status is not None:
            status.stop()
    return deposit


def _say_how_it_ended(deposit: dict[str, Any]) -> None:
    reason = f" ({deposit['reason']})" if deposit.get("reason") else ""
    console.err().print(f"{format_usd(deposit['amount_micro_usd'])}: {_STATES[deposit['state']]}{reason}", markup=False)


def _notes(deposit: dict[str, Any]) -> str:
    notes = ["top-up"] if deposit["origin"] == "topup" else []
    notes += [deposit["reason"]] if deposit.get("reason") else []
    for name in ("refunded", "disputed"):
        if amount := deposit[f"{name}_micro_usd"]:
            notes.append(f"{name} {format_usd(amount)}")
    return ", ".join(notes)


def _topup_text(shown: dict[str, Any]) -> str:
    if not shown["enabled"]:
        card_text = "a card is saved" if shown["has_card"] else "no card is saved: `hush deposit card 20 --save-card`"
        return f"off; {card_text}"
    text = (
        f"below {format_usd(shown['below_micro_usd'])} the card is charged {format_usd(shown['amount_micro_usd'])}, "
        f"at most {format_usd(shown['daily_limit_micro_usd'])} a day"
    )
    if shown.get("stopped_by"):
        text += f"\nstopped: {shown['stopped_by']}; set it again, or pay with another card and --save-card"
    return text
