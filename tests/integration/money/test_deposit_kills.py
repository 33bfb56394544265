"""kill -9 at every hook of a deposit's life: one Checkout, one credit, one refund, whatever dies and whenever."""

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

from hushnet.coordinator.ledger import faults
from hushnet.coordinator.payments.deposits.model import Deposit, DepositState, Reversal, ReversalState
from hushnet.foundation.clock import ManualClock
from support import deposit_victim
from support.ledger import CONSUMER, database_url
from support.money import open_money
from support.stripe_fake import FakeStripe, running_stripe

CENT = 10_000
START_MS = 1_763_690_000_000
LATER_MS = 3_600_000
"""A process that comes back finds every lease of the one that died ended."""
TIMES_MAX = 40


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
    tests = Path(deposit_victim.__file__).parent.parent
    paths = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths}
    arguments = [sys.executable, deposit_victim.__file__]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Victims(process)
        assert process.stdin is not None
        process.stdin.close()


HOOKS = (
    faults.APPLY_BEFORE_COMMIT,
    faults.APPLY_AFTER_COMMIT,
    faults.INBOX_BEFORE_COMMIT,
    faults.INBOX_AFTER_COMMIT,
    faults.CALL_BEFORE_SEND,
    faults.CALL_AFTER_SEND,
)
PLACES = [("sqlite", point) for point in HOOKS] + [("postgresql", point) for point in HOOKS[:2]]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "point"), PLACES)
def test_kill_at_every_hook(kind: str, point: str, tmp_path: Path) -> None:
    """One process lives the whole story and is killed at each passing of the hook in turn, each time where the last died."""
    stripe = FakeStripe(now_s=lambda: START_MS // 1000)
    with running_stripe(stripe), database_url(kind, tmp_path) as url, victims() as fork:
        now_ms, deaths = START_MS, 0
        for times in range(1, TIMES_MAX):
            status = fork.run(url, stripe.base_url, now_ms, f"{point}:kill:{times}")
            now_ms += LATER_MS
            if status == 0:
                break
            assert status == -signal.SIGKILL
            deaths += 1
        assert status == 0
        assert deaths >= 2
        asyncio.run(_check(url, now_ms))
        assert {len(stripe.world.objects[name]) for name in ("sessions", "charges", "refunds")} == {1}


async def _check(url: str, now_ms: int) -> None:
    async with open_money(url, clock=ManualClock(now_ms)) as money:
        (deposit,) = await money.all_of(Deposit)
        (reversal,) = await money.all_of(Reversal)
        assert deposit.state is DepositState.PAID
        assert reversal.state is ReversalState.FINAL
        assert deposit.refunded == deposit_victim.REFUNDED_CENTS * CENT
        balance = await money.ledger.balance(CONSUMER)
        assert balance.paid == (deposit_victim.CENTS - deposit_victim.REFUNDED_CENTS) * CENT
