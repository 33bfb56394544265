"""`hush provider`: serve models from this machine, and see who it is to others."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from hushnet.cli import console, provider_record
from hushnet.cli.extras import require_extra
from hushnet.foundation.home import resolve_home
from hushnet.provider import notices
from hushnet.provider.attempt import AttemptReport
from hushnet.provider.identity import KEY_FILE, load_identity
from hushnet.provider.settings import TABLE, ProviderSettings, load_settings

app = typer.Typer(help="Serve models from this machine and earn.")

Home = Annotated[Path | None, typer.Option("--home", help="Where Hushnet keeps its files (HUSH_HOME).", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON for a script.")]
Coordinator = Annotated[
    str | None,
    typer.Option("--coordinator", metavar="URL", help="The coordinator's address (HUSH_PROVIDER_COORDINATOR)."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="The provider token. Others on this machine can see it there: prefer --token-file or HUSH_PROVIDER_TOKEN.",
    ),
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="A file that holds the provider token.")
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="PATH.gguf, hf:OWNER/REPO:FILE.gguf or URL#NAME; default: the built-in one. Several times for several models.",
    ),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        "--memory-budget", metavar="SIZE", help="Memory of all loaded models, like 24GiB; default: most of it."
    ),
]
IdleUnloadS = Annotated[
    float | None, typer.Option("--idle-unload-s", help="Seconds until an unused model is unloaded; default: never.")
]
Engine = Annotated[
    str | None, typer.Option("--engine", metavar="NAME", help="The engine; default: the one that the model needs.")
]
Slots = Annotated[int | None, typer.Option("--slots", help="Requests generated at the same time; default 4.")]
Queue = Annotated[int | None, typer.Option("--queue", help="Requests that may wait for a slot; default 8.")]
Threads = Annotated[int | None, typer.Option("--threads", help="Threads of the engine; default: all cores but one.")]
ContextTokens = Annotated[
    int | None, typer.Option("--context-tokens", help="Context of one slot; default: the model's own.")
]
Region = Annotated[
    str | None, typer.Option("--region", metavar="WORD", help="Where this machine stands, like de or us-east.")
]
Network = Annotated[str | None, typer.Option("--network", metavar="NAME", help="Serve this network and no other.")]
DrainS = Annotated[
    float | None, typer.Option("--drain-s", help="Seconds for running requests when stopping; default 30.")
]
ReadyAsJson = Annotated[
    bool,
    typer.Option("--json", help='Print {"provider_id","model","link"} in one line when registered, and keep running.'),
]
_STARTED_S = time.monotonic()


@app.command()
def start(
    coordinator: Coordinator = None,
    token: Token = None,
    token_file: TokenFile = None,
    model: Model = None,
    engine: Engine = None,
    slots: Slots = None,
    queue: Queue = None,
    threads: Threads = None,
    context_tokens: ContextTokens = None,
    memory_budget: MemoryBudget = None,
    idle_unload_s: IdleUnloadS = None,
    network: Network = None,
    region: Region = None,
    drain_s: DrainS = None,
    home: Home = None,
    as_json: ReadyAsJson = False,
) -> None:
    """Load models, connect to a coordinator and serve until Ctrl-C or SIGTERM, which finish what runs.

    Every option can be set as HUSH_PROVIDER_<NAME> or in HOME/provider.toml: `hush provider settings` lists them.
    """
    require_extra("provider", "picows", "psutil")
    settings = load_settings(
        flags={
            "coordinator": coordinator,
            "token": token,
            "token_file": token_file,
            "model": model or None,
            "engine": engine,
            "slots": slots,
            "queue": queue,
            "threads": threads,
            "context_tokens": context_tokens,
            "memory_budget": memory_budget,
            "idle_unload_s": idle_unload_s,
            "network": network,
            "region": region,
            "drain_s": drain_s,
        },
        environ=os.environ,
        home=home,
    )
    raise typer.Exit(_serve(settings, _Status(as_json=as_json)))


@app.command()
def identity(home: Home = None, as_json: AsJson = False) -> None:
    """Show the identity of the provider in HOME: its id and public key. The private key stays in its file."""
    folder = ProviderSettings(home=resolve_home(home)).state_folder
    key = load_identity(folder)
    public_key = base64.b64encode(key.public_key).decode()
    if as_json:
        console.print_json({"provider_id": key.provider_id, "alg": key.alg, "public_key": public_key})
        return
    out = console.out()
    out.print(f"provider id  {key.provider_id}", markup=False)
    out.print(f"public key   {public_key} ({key.alg})", markup=False)
    out.print(f"file         {folder / KEY_FILE}", markup=False)


@app.command()
def settings(home: Home = None, as_json: AsJson = False) -> None:
    """List every setting: its variable, its value now, and what it means. The token is not shown.

    In HOME/provider.toml a setting has the variable's name in small letters, without hush_provider_.
    """
    now = load_settings(flags={}, environ=os.environ, home=home)
    rows = [(row, _shown(now, row.name)) for row in TABLE]
    if as_json:
        console.print_json({row.name: {"variable": row.variable, "value": value} for row, value in rows})
        return
    table = console.table("variable", "value", "meaning", whole=frozenset({"variable"}))
    for row, value in rows:
        table.add_row(row.variable, escape(value), row.meaning)
    console.out().print(table)


app.command("record")(provider_record.command)


def _shown(now: ProviderSettings, name: str) -> str:
    if name == "token":
        return "(set)" if now.token.reveal() else ""
    value = getattr(now, name, None)
    return "" if value is None else str(value)


def _serve(settings: ProviderSettings, status: _Status) -> int:
    settings.require_token()
    from hushnet.foundation.logs import configure_logging
    from hushnet.provider.daemon import run
    from hushnet.provider.models.progress import progress_bar

    configure_logging("warning")
    life = run(settings, notify=status, show_progress=lambda: progress_bar(console.err()))
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(life)
    return uvloop.run(life)


class _Status:
    """Prints notices as status lines on stderr, and the ready line on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._is_ready = False

    def __call__(self, notice: notices.Notice) -> None:
        if isinstance(notice, notices.Registered) and self._as_json and not self._is_ready:
            console.print_json({"provider_id": notice.provider_id, "model": notice.model, "link": notice.link_url})
        self._is_ready = self._is_ready or isinstance(notice, notices.Registered)
        if (say := _LINES.get(type(notice))) is not None:
            console.err().print(f"[dim]{time.monotonic() - _STARTED_S:8.1f} s[/]  {escape(say(notice))}")


def _line_of_attempt(report: AttemptReport) -> str:
    took = f"{report.duration_ms / 1000:.2f} s"
    if report.outcome == "served":
        return f"request {report.attempt}: {report.input_tokens} in, {report.output_tokens} out, {took}"
    return f"request {report.attempt}: {report.outcome} after {took}"


_LINES: Final[dict[type, Callable[[Any], str]]] = {
    notices.CoordinatorSought: lambda said: f"waiting for the coordinator at {said.url}",
    notices.EngineLoading: lambda said: f"loading {said.model} with {said.engine}",
    notices.EngineLoaded: lambda said: (
        f"loaded {said.model} in {said.seconds:.1f} s: {said.slots} slots of {said.context_tokens} tokens "
        f"({', '.join(said.features) or 'plain text'})"
    ),
    notices.EngineLost: lambda said: f"the engine of {said.model} died; loading it again, refusing requests meanwhile",
    notices.ModelFreed: lambda said: f"unloaded {said.model}; still on offer",
    notices.ModelFailed: lambda said: f"{said.model} does not load; it is offered again after a while",
    notices.Registered: lambda said: (
        f"registered as {said.provider_id[:16]} in {said.network}; serving {', '.join((said.model, *said.others))}"
    ),
    notices.LinkDown: lambda said: f"lost the link to {said.link_url}; dialling again",
    notices.Draining: lambda said: (
        f"stopping: {said.running} running, waiting at most {said.seconds_max:.0f} s (again to hurry)"
    ),
    notices.Stopped: lambda said: f"stopped; served {said.served}, did not serve {said.failed}",
    AttemptReport: _line_of_attempt,
}
"""Each notice in one line; a key rotation is not worth one."""
