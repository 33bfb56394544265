"""The card rail from end to end, against our fake Stripe and, where there is a key, against Stripe's own test mode.

`HUSH_STRIPE_TEST_KEY=sk_test_...` runs the same tests there; without it those are skipped, and say so. Events are fetched
from Stripe's list, so that no address of ours has to be reachable. Real time, real sockets, SQLite.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.payments.calls import Calls, Done
from hushnet.coordinator.payments.deposits.assembly import build_deposits
from hushnet.coordinator.payments.deposits.callers import CheckoutCall
from hushnet.coordinator.payments.deposits.model import (
    Deposit,
    DepositLimits,
    DepositState,
    Reversal,
    ReversalState,
    StripeCustomer,
)
from hushnet.coordinator.payments.deposits.reconciling import CURSOR
from hushnet.coordinator.payments.deposits.service import DepositWish
from hushnet.coordinator.payments.deposits.topups import TopupWish
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import Call, Cursor
from hushnet.coordinator.payments.stripe.events import ACCOUNT, StripeEvents
from hushnet.coordinator.payments.stripe.gateway import Answered, StripeGateway
from hushnet.coordinator.payments.stripe.objects import Named, Page
from hushnet.coordinator.storage.money import SqlMoneyStore
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.ids import AccountId
from hushnet.foundation.redaction import Secret
from support.card_money import Account
from support.ledger import open_ledger
from support.stripe_fake import running_stripe

KEY = "HUSH_STRIPE_TEST_KEY"
OWNER = AccountId(70_000)
CENT = 10_000
WAIT_S, LOOK_S = 90.0, 0.1


class Rail:
    """A coordinator's card rail with a Stripe behind it."""

    def __init__(self, store: SqlMoneyStore, gateway: StripeGateway) -> None:
        clock = SystemClock()
        self.store, self.gateway, self.since_s = store, gateway, clock.now_ms() // 1000 - 5
        limits = DepositLimits(cents_min=50)
        self.parts = build_deposits(store, gateway, clock, limits=limits, wake_calls=lambda: None)
        self.inbox = Inbox(store, clock, {ACCOUNT: StripeEvents(self.parts.handlers)})
        self.calls = Calls(store, clock, self.parts.callers)

    async def write(self, ask: Callable[[Any], Awaitable[Any]], shape: type[Any] = Named) -> Any:
        """Do something at Stripe that only a test does."""
        told = await self.gateway.write(ask, shape)
        assert isinstance(told, Answered), told
        return told.value

    async def until(self, row_type: type[Any], is_so: Callable[[Any], bool]) -> Any:
        """Run both queues and listen to Stripe until the newest row is so."""
        for _ in range(int(WAIT_S / LOOK_S)):
            await self.calls.step()
            await self._listen()
            await self.inbox.step()
            rows = await self.store.read(lambda view: view.rows(row_type).find(order_by="id", descending=True, limit=1))
            if rows and is_so(rows[0]):
                return rows[0]
            await asyncio.sleep(LOOK_S)
        raise AssertionError(f"it never was so: {rows}")

    async def _listen(self) -> None:
        wanted = {"limit": 100, "created": {"gte": self.since_s}}
        page = await self.gateway.read(lambda v1: v1.events.list_async(wanted), Page[msgspec.Raw])
        for raw in page.data:
            event = msgspec.json.decode(raw)
            subject = event["data"]["object"].get("id", "")
            await self.inbox.receive(ACCOUNT, event["id"], kind=event["type"], subject=subject, body=bytes(raw))

    async def balance(self, kind: Kind, owner: int = OWNER) -> int:
        rows = await self.store.read(lambda view: view.rows(Account).find(owner=owner, kind=kind))
        return sum(row.credits - row.debits for row in rows)

    async def card(self, token: str) -> None:
        """Give the owner one of Stripe's cards for tests, and have it topped up with 10 dollars below 5."""
        customer = await self.write(lambda v1: v1.customers.create_async({"payment_method": token}))
        cards = await self.gateway.read(
            lambda v1: v1.customers.payment_methods.list_async(customer.id, {"type": "card"}), Page[Named]
        )
        row = StripeCustomer(owner=OWNER, customer=customer.id, method=cards.data[0].id, method_ms=1)
        await self.store.transact(lambda tx: tx.rows(StripeCustomer).add(row))
        await self.parts.topups.turn_on(OWNER, TopupWish(500 * CENT, 1000, 1000))


@pytest.fixture(params=["fake", "test mode"])
def access(request: pytest.FixtureRequest) -> Iterator[tuple[Secret, str]]:
    """A key and the address that it opens."""
    if request.param == "fake":
        with running_stripe() as stripe:
            yield Secret(stripe.api_key), stripe.base_url
        return
    key = os.environ.get(KEY, "")
    if not key:
        pytest.skip(f"{KEY} is not set: Stripe's test mode was not asked")
    assert key.startswith(("sk_test_", "rk_test_")), "never a live key"
    yield Secret(key), ""


@pytest.fixture
async def rail(access: tuple[Secret, str], tmp_path: Path) -> AsyncIterator[Rail]:
    key, base = access
    clock = SystemClock()
    url = f"sqlite:///{tmp_path / 'coordinator.db'}"
    async with open_ledger(url, clock=clock) as books:  # type: ignore[arg-type] - real time
        assert books.database is not None
        gateway = StripeGateway(key, api_base=base, timeout_s=60)
        store = SqlMoneyStore(books.database, books.store, books.ledger, clock)  # type: ignore[arg-type] - a database's
        yield Rail(store, gateway)
        await gateway.aclose()
        assert await books.findings() == []


async def test_a_checkout_is_made_found_and_expired(rail: Rail) -> None:
    wish = DepositWish(2000, uuid.uuid4().hex, "https://example.com/ok", "https://example.com/no", saves_card=True)
    made, _ = await rail.parts.deposits.create(OWNER, wish, done_url="https://example.com/done")
    deposit = await rail.until(Deposit, lambda row: row.state is DepositState.OPEN)
    assert deposit.url.startswith("https://")
    (call,) = await rail.store.read(lambda view: view.rows(Call).find(subject=made.id))
    found = await CheckoutCall(rail.gateway).look_up(call)
    assert isinstance(found, Done)
    assert found.outcome["checkout"] == deposit.checkout
    await rail.write(lambda v1: v1.checkout.sessions.expire_async(deposit.checkout))
    await rail.until(Deposit, lambda row: row.state is DepositState.EXPIRED)
    assert await rail.balance(Kind.PAID) == 0


async def test_a_saved_card_is_charged_refunded_and_its_fee_posted(rail: Rail) -> None:
    await rail.card("pm_card_visa")
    assert await rail.parts.topups.step() == 1
    deposit = await rail.until(Deposit, lambda row: row.state is DepositState.PAID)
    assert await rail.balance(Kind.PAID) == 1000 * CENT
    await rail.parts.deposits.ask_refund(deposit.id, 400, client_key=uuid.uuid4().hex, actor="test")
    await rail.until(Reversal, lambda row: row.state is ReversalState.FINAL)
    assert await rail.balance(Kind.PAID) == 600 * CENT
    start = Cursor(name=CURSOR, value=str(rail.since_s + 6 * 3600), at_ms=0)
    await rail.store.transact(lambda tx: tx.rows(Cursor).add(start))
    await rail.parts.reconciliation.step()
    assert await rail.balance(Kind.PROCESSOR_FEES, owner=0) < 0


async def test_a_card_that_declines_stops_top_ups(rail: Rail) -> None:
    await rail.card("pm_card_chargeCustomerFail")
    assert await rail.parts.topups.step() == 1
    deposit = await rail.until(Deposit, lambda row: row.state is DepositState.FAILED)
    assert deposit.reason == "card_declined"
    assert (await rail.parts.topups.customer(OWNER)).topup_halt == "card_declined"
    assert await rail.parts.topups.step() == 0
    assert await rail.balance(Kind.PAID) == 0
