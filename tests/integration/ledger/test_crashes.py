"""`kill -9` right before and right after every commit of a request: the books balance and nobody pays twice."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

import support.ledger_victim as victim
from hushnet.foundation.clock import ManualClock, SystemClock
from support.ledger import MINUTE_MS, database_url, open_ledger

ACKNOWLEDGED = ["granted", "held", "settled", "held", "settled"]
"""What the victim says after each of its five commits; a draft of 30 is saved between the last two."""

KilledAt: TypeAlias = Callable[[str, int, str], Awaitable[list[str]]]

CONSUMER_KEEPS = {
    "ledger.before_commit": (0, 1000, 1000, 950, 920),
    "ledger.after_commit": (1000, 1000, 950, 950, 900),
}
"""What is left of the grant when the victim dies at commit 1..5 and another process has swept."""


@pytest.fixture
async def killed_at() -> AsyncIterator[KilledAt]:
    """Run a victim until a hook kills it and return what it had acknowledged."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(victim.__file__)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    async def killed_at(hook: str, nth: int, url: str) -> list[str]:
        stdin.write(f"{url} {hook}:kill:{nth}\n".encode())
        status, *said = (await stdout.readline()).decode().split()
        assert status == "-9"
        return said

    yield killed_at
    stdin.close()
    await process.wait()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("hook", CONSUMER_KEEPS)
async def test_kill_at_every_hook(tmp_path: Path, killed_at: KilledAt, kind: str, hook: str) -> None:
    for nth, keeps in enumerate(CONSUMER_KEEPS[hook], 1):
        folder = tmp_path / str(nth)
        folder.mkdir()
        with database_url(kind, folder) as url:
            assert await killed_at(hook, nth, url) == ACKNOWLEDGED[: nth - 1]
            clock = ManualClock(SystemClock().now_ms() + 10 * MINUTE_MS)
            async with open_ledger(url, clock=clock) as books:
                balance = await books.ledger.balance(victim.CONSUMER)
                assert (balance.promo, balance.held) == (keeps, 0)
                earned = 1000 - keeps if keeps else 0
                assert (await books.ledger.balance(victim.PROVIDER)).earnings == earned
                assert await books.findings() == []
