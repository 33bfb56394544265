"""Everything that coins need, joined over one database: invoices, inbox, calls, and both gateways' fakes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hushnet.coordinator.ledger.chart import account_info
from hushnet.coordinator.ledger.store import Books
from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.coins.assets import pair_named
from hushnet.coordinator.payments.coins.gateways.btcpay import BtcPay
from hushnet.coordinator.payments.coins.gateways.coinpay import CODES, CoinPay, CoinPayDialect
from hushnet.coordinator.payments.coins.intake import CoinEvents, CoinWatch, GatewayPort, receive
from hushnet.coordinator.payments.coins.invoices import ASK, CoinInvoices, InvoiceCall, InvoiceLimits
from hushnet.coordinator.payments.coins.model import CoinInvoice
from hushnet.coordinator.payments.coins.rates import FixedRates
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import EventState, Finding, InboxEvent
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret
from support.coin_gateways import btcpay as btcpay_fake
from support.coin_gateways import coinpay as coinpay_fake
from support.coin_gateways.btcpay import FakeBtcPay
from support.coin_gateways.coinpay import Delivery, FakeCoinPay
from support.ledger import CONSUMER
from support.money import OpenMoney

RATES = {"BTC.bitcoin": 61_234_560_000, "ETH.ethereum": 2_500_000_000, "XRP.ripple": 2_500_000, "USDC.base": 1_000_000}


@dataclass
class CoinWorld:
    """BTC and XRP go through BTCPay, the rest through CoinPay; rates are `rates`, which a test may change."""

    money: OpenMoney
    coinpay_server: FakeCoinPay
    btcpay_server: FakeBtcPay
    coinpay: CoinPay
    btcpay: BtcPay
    invoices: CoinInvoices
    inbox: Inbox
    calls: Calls
    watch: CoinWatch
    rates: dict[str, int]

    async def ask(self, pair: str = "BTC.bitcoin", usd: int = 20_000_000, owner: AccountId = CONSUMER) -> CoinInvoice:
        """Ask for an invoice and let the gateway quote it."""
        made = await self.invoices.ask(owner, pair_named(pair), usd)
        await self.settle_calls()
        return await self.invoice(made.id)

    async def invoice(self, invoice_id: int) -> CoinInvoice:
        found = await self.money.store.read(lambda view: view.rows(CoinInvoice).get(invoice_id))
        assert found is not None
        return found

    async def deliver(self, gateway: GatewayPort, delivery: Delivery) -> bool:
        """Receive a webhook as the HTTP interface does, and apply what is due."""
        headers = {name.lower(): value for name, value in delivery.headers.items()}
        is_new = await receive(gateway, self.inbox, headers, delivery.body, now_ms=self.money.clock.now_ms())
        await self.inbox.step()
        return is_new

    async def settle_calls(self) -> None:
        """Make every call that is due now."""
        while await self.calls.step():
            pass

    async def settle_inbox(self) -> None:
        """Let time pass until no event waits any longer."""
        for _ in range(40):
            await self.inbox.step()
            waiting = [
                e for e in await self.money.all_of(InboxEvent) if e.state in (EventState.NEW, EventState.WAITING)
            ]
            if not waiting:
                return
            next_ms = min(event.next_ms for event in waiting)
            await self.money.books.advance(max(0, next_ms - self.money.clock.now_ms()) / 1000)
        raise AssertionError("events wait for ever")

    async def findings(self) -> list[str]:
        return sorted(finding.kind for finding in await self.money.all_of(Finding))

    async def events(self) -> list[tuple[EventState, str]]:
        return [(event.state, event.error) for event in await self.money.all_of(InboxEvent)]

    async def balances(self) -> dict[str, int]:
        """Every balance that is not zero, by kind and asset, lanes summed."""

        def read(books: Books) -> Counter[str]:
            totals: Counter[str] = Counter()
            for row in books.accounts():
                info = account_info(row.id)
                assert info is not None
                name = info.kind.name.lower() if info.asset == "USD" else f"{info.kind.name.lower()}:{info.asset}"
                totals[name] += row.credits - row.debits
            return totals

        return {name: amount for name, amount in (await self.money.books.store.inspect(read)).items() if amount}


@asynccontextmanager
async def coin_world(money: OpenMoney, *, dialect: CoinPayDialect | None = None) -> AsyncIterator[CoinWorld]:
    """Join everything over a money store; calls and events are made by the test, step by step."""
    clock = money.clock
    fakes = (FakeCoinPay(clock.now_ms), FakeBtcPay(clock.now_ms))
    await asyncio.gather(*(fake.start() for fake in fakes))
    rates = dict(RATES)
    btcpay = BtcPay(
        fakes[1].url,
        Secret(btcpay_fake.KEY),
        store=btcpay_fake.STORE,
        webhook_secrets=(Secret(btcpay_fake.SECRET),),
        codes={"BTC.bitcoin": "BTC-CHAIN", "XRP.ripple": "XRP-CHAIN"},
    )
    coinpay = CoinPay(
        fakes[0].url + "/api",
        Secret(coinpay_fake.KEY),
        webhook_secrets=(Secret(coinpay_fake.SECRET),),
        codes=CODES,
        dialect=dialect,
    )
    gateways = (btcpay, coinpay)
    source = FixedRates(rates)
    source._rates = rates  # the test's own dictionary, so that it can change them
    inbox = Inbox(money.store, clock, {g.name: CoinEvents(money.store, clock, g, rates=source) for g in gateways})
    calls = Calls(
        money.store, clock, {(g.name, ASK): InvoiceCall(money.store, g) for g in gateways}, jitter=lambda: 0.5
    )
    limits = InvoiceLimits(quote_s_max=0.0)
    invoices = CoinInvoices(money.store, clock, gateways, calls=calls, limits=limits)
    watch = CoinWatch(money.store, clock, {g.name: g for g in gateways}, rates=source)
    try:
        yield CoinWorld(money, *fakes, coinpay, btcpay, invoices, inbox, calls, watch, rates)
    finally:
        for gateway in gateways:
            await gateway.aclose()
        for fake in fakes:
            await fake.stop()
