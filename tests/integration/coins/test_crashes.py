"""The process dies at every named point of a deposit and of a payout in coins: nothing is lost, nothing done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushnet.coordinator.payments.coins.model import CoinInvoice, InvoiceState
from hushnet.coordinator.payments.coins.units import format_units
from hushnet.coordinator.payments.payouts.model import Payout, PayoutState
from hushnet.foundation.clock import ManualClock
from support.coin_gateways.btcpay import FakeBtcPay
from support.coin_gateways.coinpay import FakeCoinPay
from support.coin_world import CoinWorld, fake_gateways, joined
from support.ledger import database_url
from support.money import open_money

DEPOSIT, PAYOUT = 20_000_000, 25_000_000
Fakes = tuple[FakeCoinPay, FakeBtcPay]


class DiedError(BaseException):
    """The process is gone."""


class Fate:
    """Counts the points that are reached, and ends the process at one of them; then none is left to end."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal = fatal
        self.reached = 0

    def __call__(self, point: str) -> None:
        self.reached += 1
        if self.reached == self.fatal:
            raise DiedError(point)


async def live(world: CoinWorld) -> None:
    """Do everything once more from the beginning: what was done before must not be done again."""
    made = await world.money.all_of(CoinInvoice)
    invoice = made[0] if made and made[0].state is not InvoiceState.CREATING else await world.ask()
    await recover(world)
    invoice = await world.invoice(invoice.id)
    assert invoice.gateway_id is not None
    fake = world.btcpay_server
    if not fake.invoices[invoice.gateway_id].payments:
        fake.pay(invoice.gateway_id, format_units(invoice.units_due, 8))
    for kind in ("InvoiceReceivedPayment", "InvoiceSettled"):
        body = fake.event(kind, invoiceId=invoice.gateway_id, deliveryId=kind, originalDeliveryId=kind)
        await world.deliver(world.btcpay, fake.signed(body))
    await world.send()
    await recover(world)
    (gateway_id,) = (made["id"] for made in fake.payouts.values() if made["state"] != "Cancelled")
    body = fake.event("PayoutUpdated", payoutId=gateway_id, deliveryId="P", originalDeliveryId="P")
    fake.payouts[gateway_id] |= {"state": "Completed", "paymentProof": {"proofType": "chain", "id": "tx"}}
    await world.deliver(world.btcpay, fake.signed(body))


async def recover(world: CoinWorld) -> None:
    """Let leases run out and everything that waits be done."""
    for _ in range(3):
        await world.money.books.advance(65)
        await world.settle_calls()
        await world.inbox.step()


async def run(url: str, clock: ManualClock, fakes: Fakes, fate: Fate, *, is_first: bool) -> CoinWorld:
    async with open_money(url, clock=clock, reach=fate) as money, joined(money, fakes, reach=fate) as world:
        if is_first:
            fate.fatal, fatal = None, fate.fatal
            await world.request_payout(gross=PAYOUT)
            fate.fatal, fate.reached = fatal, 0
        await live(world)
        await world.settle_inbox()
        await check(world)
        return world


async def check(world: CoinWorld) -> None:
    paid = [row for row in await world.money.all_of(CoinInvoice) if row.credited]
    assert [(row.state, row.credited) for row in paid] == [(InvoiceState.PAID, DEPOSIT)]
    (payout,) = await world.money.all_of(Payout)
    assert (payout.state, payout.txid) == (PayoutState.PAID, "tx")
    made = world.btcpay_server.payouts.values()
    assert [one["state"] for one in made if one["state"] != "AwaitingApproval"] == ["Completed"]
    balances = await world.balances()
    assert (balances["paid"], balances.get("in_transit", 0), balances["fx"]) == (DEPOSIT, 0, PAYOUT - DEPOSIT)
    assert await world.findings() == []


async def survives(kind: str, home: Path, fatal: int) -> bool:
    """Live with a process that dies at the point `fatal`, then with one that does not; False when it was not reached."""
    clock = ManualClock()
    with database_url(kind, home) as url:
        async with fake_gateways(clock) as fakes:
            try:
                await run(url, clock, fakes, Fate(fatal), is_first=True)
            except DiedError:
                clock.advance(120)
                await run(url, clock, fakes, Fate(None), is_first=False)
                return True
            return False


@pytest.mark.parametrize(
    ("kind", "first", "step"), [*(("sqlite", first, 8) for first in range(1, 9)), ("postgresql", 3, 11)]
)
async def test_a_crash_at_any_point_loses_nothing_and_does_nothing_twice(
    kind: str, first: int, step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fatal = first
    while await survives(kind, tmp_path_factory.mktemp(kind), fatal):
        fatal += step
    assert fatal > 30, "the scenario has become shorter than what it is there to cover"
