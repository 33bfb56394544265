"""Everything that coins need, joined over one database: invoices, inbox, calls, and both gateways' fakes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from hushnet.coordinator.ledger.chart import account_info
from hushnet.coordinator.ledger.faults import FaultHook, no_faults
from hushnet.coordinator.ledger.store import Books
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.calls import Caller, Calls
from hushnet.coordinator.payments.coins.assets import pair_named
from hushnet.coordinator.payments.coins.gateways.btcpay import BtcPay
from hushnet.coordinator.payments.coins.gateways.coinpay import CODES, CoinPay, CoinPayDialect
from hushnet.coordinator.payments.coins.intake import CoinEvents, CoinWatch, GatewayPort, receive
from hushnet.coordinator.payments.coins.invoices import ASK, CoinInvoices, InvoiceCall, InvoiceLimits
from hushnet.coordinator.payments.coins.model import CoinInvoice
from hushnet.coordinator.payments.coins.rail import ByHand, GatewayRail, payout_told
from hushnet.coordinator.payments.coins.rates import FixedRates
from hushnet.coordinator.payments.coins.settlement import Batch, BatchLimits, Settlement
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import EventState, Finding, InboxEvent
from hushnet.coordinator.payments.payouts.asking import Terms, Wish, request_payout
from hushnet.coordinator.payments.payouts.coin_rail import coin_callers
from hushnet.coordinator.payments.payouts.model import Payout, PayoutMethod
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret
from support.coin_gateways import btcpay as btcpay_fake
from support.coin_gateways import coinpay as coinpay_fake
from support.coin_gateways.addresses import address_of
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
    rail: GatewayRail

    def settlement(self, **limits: int) -> Settlement:
        """Make settlement batches under these limits."""
        money, rates = self.money, FixedRates(self.rates)
        return Settlement(money.store, money.clock, self.rail, rates=rates, limits=BatchLimits(**limits))

    async def request_payout(
        self, owner: AccountId = CONSUMER, pair: str = "BTC.bitcoin", gross: int = 25_000_000
    ) -> Payout:
        """Let an owner have old earnings and a payout method, and ask for a payout."""
        money, to = self.money, address_of(pair_named(pair), owner % 200)
        await money.books.give(owner, earnings=gross)
        await money.books.advance(25 * 3600)
        asset, _, network = pair.partition(".")
        method = PayoutMethod(owner, owner, "coin", asset, network, to.address, to.tag, True, 0, None, 0)

        def work(tx: Transaction) -> Payout:
            tx.rows(PayoutMethod).add(method)
            return request_payout(tx, Wish(owner, f"w{owner}", gross), Terms())

        payout = await money.store.transact(work)
        await money.books.advance(61)
        return payout

    async def payout(self, payout_id: int) -> Payout:
        (found,) = await self.money.store.read(lambda view: view.rows(Payout).find(id=payout_id))
        return found

    async def send(self, **limits: int) -> Batch:
        """Run a batch and make its calls."""
        batch = await self.settlement(**limits).run()
        await self.settle_calls()
        return batch

    async def payout_news(self, gateway_id: str, state: str, **members: object) -> None:
        """Let BTCPay change a payout's state and tell of it."""
        fake = self.btcpay_server
        fake.payouts[gateway_id] |= {"state": state, **members}
        body = fake.event("PayoutUpdated", payoutId=gateway_id, payoutState=state)
        await self.deliver(self.btcpay, fake.signed(body))

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
async def fake_gateways(clock: ManualClock) -> AsyncIterator[tuple[FakeCoinPay, FakeBtcPay]]:
    """Run both gateways' fakes."""
    fakes = (FakeCoinPay(clock.now_ms), FakeBtcPay(clock.now_ms))
    await asyncio.gather(*(fake.start() for fake in fakes))
    try:
        yield fakes
    finally:
        for fake in fakes:
            await fake.stop()


@asynccontextmanager
async def coin_world(money: OpenMoney, *, dialect: CoinPayDialect | None = None) -> AsyncIterator[CoinWorld]:
    """Join everything over a money store, with fakes of its own."""
    async with fake_gateways(money.clock) as fakes, joined(money, fakes, dialect=dialect) as world:
        yield world


@asynccontextmanager
async def joined(
    money: OpenMoney,
    fakes: tuple[FakeCoinPay, FakeBtcPay],
    *,
    dialect: CoinPayDialect | None = None,
    reach: FaultHook = no_faults,
) -> AsyncIterator[CoinWorld]:
    """Join everything over a money store; calls and events are made by the test, step by step."""
    clock = money.clock
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
    rail = GatewayRail(btcpay.for_payouts({"BTC.bitcoin": "BTC-CHAIN"}), ByHand({"USDC.base": "USDC.base"}))
    told = {btcpay.name: partial(payout_told, btcpay)}
    events = {g.name: CoinEvents(money.store, clock, g, rates=source, payouts=told.get(g.name)) for g in gateways}
    inbox = Inbox(money.store, clock, events, reach=reach)
    callers: dict[tuple[str, str], Caller] = {(g.name, ASK): InvoiceCall(money.store, g) for g in gateways}
    callers |= coin_callers(money.store, rail)
    calls = Calls(money.store, clock, callers, reach=reach, jitter=lambda: 0.5)
    limits = InvoiceLimits(quote_s_max=0.0)
    invoices = CoinInvoices(money.store, clock, gateways, calls=calls, limits=limits)
    watch = CoinWatch(money.store, clock, {g.name: g for g in gateways}, rates=source)
    try:
        yield CoinWorld(money, *fakes, coinpay, btcpay, invoices, inbox, calls, watch, rates, rail)
    finally:
        for gateway in gateways:
            await gateway.aclose()
