"""Payouts against the fake Stripe over real HTTP, on any database: what an operator runs, with its clock in the test's hand."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.faults import FaultHook, no_faults
from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import Call, CallState, EventState, Finding, InboxEvent
from hushnet.coordinator.payments.payouts.asking import Terms, Wish
from hushnet.coordinator.payments.payouts.connect import Onboarder
from hushnet.coordinator.payments.payouts.events import KINDS, PayoutEvents
from hushnet.coordinator.payments.payouts.matching import MATCHERS
from hushnet.coordinator.payments.payouts.model import STRIPE, Payout, PayoutMethod, PayoutState
from hushnet.coordinator.payments.payouts.service import Payouts
from hushnet.coordinator.payments.payouts.stripe_rail import stripe_callers
from hushnet.coordinator.payments.payouts.sweep import LedgerAccount, PayoutWorker, StripeWitness
from hushnet.coordinator.payments.stripe.connect import StripeConnect
from hushnet.coordinator.payments.stripe.events import ACCOUNT, CONNECT, StripeEvents
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.coordinator.payments.stripe.objects import Transaction
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret
from support.ledger import PROVIDER
from support.money import OpenMoney
from support.stripe_fake import FakeStripe

DAY_S = 86_400
USD = 1_000_000
EARNED = 40 * USD
FUNDS_CENTS = 100_000
ROUNDS_MAX = 400
TERMS = Terms(cool_down_ms=0, send_after_ms=0)


@dataclass
class Desk:
    """One operator's payouts, and the world around them."""

    money: OpenMoney
    stripe: FakeStripe
    payouts: Payouts
    worker: PayoutWorker
    calls: Calls
    inbox: Inbox
    onboarder: Onboarder
    connect: StripeConnect
    told: list[dict[str, Any]] = field(default_factory=list)
    """Every event that Stripe delivered, to be delivered again."""

    @property
    def clock(self) -> ManualClock:
        return self.money.clock

    async def provider(self, owner: AccountId = PROVIDER, *, earnings: int = EARNED) -> PayoutMethod:
        """An owner with mature earnings and a bank account that Stripe pays out to."""
        if earnings:
            await self.money.books.give(owner, earnings=earnings)
            await self.money.books.advance(DAY_S + 1)
        await self.onboarder.begin(owner)
        (account,) = [one["id"] for one in self.stripe.world.find("accounts", metadata={"hush_owner": str(owner)})]
        self.stripe.onboard(account)
        await self.settle()
        (method,) = await self.payouts.methods(owner)
        return method

    async def ask(self, gross: int | None = 25 * USD, *, client: str = "c1", instant: bool = False) -> Payout:
        return await self.payouts.request(Wish(PROVIDER, client, gross, is_instant=instant))

    async def now(self, payout: Payout) -> Payout:
        return await self.payouts.payout(AccountId(payout.owner), payout.id)

    async def settle(self, *, copies: int = 1, order: random.Random | None = None) -> None:
        """Let everything happen that is going to happen: calls, events (`copies` of each, in any order), retries."""
        for _ in range(ROUNDS_MAX):
            done = await self.worker.send_requested() + await self.calls.step()
            done += await self.deliver(copies=copies, order=order) + await self.inbox.step()
            if done:
                continue
            if await self.is_quiet():
                return
            await self.money.books.advance(30)
        raise AssertionError("it never came to rest")

    async def is_quiet(self) -> bool:
        calls, events = await self.money.all_of(Call), await self.money.all_of(InboxEvent)
        is_calling = any(call.state in (CallState.DUE, CallState.SENDING, CallState.LOOK_UP) for call in calls)
        return not is_calling and all(event.state in (EventState.APPLIED, EventState.IGNORED) for event in events)

    async def deliver(self, *, copies: int = 1, order: random.Random | None = None) -> int:
        """Receive what Stripe has to tell, as its endpoint would once the signature is verified."""
        taken: list[dict[str, Any]] = []

        def take(request: httpx.Request) -> httpx.Response:
            taken.append(json.loads(request.content))
            return httpx.Response(200)

        self.stripe.deliver(client=httpx.Client(transport=httpx.MockTransport(take)))
        self.told += taken
        events = taken * copies
        if order is not None:
            order.shuffle(events)
        for event in events:
            await self.receive(event)
        return len(taken)

    async def receive(self, event: dict[str, Any]) -> bool:
        source = CONNECT if "account" in event else ACCOUNT
        subject, body = event["data"]["object"]["id"], json.dumps(event).encode()
        return await self.inbox.receive(source, event["id"], kind=event["type"], subject=subject, body=body)

    async def tell_again(self, events: Sequence[dict[str, Any]]) -> None:
        """Deliver events under new ids, as if they had never come: their effect is all that can stop them."""
        for event in events:
            await self.receive({**event, "id": f"{event['id']}_again{len(await self.money.all_of(InboxEvent))}"})
        await self.settle()

    async def pay_at_bank(self, payout: Payout, status: str) -> None:
        """The bank's word on the payout, not yet delivered."""
        (made,) = [one["id"] for one in self.stripe.world.find("payouts", metadata={"hush_payout": str(payout.id)})]
        self.stripe.end_payout(made, status)

    async def balances(self) -> dict[str, int]:
        """What the books say: earnings and in_transit of the provider, stripe, connect, fees."""
        rows = {row.id: row.credits - row.debits for row in await self.money.all_of(LedgerAccount)}
        operator = {
            name: sum(n for id_, n in rows.items() if id_ & ~0xFF == operator_account(kind))
            for name, kind in (("stripe", Kind.STRIPE), ("connect", Kind.CONNECT), ("fees", Kind.PAYOUT_FEES))
        }
        mine = {
            name: rows.get(user_account(PROVIDER, kind), 0)
            for name, kind in (("earnings", Kind.EARNINGS), ("in_transit", Kind.IN_TRANSIT))
        }
        return mine | operator

    async def findings(self) -> list[str]:
        return [finding.kind for finding in await self.money.all_of(Finding) if finding.resolved_ms is None]

    async def unknown_at_stripe(self) -> list[str]:
        """Types of Stripe's balance transactions about transfers that no payout explains."""
        moved = [
            msgspec.convert(one, Transaction)
            for one in self.stripe.world.find("balance_transactions", account="")
            if one["type"] in MATCHERS
        ]
        return await self.money.store.read(
            lambda view: [one.type for one in moved if not MATCHERS[one.type](view, one)]
        )

    async def is_whole(self) -> bool:
        """Whether the owner has everything back and nothing is anywhere else; the fake's money agrees."""
        assert self.stripe.world.balances[""] == FUNDS_CENTS
        expected = {"earnings": EARNED, "in_transit": 0, "stripe": 0, "connect": 0, "fees": 0}
        is_known = await self.unknown_at_stripe() == []
        return is_known and await self.balances() == expected and await self.worker.compare() == []

    async def is_paid(self, payout: Payout) -> bool:
        """Whether the owner's bank has the net, once, and the books say so."""
        assert self.stripe.world.balances[""] == FUNDS_CENTS - payout.net // 10_000
        assert sum(self.stripe.world.balances.values()) == self.stripe.world.balances[""]
        expected = {"earnings": EARNED - payout.gross, "in_transit": 0, "stripe": payout.net, "connect": 0}
        is_known = await self.unknown_at_stripe() == []
        is_so = await self.balances() == {**expected, "fees": payout.fee}
        return is_known and is_so and await self.worker.compare() == []


@asynccontextmanager
async def open_desk(
    money: OpenMoney, stripe: FakeStripe, *, terms: Terms = TERMS, reach: FaultHook = no_faults
) -> AsyncIterator[Desk]:
    """Payouts of one process on an open money store; `stripe` has been reset and has money."""
    gateway = StripeGateway(Secret(stripe.api_key), api_base=stripe.base_url, timeout_s=60)
    where = {"country": "US", "return_url": "https://hush.test/back", "refresh_url": "https://hush.test/again"}
    connect = StripeConnect(gateway, **where)
    events = PayoutEvents(connect, connect, cool_down_ms=terms.cool_down_ms)
    store, clock = money.store, money.clock
    by_kind = StripeEvents(dict.fromkeys(KINDS, events))
    handlers = {ACCOUNT: by_kind, CONNECT: by_kind}
    try:
        yield Desk(
            money,
            stripe,
            Payouts(store, terms=terms),
            PayoutWorker(store, clock, terms=terms, witnesses={STRIPE: StripeWitness(connect)}),
            Calls(store, clock, stripe_callers(store, connect), reach=reach, jitter=lambda: 0.0),
            Inbox(store, clock, handlers, reach=reach),
            Onboarder(store, connect, cool_down_ms=terms.cool_down_ms),
            connect,
        )
    finally:
        await gateway.aclose()


def prepared(stripe: FakeStripe) -> FakeStripe:
    """A Stripe without a past, with money, whose events go somewhere."""
    stripe.reset()
    stripe.fund(FUNDS_CENTS)
    if not stripe.endpoints:
        stripe.listen("https://hush.test/platform", "whsec_p")
        stripe.listen("https://hush.test/connect", "whsec_c", is_connect=True)
    return stripe


__all__ = ["DAY_S", "EARNED", "TERMS", "USD", "Desk", "PayoutState", "open_desk", "prepared"]
