"""`hush up`: a whole private inference network on this machine, in one command.

A coordinator on SQLite and one provider run as processes of their own; this process starts them, makes a demo account,
watches over them and stops them in order.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.local_network import LocalNetwork, Plan, Ready
from hushnet.cli.options import AsJson, Home
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import make_private_folder, resolve_home
from hushnet.foundation.stopping import stop_signals, unless


def command(
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65534, help="The HTTP port; providers dial the next one. 0 takes free ones."),
    ] = 8470,
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
    """
    require_parts()
    folder = make_private_folder(resolve_home(home))
    plan = Plan(home=folder, port=port, model=model, slots=slots, is_quiet=as_json)
    status = asyncio.run(_run_once(plan, as_json) if once else _run(plan, as_json))
    raise typer.Exit(status)


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
            if ready is None:
                return 0
            if as_json:
                console.print_json(ready.to_json_object())
            else:
                print_ready(ready, plan.home)
            await unless(signals.first, network.watch())
            if not as_json:
                console.err().print("stopping: the provider finishes what it serves, then the coordinator settles")
    return 0


async def _run_once(plan: Plan, as_json: bool) -> int:
    from hushnet.cli.demo import Demo

    async with LocalNetwork(plan) as network:
        ready = await network.start()
        return await asyncio.to_thread(Demo(ready, plan.home, as_json=as_json).run)


def print_ready(ready: Ready, home: Path) -> None:
    """Print what a person needs to use the network."""
    out = console.out()
    command_line = f"hush chat --home {home}" if home != resolve_home(None) else "hush chat"
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
    out.print("[bold]OpenAI SDK[/]")
    out.print(
        "  from openai import OpenAI\n"
        f'  client = OpenAI(base_url="{ready.base_url}/v1", api_key="{ready.api_key}")\n'
        f'  print(client.chat.completions.create(model="{ready.model}",\n'
        '      messages=[{"role": "user", "content": "What is Hushnet?"}]).choices[0].message.content)\n',
        markup=False,
    )
    out.print("[bold]sealed[/] [dim](end to end: the coordinator routes and bills without being able to read)[/]")
    out.print(f"  {command_line}\n", markup=False)
    console.err().print("[dim]Ctrl-C stops everything[/]")
