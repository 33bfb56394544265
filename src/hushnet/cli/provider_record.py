"""`hush provider record`: what the coordinator has seen of the account's providers, and what that costs them in routing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from hushnet.cli import console
from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.settings import load_settings

if TYPE_CHECKING:
    from hushnet.sdk.client import Client

_WS: Final = ("ws://", "wss://")

Coordinator = Annotated[
    str | None,
    typer.Option("--coordinator", metavar="URL", help="The coordinator's base URL (HUSH_PROVIDER_COORDINATOR)."),
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="A file that holds the provider token.")
]
Home = Annotated[Path | None, typer.Option("--home", help="Where Hushnet keeps its files (HUSH_HOME).", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON for a script.")]
Key = Annotated[
    str | None,
    typer.Option("--api-key", metavar="KEY", help="A key of the account instead of a token (HUSH_API_KEY)."),
]


def command(
    coordinator: Coordinator = None,
    token_file: TokenFile = None,
    api_key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show the record of every provider of the account: its score, the numbers behind it, and what it costs in routing.

    Asks with the provider token, or where none is set with the account's own key.
    """
    with _client(coordinator, token_file, api_key, home) as client:
        client.settings.require_key()
        records = client.request("GET", "/v1/provider/record")["data"]
    if as_json:
        console.print_json(records)
        return
    if not records:
        console.err().print("no provider of this account has registered yet")
    for record in records:
        _show(record)


def _client(coordinator: str | None, token_file: Path | None, api_key: str | None, home: Path | None) -> Client:
    from hushnet.cli.options import client_of  # a client is 0.7 s of imports that `hush provider start` has no use for

    flags = {"coordinator": coordinator, "token_file": token_file}
    settings = load_settings(flags=flags, environ=os.environ, home=home)
    if api_key is None and (token := settings.token.reveal()):
        if settings.coordinator.startswith(_WS):
            raise ConfigurationError(
                "records are not read over the link", hint="--coordinator takes the coordinator's http(s):// address"
            )
        return client_of(settings.coordinator, token, home)
    return client_of(coordinator, api_key, home)


def _show(record: dict[str, Any]) -> None:
    out = console.out()
    state = "connected" if record["is_connected"] else "not connected"
    newness = ", new here" if record["is_new"] else ""
    out.print(f"[bold]{record['provider_id'][:16]}[/]  {state}{newness}")
    out.print(
        f"score {record['score']:.3f}: routing adds {record['record_ms']} ms to the estimated time of a request there\n"
    )
    parts = console.table("part", "value", "why", numeric=frozenset({"value"}), whole=frozenset({"part"}))
    for part in record["components"]:
        parts.add_row(part["name"], f"{part['value']:.3f}", f"[dim]{escape(part['words'])}[/]")
    console.print_table(parts)
    if record["models"]:
        out.print("")
        console.print_table(_models(record["models"]))
    out.print("")


def _models(models: list[dict[str, Any]]) -> Any:
    columns = ("model", "uptime 24 h", "30 d", "class", "reported", "seen", "counted on", "adds ms")
    made = console.table(*columns, numeric=frozenset(columns[4:]) | {"uptime 24 h", "30 d"}, whole=frozenset({"class"}))
    for model in models:
        speed = model["speed"]
        made.add_row(
            escape(model["model"]),
            _share(model["uptime"]),
            _share(model["uptime_30d"]),
            model["uptime"]["class"],
            _rate(speed["reported_tokens_s"]),
            _rate(speed["seen_tokens_s"]),
            _rate(speed["believed_tokens_s"]),
            str(model["record_ms"]),
        )
    return made


def _share(uptime: dict[str, Any]) -> str:
    return "-" if uptime["share"] is None else f"{uptime['share']:.1%} of {uptime['served'] + uptime['failed']}"


def _rate(tokens_s: float) -> str:
    return f"{tokens_s:.1f} tok/s" if tokens_s else "-"
