"""One payment buys one request: the official client signs, the official facilitator settles, on both databases."""

from __future__ import annotations

from hushnet.coordinator.ledger.model import Held
from hushnet.coordinator.payments.x402.transitions import State
from support.x402 import AMOUNT, Shop, payment_by


async def test_a_payment_is_settled_credited_and_held_before_it_is_served(shop: Shop) -> None:
    bought = await shop.bought(await payment_by(shop.account))
    assert bought.parts == Held(0, AMOUNT, 0)
    row = await shop.row()
    assert (row.state, row.settled, row.request) == (State.SETTLED, AMOUNT, bought.request)
    assert row.txid in shop.chain.receipts
    assert shop.earned == AMOUNT
    assert await shop.credit() == 0
    await shop.close(bought, 1200)
    assert await shop.credit() == AMOUNT - 1200
