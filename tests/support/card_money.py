"""Deposits by card on a bench: a real database, the fake Stripe over real HTTP, and the tasks driven step by step."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.payments.calls import Calls
from hushnet.coordinator.payments.deposits.assembly import DepositRail, build_deposits
from hushnet.coordinator.payments.deposits.model import Deposit, DepositLimits, Reversal
from hushnet.coordinator.payments.deposits.service import DepositWish
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import Call, CallState, EventState, Finding, InboxEvent
from hushnet.coordinator.payments.stripe.events import ACCOUNT, StripeEvents
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret
from support.ledger import CONSUMER
from support.money import OpenMoney, R
from support.stripe_fake import FakeStripe
from support.stripe_fake.webhooks import body_of

CENT = 10_000
_ROUNDS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of the ledger, read by a test."""

    TABLE: ClassVar[str] = "ledger_accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    kind: int
    credits: int
    debits: int


class CardBench:
    """One coordinator's deposit rail, its clock in the test's hand."""

    def __init__(self, money: OpenMoney, stripe: FakeStripe, *, limits: DepositLimits, timeout_s: float) -> None:
        self.money = money
        self.stripe = stripe
        stripe.world.now_s = lambda: money.clock.now_ms() // 1000
        self.gateway = StripeGateway(Secret(stripe.api_key), api_base=stripe.base_url, timeout_s=timeout_s)
        self.rail: DepositRail = build_deposits(
            money.store, self.gateway, money.clock, limits=limits, wake_calls=lambda: None
        )
        self.inbox = Inbox(money.store, money.clock, {ACCOUNT: StripeEvents(self.rail.handlers)})
        self.calls = Calls(money.store, money.clock, self.rail.callers, jitter=lambda: 0.5)
        self._keys = 0

    # What owners and Stripe do.

    async def ask(self, cents: int = 2000, *, owner: AccountId = CONSUMER, saves_card: bool = False) -> Deposit:
        """Ask for a deposit and let Stripe make its Checkout."""
        self._keys += 1
        wish = DepositWish(cents, f"d{self._keys}", "https://example.com/ok", "https://example.com/no", saves_card)
        made, _ = await self.rail.deposits.create(owner, wish, done_url="https://example.com/done")
        await self.settle()
        return await self.deposit(made.id)

    async def paid(self, cents: int = 2000, *, owner: AccountId = CONSUMER, saves_card: bool = False) -> Deposit:
        """A deposit that was paid, and every event of it applied."""
        deposit = await self.ask(cents, owner=owner, saves_card=saves_card)
        assert deposit.checkout is not None
        self.stripe.pay(deposit.checkout)
        await self.tell()
        return await self.deposit(deposit.id)

    def events(self) -> list[dict[str, Any]]:
        """Take the events that Stripe has not told yet."""
        pending = self.stripe.pending()
        self.stripe._sent |= {event["id"] for event in pending}
        return pending

    async def receive(self, events: Sequence[dict[str, Any]]) -> None:
        """Store verified events, in that order."""
        for event in events:
            subject = event["data"]["object"]["id"]
            await self.inbox.receive(ACCOUNT, event["id"], kind=event["type"], subject=subject, body=body_of(event))

    async def tell(self, *, shuffled: random.Random | None = None, times: int = 1) -> None:
        """Let Stripe tell everything that is due, and let it be applied."""
        events = self.events() * times
        if shuffled is not None:
            shuffled.shuffle(events)
        await self.receive(events)
        await self.settle()

    # What the coordinator's tasks do.

    async def settle(self) -> None:
        """Drive inbox and outbox, time included, until neither has anything left to do."""
        for _ in range(_ROUNDS):
            busy = await self.calls.step() + await self.inbox.step()
            if busy:
                continue
            due = [call.next_ms for call in await self._open(Call, _OPEN_CALLS)]
            due += [event.next_ms for event in await self._open(InboxEvent, _OPEN_EVENTS)]
            if not due:
                return
            await self.money.books.advance(max(min(due) - self.money.clock.now_ms(), 0) / 1000 + 0.001)
        raise AssertionError("inbox or outbox never came to rest")

    async def _open(self, row_type: type[R], states: Sequence[IntEnum]) -> list[R]:
        return await self.money.store.read(lambda view: view.rows(row_type).find(state=list(states), limit=10_000))

    # What is in the books.

    async def deposit(self, id_: int) -> Deposit:
        found = await self.money.store.read(lambda view: view.rows(Deposit).get(id_))
        assert found is not None
        return found

    async def reversals(self) -> list[Reversal]:
        return await self.money.all_of(Reversal)

    async def findings(self) -> list[str]:
        return sorted(found.kind for found in await self.money.all_of(Finding))

    async def balances(self) -> dict[tuple[int, str], int]:
        """Every balance that is not zero, by owner and kind, lanes summed."""
        snapshot: dict[tuple[int, str], int] = {}
        for row in await self.money.all_of(Account):
            place = row.owner, Kind(row.kind).name.lower()
            snapshot[place] = snapshot.get(place, 0) + row.credits - row.debits
        return {place: amount for place, amount in snapshot.items() if amount}

    async def user(self, owner: AccountId = CONSUMER) -> dict[str, int]:
        """An owner's balances that are not zero."""
        return {kind: amount for (whose, kind), amount in (await self.balances()).items() if whose == owner}

    async def operator(self) -> dict[str, int]:
        return {kind: amount for (whose, kind), amount in (await self.balances()).items() if whose == 0}


_OPEN_CALLS = (CallState.DUE, CallState.SENDING, CallState.LOOK_UP)
_OPEN_EVENTS = (EventState.NEW, EventState.WAITING)


@asynccontextmanager
async def card_bench(
    money: OpenMoney, stripe: FakeStripe, *, limits: DepositLimits | None = None, timeout_s: float = 30.0
) -> AsyncIterator[CardBench]:
    """A bench on an open money store; the fake is emptied first."""
    stripe.reset()
    bench = CardBench(money, stripe, limits=limits or DepositLimits(cents_min=50), timeout_s=timeout_s)
    try:
        yield bench
    finally:
        await bench.gateway.aclose()
