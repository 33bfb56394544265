"""`hush keys`: create, list and revoke the account's API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.money.budget import parse_budget
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, client_of
from hushnet.foundation.errors import RequestError

app = typer.Typer()


class Scope(StrEnum):
    """What a key is for."""

    USER = "user"
    PROVIDER = "provider"


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; shown in the list.")] = "",
    scope: Annotated[
        Scope, typer.Option("--scope", help="user: use models; provider: connect a machine that earns.")
    ] = Scope.USER,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget", help="What the key may spend, like 5/day or 0.10/request; may be given several times."
        ),
    ] = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Create a key. It is shown once and stored hashed: keep it."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        budgets = [parse_budget(each) for each in budget or ()]
        wish = {"name": name, "scope": scope.value, **({"budgets": budgets} if budgets else {})}
        created = client.request("POST", "/v1/keys", wish)
    if as_json:
        console.print_json(created)
        return
    console.out().print(created["key"])
    console.err().print(f"[dim]key {created['id']} ({created['scope']}); it is not shown again[/]")


@app.command("list")
def list_keys(base_url: BaseUrl = None, api_key: ApiKey = None, home: Home = None, as_json: AsJson = False) -> None:
    """List the account's keys: never the secrets."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        keys = client.request("GET", "/v1/keys")["data"]
    if as_json:
        console.print_json(keys)
        return
    table = console.table("id", "name", "scope", "created", "state", whole=frozenset({"id", "created"}))
    for key in keys:
        state = f"revoked {_day(key['revoked_ms'])}" if key.get("revoked_ms") else "active"
        table.add_row(
            str(key["id"]), console.plain(key.get("name") or "-"), key["scope"], _day(key["created_ms"]), state
        )
    console.print_table(table)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `hush keys list` shows it.")],
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
) -> None:
    """Revoke a key at once."""
    with client_of(base_url, api_key, home) as client:
        client.settings.require_key()
        try:
            client.request("DELETE", f"/v1/keys/{key_id}" if key_id.isalnum() else "/v1/keys/-")
        except RequestError as error:
            raise RequestError(str(error), code=error.error_code, hint="`hush keys list` shows the ids") from None
    console.err().print(f"key {key_id} is revoked")


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
