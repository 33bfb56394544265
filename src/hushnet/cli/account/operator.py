"""What the operator does with accounts: make them and their keys, give them credit, look at them, bar them.

What makes or gives something can be given twice: a name is one account, a grant's id gives once. But each key is a new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from hushnet.cli import balance, console
from hushnet.cli.keys import Scope
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.foundation.money import format_usd

AccountArgument = Annotated[int, typer.Argument(help="The account's id.", metavar="ACCOUNT")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to those that everybody has."""
    for command in (create, show, key, grant, bar, reopen):
        app.command(command.__name__)(command)


def create(
    name: Annotated[str, typer.Argument(help="Your handle for it: the same name is the same account.")],
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make an account, or find the one of that name. For operators."""
    with operator_client(base_url, api_key, home) as client:
        account = client.request("POST", "/v1/admin/accounts", {"name": name})
    if as_json:
        console.print_json(account)
        return
    console.out().print(str(account["account_id"]))
    told = "is new" if account["created"] else "was there before"
    console.err().print(f"[dim]it {told}; `hush account key {account['account_id']}` makes a key for it[/]")


def show(
    account: AccountArgument,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show an account and its balance. For operators."""
    with operator_client(base_url, api_key, home) as client:
        found = client.request("GET", f"/v1/admin/accounts/{account}")
    if as_json:
        console.print_json(found)
        return
    state = ", barred or closed" if found["closed_ms"] else ""
    console.out().print(f"account {found['account_id']}, {found['name']}{state}", markup=False)
    balance.show(found["balance"])


def key(
    account: AccountArgument,
    name: Annotated[str, typer.Argument(help="What the key is for; shown in the list.")] = "",
    scope: Annotated[
        Scope, typer.Option("--scope", help="user: use models; provider: connect a machine that earns.")
    ] = Scope.USER,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for an account. It is shown once and stored hashed. For operators."""
    with operator_client(base_url, api_key, home) as client:
        made = client.request("POST", f"/v1/admin/accounts/{account}/keys", {"scope": scope.value, "name": name})
    if as_json:
        console.print_json(made)
        return
    console.out().print(made["key"])
    console.err().print(f"[dim]key {made['id']} ({made['scope']}); it is not shown again[/]")


def grant(
    account: AccountArgument,
    amount: Annotated[str, typer.Argument(help="US dollars, like 12.34.", metavar="USD")],
    grant_id: Annotated[str, typer.Option("--id", help="A name of yours: the same again gives once.")] = "",
    note: Annotated[str, typer.Option("--note", help="Why; it stands in the books.")] = "",
    expires_ms: Annotated[
        int | None,
        typer.Option("--expires-ms", help="What is unspent at this Unix time in milliseconds is taken back."),
    ] = None,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give an account promo credit: spendable, never withdrawable. For operators."""
    wish = {"amount_usd": amount, "grant_id": grant_id or str(uuid4()), "note": note, "expires_ms": expires_ms}
    with operator_client(base_url, api_key, home) as client:
        given = client.request("POST", f"/v1/admin/accounts/{account}/grants", wish)
    if as_json:
        console.print_json(given)
        return
    told = "was given" if given["outcome"] == "posted" else "had been given before"
    console.out().print(f"{format_usd(given['amount_micro_usd'])} {told} to account {account}")


def bar(
    account: AccountArgument,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Stop an account's keys, until it is reopened; its money stays. For operators."""
    _switch(account, "bar", base_url, api_key, home, as_json=as_json)


def reopen(
    account: AccountArgument,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Let the keys of a barred account work again. For operators."""
    _switch(account, "reopen", base_url, api_key, home, as_json=as_json)


def _switch(
    account: int, word: str, base_url: str | None, api_key: str | None, home: Path | None, *, as_json: bool
) -> None:
    with operator_client(base_url, api_key, home) as client:
        told = client.request("POST", f"/v1/admin/accounts/{account}/{word}")
    if as_json:
        console.print_json(told)
        return
    console.out().print(f"account {account} is {'barred' if told['barred'] else 'open'}")
