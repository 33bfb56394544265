"""A process that closes an account, until the fault that `HUSH_FAULT` names kills it. Run as `closing_victim.py URL`."""

from __future__ import annotations

import asyncio
import os
import sys

from hushnet.coordinator.ledger.faults import faults_from
from hushnet.coordinator.payments.closing import Closing
from hushnet.foundation.ids import AccountId
from support.money import open_money

OWNER = AccountId(70_000)
PROMO, PAID, EARNINGS = 7, 50, 20


async def close(url: str) -> None:
    async with open_money(url, reach=faults_from(os.environ)) as money:
        await Closing(money.store, wake=lambda: None).close(OWNER, gives_up=PAID + EARNINGS, actor="victim")


if __name__ == "__main__":
    asyncio.run(close(sys.argv[1]))
