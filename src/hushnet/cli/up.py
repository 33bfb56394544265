"""`hush up`: a whole private inference network on this machine, in one command.

A coordinator on SQLite and one provider run as processes of their own; this process starts them, makes a demo account,
watches over them and stops them in order.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer

from hushnet.cli import console
from hushnet.cli.local.home_lock import only_one, require_free_ports
from hushnet.cli.local.network import LocalNetwork, Plan, Ready
from hushnet.cli.options import AsJson, Home
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import make_private_folder, resolve_home
from hushnet.foundation.stopping import stop_signals, unless

PORT: Final = 8470


def command(
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65534,
            help="The HTTP port; providers dial the next one. 0 takes free ones (default: 8470; 0 with --once).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="hush-tiny (built in), PATH.gguf, hf:OWNER/REPO:FILE.gguf, or http://HOST:PORT/v1#MODEL."
        ),
    ] = None,
    slots: Annotated[
        int, typer.Option("--slots", min=1, max=64, help="How many requests the provider serves at once.")
    ] = 4,
    home: Home = None,
    once: Annotated[
        bool, typer.Option("--once", help="Hold one standard and one sealed chat, check the books, stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a private inference network on this machine: coordinator, provider, demo account.

    It prints the base URL, an API key and how to use them, and runs until Ctrl-C. With --json it prints one line
    {"base_url","api_key","model","provider_id","trust"} when ready and keeps running. With --once it proves itself:
    one streamed chat through the official openai package, one sealed chat, the costs, and that the books balance.
    Without --home it does so in a throw-away home, beside whatever runs.
    """
    require_parts()
    if port is None:
        port = 0 if once else PORT
    with _home_for(home, model, once=once) as folder, only_one(folder):
        require_free_ports(port)
        plan = Plan(home=folder, port=port, model=model, slots=slots, is_quiet=as_json)
        status = asyncio.run(_run_once(plan, as_json) if once else _run(plan, as_json))
    raise typer.Exit(status)


@contextmanager
def _home_for(flag: Path | None, model: str | None, *, once: bool) -> Iterator[Path]:
    """Make the home that was asked for, or, for a proof without one, a home that is removed afterwards."""
    if flag is not None or not once:
        yield make_private_folder(resolve_home(flag))
        return
    with TemporaryDirectory(prefix="hush-once-") as text:
        if (model or "").startswith("hf:"):
            # A download is worth keeping: it goes where `hush up` and `hush provider start` look for it.
            (Path(text) / "models").symlink_to(make_private_folder(resolve_home() / "models"))
        try:
            yield Path(text)
        except ConfigurationError as error:
            if error.error_code == "child_failed":
                hint = "run it again with --home DIR to keep its logs"
                raise ConfigurationError(str(error), code=error.error_code, hint=hint) from None
            raise


def require_parts() -> None:
    """Raise `ConfigurationError` before anything starts when the coordinator's or the provider's packages are missing."""
    missing = [name for name in ("sqlalchemy", "uvicorn", "picows", "xllamacpp") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"a whole network needs the packages {', '.join(missing)}, which are not installed",
            code="missing_extra",
            hint="pip install 'hushnet[all]'; this installation has the consumer's commands",
        )


async def _run(plan: Plan, as_json: bool) -> int:
    with stop_signals() as signals:
        async with LocalNetwork(plan) as network:
            ready = await unless(signals.first, network.start())
            if ready is not None:
                announce(ready, plan.home, as_json=as_json)
                await unless(signals.first, network.watch())
            if not as_json:
                console.err().print("stopping: the provider finishes what it serves, then the coordinator settles")
    if not as_json:
        console.err().print("stopped")
    return 0


async def _run_once(plan: Plan, as_json: bool) -> int:
    from hushnet.cli.local.demo import Demo

    async with LocalNetwork(plan) as network:
        ready = await network.start()
        return await asyncio.to_thread(Demo(ready, plan.home, as_json=as_json).run)


def announce(ready: Ready, home: Path, *, as_json: bool) -> None:
    """Say that the network serves, to a script or to a person."""
    if as_json:
        console.print_json(ready.to_json_object())
    else:
        print_ready(ready, home)


def hush_command(name: str, home: Path) -> str:
    """Return a shell line that runs the command `name` of this very installation on `home`."""
    own, found = Path(sys.argv[0]).absolute(), which("hush")
    if own.name == "__main__.py":
        words = [sys.executable, "-m", "hushnet", name]
    else:
        is_found = found is not None and Path(found).resolve() == own.resolve()
        words = ["hush" if is_found else str(own), name]
    if home != resolve_home():
        words += ["--home", str(home)]
    return shlex.join(words)


def print_ready(ready: Ready, home: Path) -> None:
    """Print what a person needs to use the network."""
    out = console.out()
    out.print(f"\n[bold green]ready[/]  {ready.model} at [bold]{ready.base_url}[/]  (trust: {ready.trust})\n")
    out.print(f"  base URL   {ready.base_url}/v1")
    out.print(f"  API key    {ready.api_key}")
    out.print(f"  provider   {ready.provider_id}\n")
    out.print("[bold]curl[/] [dim](standard mode: the coordinator, here your own machine, can read it)[/]")
    out.print(
        f"  curl -N {ready.base_url}/v1/chat/completions -H 'Authorization: Bearer {ready.api_key}' \\\n"
        "    -H 'Content-Type: application/json' \\\n"
        f'    -d \'{{"model":"{ready.model}","stream":true,'
        '"messages":[{"role":"user","content":"What is Hushnet?"}]}\'\n',
        markup=False,
    )
    python = shlex.quote(sys.executable) if find_spec("openai") else "a Python with the openai package"
    out.print("[bold]OpenAI SDK[/]")
    out.print(
        f"  # {python}\n"
        "  from openai import OpenAI\n"
        f'  client = OpenAI(base_url="{ready.base_url}/v1", api_key="{ready.api_key}")\n'
        f'  print(client.chat.completions.create(model="{ready.model}",\n'
        '      messages=[{"role": "user", "content": "What is Hushnet?"}]).choices[0].message.content)\n',
        markup=False,
    )
    out.print("[bold]sealed[/] [dim](end to end: the coordinator routes and bills without being able to read)[/]")
    out.print(f"  {hush_command('chat', home)}\n", markup=False)
    console.err().print("[dim]Ctrl-C stops everything[/]")
