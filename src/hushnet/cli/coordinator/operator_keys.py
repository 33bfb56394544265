"""`hush coordinator keys`: operators' keys, made in the database of this machine, because no request may make one."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, Home
from hushnet.foundation.errors import RequestError

if TYPE_CHECKING:
    from hushnet.coordinator.accounts import ApiKey
    from hushnet.coordinator.settings import CoordinatorSettings

app = typer.Typer()

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="A TOML file (HUSH_CONFIG; default: coordinator.toml in home).", metavar="FILE"),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.", metavar="URL"),
]


@app.callback()
def group() -> None:
    """Make, list and revoke operators' keys. On SQLite, stop the coordinator first; listing needs no stop."""


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    home: Home = None,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for one more operator. It is shown once; what needs two operators needs two of these."""
    from hushnet.coordinator.app import create_operator_key
    from hushnet.foundation.clock import SystemClock

    if not name.strip():
        raise RequestError("say whose key it is", code="out_of_range")
    made = asyncio.run(create_operator_key(_settings(home, database, config), SystemClock(), name))
    if as_json:
        console.print_json({"key": made.text.reveal(), **_shown(made.key)})
        return
    console.out().print(made.text.reveal(), markup=False)
    console.err().print("[dim]an operator's key: it is stored hashed and not shown again[/]")


@app.command("list")
def list_keys(
    home: Home = None, database: DatabaseUrl = None, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """List the operators' keys: never the secrets."""
    from hushnet.coordinator.app import operator_keys
    from hushnet.foundation.clock import SystemClock

    keys = [_shown(key) for key in asyncio.run(operator_keys(_settings(home, database, config), SystemClock()))]
    if as_json:
        console.print_json(keys)
        return
    table = console.table("id", "name", "account", "created", "state", whole=frozenset({"id", "created"}))
    for key in keys:
        state = f"revoked {_day(key['revoked_ms'])}" if key["revoked_ms"] else "active"
        table.add_row(
            key["id"], console.plain(key["name"] or "-"), str(key["account_id"]), _day(key["created_ms"]), state
        )
    console.print_table(table)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `hush coordinator keys list` shows it.")],
    home: Home = None,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
) -> None:
    """Revoke an operator's key."""
    from hushnet.coordinator.app import revoke_operator_key
    from hushnet.foundation.clock import SystemClock

    asyncio.run(revoke_operator_key(_settings(home, database, config), SystemClock(), key_id))
    console.err().print(f"key {key_id} is revoked")


def _settings(home: Path | None, database: str | None, config: Path | None) -> CoordinatorSettings:
    from hushnet.coordinator.settings import load_settings

    return load_settings(flags={"home": home, "database": database}, environ=os.environ, file=config)


def _shown(key: ApiKey) -> dict[str, Any]:
    from hushnet.coordinator.accounts.rules import write_key_id

    return {
        "id": write_key_id(key.id),
        "name": key.name,
        "account_id": key.account,
        "created_ms": key.created_ms,
        "revoked_ms": key.revoked_ms,
    }


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
