"""Killed at every named point: nothing is paid twice, nothing that was paid is lost, whoever comes back is served once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.payments.x402.book import Bought
from hushnet.coordinator.payments.x402.payload import read_payment
from hushnet.coordinator.payments.x402.purchases import Denied, Due, Purchase
from hushnet.coordinator.payments.x402.transitions import State
from hushnet.foundation.clock import ManualClock
from support.ledger import PROVIDER, database_url
from support.x402_shop import AMOUNT, Shop, open_facilitator, open_shop, real_clock, signed
from support.x402_victim import COST

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[3]
LEASES_S = 65
COMMITS = {"exact": 3, "upto": 5}
"""How many transactions a purchase takes, with what follows an `upto` one up to its call."""
FAULTS = {
    "before": ("apply.before_commit", "call.before_send"),
    "after": ("apply.after_commit", "call.after_send"),
}


@pytest.fixture(scope="module")
def victims() -> Iterator[subprocess.Popen[str]]:
    """A process that forks victims."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "support.x402_victim"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=TESTS
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def fate_of(victims: subprocess.Popen[str], *order: str) -> str:
    """Have a victim live and die; return its exit status."""
    assert victims.stdin is not None
    assert victims.stdout is not None
    victims.stdin.write(" ".join(order) + "\n")
    victims.stdin.flush()
    return victims.stdout.readline().strip()


def faults(when: str, scheme: str) -> Iterator[str]:
    commit, send = FAULTS[when]
    yield from (f"{commit}:kill:{nth}" for nth in range(1, COMMITS[scheme] + 1))
    yield f"{send}:kill:1"
    if scheme == "upto":
        yield f"ledger.{when}_commit:kill:1"


@asynccontextmanager
async def killed(
    victims: subprocess.Popen[str], kind: str, path: Path, fault: str, *, scheme: str = "exact"
) -> AsyncIterator[tuple[Shop, bytes]]:
    """Let a process buy and die at `fault`; yield the till of one that comes after it, and the payment's header."""
    clock = real_clock()
    with database_url(kind, path) as url:
        async with open_facilitator(clock) as facilitator:
            async with open_shop(url, facilitator, clock) as first:
                header = await signed(first.account, scheme=scheme)
            order = (url, facilitator.url, header.decode(), str(clock.now_ms()), fault)
            assert await asyncio.to_thread(fate_of, victims, *order) == "-9", fault
            clock.advance(LEASES_S)
            async with open_shop(url, facilitator, clock) as shop:
                yield shop, header


async def come_back(shop: Shop, header: bytes) -> Purchase:
    """Send the same request with the same payment until there is an answer, as a client is told to."""
    payment = read_payment(header, version=2)
    for _ in range(40):
        purchase = await shop.buy(payment)
        if isinstance(purchase, Bought | Due | Denied):
            return purchase
        await _wait(shop)
    raise AssertionError("never answered")


async def _wait(shop: Shop) -> None:
    clock: ManualClock = shop.money.clock
    clock.advance(15)
    await shop.money.ledger.renew()
    await shop.money.ledger.sweep()
    await shop.keeper.step()
    await shop.calls.step()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("when", FAULTS)
async def test_a_process_that_dies_while_it_sells_loses_and_doubles_nothing(
    victims: subprocess.Popen[str], kind: str, when: str, tmp_path: Path
) -> None:
    for number, fault in enumerate(faults(when, "exact")):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with killed(victims, kind, folder, fault) as (shop, header):
            purchase = await come_back(shop, header)
            assert isinstance(purchase, Bought), (fault, purchase)
            assert (shop.earned, await shop.operator_balance(Kind.X402)) == (AMOUNT, AMOUNT)
            await shop.close(purchase, 700)
            assert await shop.credit() == AMOUNT - 700
            assert await come_back(shop, header) == Denied("payment_used")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("when", FAULTS)
async def test_a_process_that_dies_after_it_served_collects_once(
    victims: subprocess.Popen[str], kind: str, when: str, tmp_path: Path
) -> None:
    for number, fault in enumerate(faults(when, "upto")):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with killed(victims, kind, folder, fault, scheme="upto") as (shop, header):
            purchase = await come_back(shop, header)
            if isinstance(purchase, Bought):
                await shop.close(purchase, COST)
            for _ in range(12):
                await _wait(shop)
            await assert_collected_once(shop)


async def assert_collected_once(shop: Shop) -> None:
    """What the provider was paid came from the chain, or is the operator's loss; nothing is left in between."""
    row = await shop.row()
    served = (await shop.money.ledger.balance(PROVIDER)).earnings
    assert (row.state, served) in ((State.SETTLED, COST), (State.LAPSED, 0), (State.LOST, COST))
    collected = COST if row.state is State.SETTLED else 0
    assert (shop.earned, await shop.operator_balance(Kind.X402)) == (collected, collected)
    assert await shop.operator_balance(Kind.BAD_DEBT) == served - collected
    assert (await shop.operator_balance(Kind.RECEIVABLE), await shop.credit()) == (0, 0)
