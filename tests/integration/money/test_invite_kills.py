"""kill -9 while an invite is redeemed: it is used and credited together, or not at all, and then once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hushnet.coordinator.incentives.invites import Invites
from hushnet.coordinator.incentives.model import Invite, PromoGrant, Redemption
from hushnet.coordinator.ledger import faults
from hushnet.foundation.clock import ManualClock
from support import invite_victim
from support.incentives import AMPLE, open_account
from support.ledger import CONSUMER, database_url
from support.money import OpenMoney, open_money

AMOUNT = 500
START_MS = 1_763_690_000_000
LATER_MS = 600_000
"""A process that comes back finds every lease of the one that died ended."""
NOTHING, ALL = (0, 0, 0, 0), (AMOUNT, 1, 1, 1)


class Victims:
    """Forks victims of one warmed process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *arguments: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, arguments)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def victims() -> Iterator[Victims]:
    tests = Path(invite_victim.__file__).parent.parent
    paths = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    arguments = [sys.executable, invite_victim.__file__]
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Victims(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(("point", "left"), [(faults.APPLY_BEFORE_COMMIT, NOTHING), (faults.APPLY_AFTER_COMMIT, ALL)])
def test_an_invite_is_used_and_credited_together_or_not_at_all_when_the_process_dies(
    kind: str, point: str, left: tuple[int, ...], tmp_path: Path
) -> None:
    with database_url(kind, tmp_path) as url, victims() as fork:
        code = asyncio.run(_prepared(url))
        now_ms = START_MS
        for _ in range(3):  # whoever dies at the same place again leaves the same behind
            now_ms += LATER_MS
            status = fork.run(url, now_ms, code, f"{point}:kill")
            assert status == -signal.SIGKILL
            now_ms += LATER_MS
            assert asyncio.run(_found(url, now_ms)) == left
        now_ms += LATER_MS
        for _ in range(2):  # once more than needed
            assert fork.run(url, now_ms, code, "-") == 0
            now_ms += LATER_MS
        assert asyncio.run(_found(url, now_ms)) == ALL


async def _prepared(url: str) -> str:
    async with open_money(url, clock=ManualClock(START_MS)) as money:
        await open_account(money, CONSUMER)
        ends_ms = START_MS + 86_400_000
        made = await Invites(money.store, money.clock, AMPLE).create(AMOUNT, uses_max=1, expires_ms=ends_ms)
        return made.code.reveal()


async def _found(url: str, now_ms: int) -> tuple[int, ...]:
    """Return promo, uses, redemptions and grants; the books balance, or leaving them says so."""
    async with open_money(url, clock=ManualClock(now_ms)) as money:
        return await _state(money)


async def _state(money: OpenMoney) -> tuple[int, ...]:
    (invite,) = await money.all_of(Invite)
    redemptions, grants = await money.all_of(Redemption), await money.all_of(PromoGrant)
    return (await money.ledger.balance(CONSUMER)).promo, invite.uses, len(redemptions), len(grants)
