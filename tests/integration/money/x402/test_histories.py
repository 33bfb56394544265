"""Random histories of payments, faults, patience and time: in the end every transfer is accounted for, once."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.payments.x402.book import Bought
from hushnet.coordinator.payments.x402.model import Wallet
from hushnet.coordinator.payments.x402.payload import Payment
from hushnet.coordinator.payments.x402.transitions import State
from hushnet.foundation.ids import AccountId
from support.ledger import PROVIDER
from support.x402_peer import Account
from support.x402_shop import AMOUNT, Shop, payment_by

pytestmark = pytest.mark.slow

FAULTS = [
    "reset_before",
    "reset_after",
    "500_before",
    "500_after",
    "garbage_after",
    "lie_success",
    "lie_refused",
    "lie_payer",
]
STEPS = 40


@dataclass
class Story:
    """What a history has seen: payments by their digest, requests that run, and how often each payment was served."""

    shop: Shop
    choose: random.Random
    wallets: list[Any]
    payments: dict[bytes, Payment] = field(default_factory=dict)
    running: dict[bytes, Bought] = field(default_factory=dict)
    served: dict[bytes, int] = field(default_factory=dict)

    async def step(self) -> None:
        await self.choose.choices(
            [self.sign, self.send, self.send_twice, self.end, self.trouble, self.keep], weights=[4, 6, 2, 5, 3, 2]
        )[0]()

    async def sign(self) -> None:
        digest = self.choose.randbytes(32)
        self.payments[digest] = await payment_by(self.choose.choice(self.wallets), version=self.choose.choice([1, 2]))
        await self.buy(digest)

    async def send(self) -> None:
        if self.payments:
            await self.buy(self.choose.choice(list(self.payments)))

    async def send_twice(self) -> None:
        if self.payments:
            digest = self.choose.choice(list(self.payments))
            await asyncio.gather(self.buy(digest), self.buy(digest), self.buy(digest))

    async def buy(self, digest: bytes) -> None:
        purchase = await self.shop.buy(self.payments[digest], digest=digest)
        if isinstance(purchase, Bought):
            assert digest not in self.running, "two requests for one payment"
            assert not self.served.get(digest), "a payment that was used up"
            self.running[digest] = purchase

    async def end(self) -> None:
        if self.running:
            digest = self.choose.choice(list(self.running))
            cost = self.choose.choice([0, 1, 1200, AMOUNT])
            await self.shop.close(self.running.pop(digest), cost)
            self.served[digest] = self.served.get(digest, 0) + cost

    async def trouble(self) -> None:
        kind = self.choose.choice(["fault", "fault", "node", "verify"])
        if kind == "fault":
            self.shop.facilitator.faults.append(self.choose.choice(FAULTS))  # type: ignore[union-attr] - it is served here
        elif kind == "node":
            self.shop.chain.is_down = not self.shop.chain.is_down
        else:
            self.shop.facilitator.verify_faults.append("500_before")  # type: ignore[union-attr] - it is served here

    async def keep(self) -> None:
        await self.shop.pass_time(self.choose.choice([0.5, 3, 10]))
        await self.shop.keeper.step()

    async def conclude(self) -> None:
        """Let every request end, and so much time pass that every payment's fate is certain."""
        self.shop.chain.is_down = False
        for digest in list(self.running):
            await self.shop.close(self.running.pop(digest), 7)
            self.served[digest] = self.served.get(digest, 0) + 7
        for _ in range(4):
            await self.shop.pass_time(400)
            while await self.shop.keeper.step():
                pass


@pytest.mark.parametrize("seed", range(3))
async def test_every_transfer_is_accounted_for_once(shop: Shop, seed: int) -> None:
    choose = random.Random(seed)
    wallets = [Account.from_key(bytes([secret]) * 32) for secret in (1, 2, 3)]
    for wallet in wallets:
        shop.chain.mint(wallet.address, 100 * AMOUNT)
    story = Story(shop, choose, wallets)
    for _ in range(STEPS):
        await story.step()
    await story.conclude()

    rows = await shop.rows()
    assert {row.state for row in rows} <= {State.SETTLED, State.LAPSED, State.FAILED}
    settled = [row for row in rows if row.state is State.SETTLED]
    assert len(settled) == len(shop.chain.receipts) == len({row.txid for row in settled})
    assert shop.earned == await shop.operator_balance(Kind.X402) == AMOUNT * len(settled)
    credit = 0
    for row in await shop.money.all_of(Wallet):
        balance = await shop.money.ledger.balance(AccountId(row.owner))
        assert balance.held == 0
        credit += balance.spendable
    assert shop.earned == credit + (await shop.money.ledger.balance(PROVIDER)).earnings
    assert (await shop.money.ledger.balance(PROVIDER)).earnings == sum(story.served.values())
