"""`kill -9` at every hook of a payout's life: another process takes it to its end, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

import support.payout_victim as victim
from hushnet.coordinator.ledger import faults
from hushnet.coordinator.payments.payouts.model import PayoutState
from hushnet.foundation.clock import ManualClock, SystemClock
from support.ledger import MINUTE_MS, PROVIDER, database_url
from support.money import open_money
from support.payout_desk import DAY_S, Desk, open_desk, prepared
from support.stripe_fake import FakeStripe, running_stripe

KILLS = {
    # How often each point is reached in one payout's life; the victim survives one more.
    faults.APPLY_BEFORE_COMMIT: 10,
    faults.APPLY_AFTER_COMMIT: 10,
    faults.CALL_BEFORE_SEND: 3,
    faults.CALL_AFTER_SEND: 3,
    faults.INBOX_BEFORE_COMMIT: 1,
    faults.INBOX_AFTER_COMMIT: 1,
}
PLACES = [(hook, nth) for hook, times in KILLS.items() for nth in range(1, times + 2)]


@pytest.fixture(scope="module")
def victims() -> Iterator[Popen[str]]:
    """The process that forks victims."""
    with Popen([sys.executable, str(Path(victim.__file__))], stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def killed_at(victims: Popen[str], url: str, stripe_url: str, fault: str) -> int:
    """Run a victim to its end, by a hook or its own, and return its exit status."""
    assert victims.stdin is not None
    assert victims.stdout is not None
    victims.stdin.write(f"{url} {stripe_url} {fault}\n")
    return int(victims.stdout.readline())


@pytest.fixture(scope="module")
def stripe() -> Iterator[FakeStripe]:
    with running_stripe() as served:
        yield served


async def earn(url: str, stripe: FakeStripe) -> None:
    """An owner with earnings of three days ago and a bank account."""
    clock = ManualClock(SystemClock().now_ms() - 3 * DAY_S * 1000)
    async with open_money(url, clock=clock) as money, open_desk(money, prepared(stripe)) as desk:
        await desk.provider(PROVIDER)


async def finish(desk: Desk) -> None:
    """What the next process does: the owner asks again under the same id, and everything takes its course."""
    payout = await desk.ask(victim.GROSS, client=victim.CLIENT)
    await desk.settle()
    if (await desk.now(payout)).state is PayoutState.IN_TRANSIT:
        await desk.pay_at_bank(payout, "canceled")
        await desk.settle()
    row = await desk.now(payout)
    assert (row.state, row.reason) == (PayoutState.RETURNED, "failed:payout_canceled")
    assert await desk.is_whole()
    assert await desk.findings() == []
    made = {kind: len(desk.stripe.world.objects[kind]) for kind in ("transfers", "payouts", "reversals")}
    assert made == {"transfers": 1, "payouts": 1, "reversals": 1}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(("hook", "nth"), PLACES)
async def test_kill_at_every_hook(
    tmp_path: Path, victims: Popen[str], stripe: FakeStripe, kind: str, hook: str, nth: int
) -> None:
    with database_url(kind, tmp_path) as url:
        await earn(url, stripe)
        fault = f"{hook}:kill:{nth}"
        status = await asyncio.to_thread(killed_at, victims, url, stripe.base_url, fault)
        assert status == (-9 if nth <= KILLS[hook] else 0)
        clock = ManualClock(SystemClock().now_ms() + 10 * MINUTE_MS)
        async with open_money(url, clock=clock) as money, open_desk(money, stripe) as desk:
            await finish(desk)
