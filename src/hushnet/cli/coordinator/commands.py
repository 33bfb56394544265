"""`hush coordinator`: make the database and the operator's key, serve, show the settings."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hushnet.cli import console
from hushnet.cli.coordinator import operator_keys
from hushnet.cli.coordinator.operator_keys import ConfigFile, DatabaseUrl
from hushnet.cli.options import AsJson, Home
from hushnet.foundation.errors import ConfigurationError

if TYPE_CHECKING:
    from hushnet.coordinator.settings import CoordinatorSettings

app = typer.Typer()
app.add_typer(operator_keys.app, name="keys")

Others = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other setting; `hush coordinator settings` lists them.", metavar="NAME=VALUE"),
]
Network = Annotated[str | None, typer.Option("--network", help="Name that key statements are bound to.")]
Host = Annotated[str | None, typer.Option("--host", help="Address of the HTTP listener (default: 127.0.0.1).")]
Port = Annotated[int | None, typer.Option("--port", help="Port of the HTTP listener; 0: a free one (default: 8470).")]
PublicUrl = Annotated[
    str | None, typer.Option("--public-url", help="Base URL behind a proxy, as clients see it.", metavar="URL")
]
LinkHost = Annotated[
    str | None, typer.Option("--link-host", help="Address that providers dial (default: 127.0.0.1).", metavar="HOST")
]
LinkPort = Annotated[
    int | None, typer.Option("--link-port", help="Port that providers dial; 0: a free one (default: 8471).")
]
LinkPublicUrl = Annotated[
    str | None, typer.Option("--link-public-url", help="Link URL behind a proxy, as providers see it.", metavar="URL")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Processes that share the work; more than one needs Postgres (default: 1)."),
]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error (default: info).")]
LogFormat = Annotated[str | None, typer.Option("--log-format", help="console or json (default: console).")]


@app.command("init")
def init(
    home: Home = None,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    others: Others = None,
    is_new_key_wanted: Annotated[
        bool, typer.Option("--new-key", help="Revoke every operator's key and make a new one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the database and the operator's key. The key is shown once; running it again changes nothing."""
    import asyncio

    from hushnet.coordinator.app import initialise
    from hushnet.foundation.clock import SystemClock

    settings = _settings(config, others, {"home": home, "database": database})
    _log_to_stderr(settings)
    made = asyncio.run(initialise(settings, SystemClock(), is_new_key_wanted=is_new_key_wanted))
    key = made.text.reveal() if made is not None else None
    if as_json:
        console.print_json({"operator_key": key})
    elif key is None:
        console.err().print("this coordinator has an operator's key already; `--new-key` replaces it")
    else:
        console.out().print(key, markup=False)
        console.err().print("[dim]the operator's key: it is stored hashed and not shown again[/]")


@app.command("serve")
def serve(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    public_url: PublicUrl = None,
    link_host: LinkHost = None,
    link_port: LinkPort = None,
    link_public_url: LinkPublicUrl = None,
    database: DatabaseUrl = None,
    network: Network = None,
    workers: Workers = None,
    config: ConfigFile = None,
    others: Others = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    as_json: AsJson = False,
) -> None:
    """Run the coordinator until SIGTERM or Ctrl-C; requests that run then may finish. A second signal cuts them off.

    With --json it prints one line {"base_url","link_url","network"} when it is ready: with several workers, when all are.
    """
    flags: dict[str, object] = {"home": home, "database": database, "network": network, "workers": workers}
    flags |= {"http.host": host, "http.port": port, "http.public_url": public_url}
    flags |= {"link.host": link_host, "link.port": link_port, "link.public_url": link_public_url}
    flags |= {"log.level": log_level, "log.format": log_format}
    settings = _settings(config, others, flags)
    _log_to_stderr(settings)
    import uvloop

    if settings.workers == 1:
        uvloop.run(_serve(settings, as_json=as_json))
    elif status := uvloop.run(_supervise(settings, as_json=as_json)):
        raise typer.Exit(status)


@app.command("worker", hidden=True)
def worker(
    number: Annotated[int, typer.Argument(help="Shown in the list of processes; the order counts.")] = 0,
) -> None:
    """Be one of several workers; only a supervisor starts this, with its order on standard input."""
    del number
    from hushnet.coordinator.app.supervision import work

    if status := work():
        raise typer.Exit(status)


@app.command("settings")
def show_settings(
    home: Home = None,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    others: Others = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting, the value in force, and what it means. Passwords are not shown."""
    from hushnet.coordinator.settings import settings_table
    from hushnet.coordinator.settings.table import shown, value_of

    settings = _settings(config, others, {"home": home, "database": database})
    rows = [(row, shown(value_of(settings, row.name))) for row in settings_table()]
    if as_json:
        console.print_json({row.name: value for row, value in rows})
        return
    table = console.table("setting", "value", "unit", "meaning", "environment")
    for row, value in rows:
        table.add_row(row.name, value, row.unit, row.meaning, row.env)
    console.out().print(table)


def _settings(config: Path | None, others: Iterable[str] | None, flags: dict[str, object]) -> CoordinatorSettings:
    from hushnet.coordinator.settings import load_settings

    for text in others or ():
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigurationError("--set takes NAME=VALUE", hint="for example --set http.keep_alive_s=30")
        if flags.get(name.strip()) is None:
            flags[name.strip()] = value
    return load_settings(flags=flags, environ=os.environ, file=config)


def _log_to_stderr(settings: CoordinatorSettings) -> None:
    from hushnet.foundation.logs import configure_logging

    configure_logging(settings.log.level, settings.log.format)


async def _serve(settings: CoordinatorSettings, *, as_json: bool) -> None:
    from hushnet.coordinator.app import build
    from hushnet.coordinator.app.interpreter import tune
    from hushnet.foundation.clock import SystemClock
    from hushnet.foundation.stopping import stop_signals

    with stop_signals() as signals:
        coordinator = await build(settings, SystemClock())
        try:
            await coordinator.start()
            tune()
            is_initialised = await coordinator.accounts.is_initialised()
            _announce(settings, coordinator.base_url, coordinator.link_url, is_initialised, as_json=as_json)
            await signals.first.wait()
            # A second signal: the ledger finalises at the next start what this leaves open, and charges nobody twice.
            signals.then(lambda: os._exit(1) if signals.count > 1 else None)
        finally:
            await coordinator.aclose()


async def _supervise(settings: CoordinatorSettings, *, as_json: bool) -> int:
    """Run several workers until a signal; return the exit status."""
    from hushnet.coordinator.app import prepare_files
    from hushnet.coordinator.app.supervision import Supervisor
    from hushnet.foundation.stopping import stop_signals

    prepare_files(settings)
    with stop_signals() as signals, Supervisor(settings).opened() as supervisor:
        signals.then(lambda: supervisor.stop() if signals.count == 1 else supervisor.kill())
        try:
            ready = await supervisor.start()
            if ready is not None:
                _announce(settings, ready.base_url, ready.link_url, ready.is_initialised, as_json=as_json)
                await signals.first.wait()
        finally:
            supervisor.stop()
            status = await supervisor.ended()
        return status


def _announce(
    settings: CoordinatorSettings, base_url: str, link_url: str, is_initialised: bool, *, as_json: bool
) -> None:
    if as_json:
        console.print_json({"base_url": base_url, "link_url": link_url, "network": settings.network})
        return
    from hushnet.coordinator.settings.table import shown

    out = console.out()
    out.print("[bold green]coordinator ready[/]\n")
    for name, value in (
        ("base URL", f"{base_url}/v1"),
        ("providers dial", link_url),
        ("network", settings.network),
        ("database", shown(settings.database)),
        ("home", str(settings.home)),
        *((("workers", str(settings.workers)),) if settings.workers > 1 else ()),
    ):
        out.print(f"  {name:<15} {value}", markup=False)
    if not is_initialised:
        out.print(
            "\n[yellow]nobody holds the operator's key yet[/]: stop this, run `hush coordinator init`, start again"
        )
    console.err().print("\n[dim]Ctrl-C stops it; running requests may finish[/]")
