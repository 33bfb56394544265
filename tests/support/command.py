"""`hush` in this process: what a command prints, without the seconds that a process of its own takes to start."""

from __future__ import annotations

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from hushnet.cli.main import build


async def printed(home: Path, base_url: str, key: str, *arguments: str) -> str:
    """Run one command with a key and return its standard output; it must succeed."""
    given = [*arguments, "--home", str(home), "--base-url", base_url, "--api-key", key]
    done = await asyncio.to_thread(CliRunner().invoke, build(given), given)
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return done.stdout
