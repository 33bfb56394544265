"""Automatic top-ups: an owner's saved card is charged when what is left to spend falls below its threshold.

One open top-up an owner at a time (a unique index says so), a limit a day, and none after a decline until the owner
acts. No request pays for the watching: a pass looks at the owners who want it, a hundred at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Final

from hushnet.coordinator.ledger.chart import OWNER_MAX, SPENDABLE, Kind
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.calls import enqueue
from hushnet.coordinator.payments.deposits.callers import DETACH, TOPUP, topup_request
from hushnet.coordinator.payments.deposits.model import (
    RAIL,
    UNFINISHED,
    Deposit,
    DepositState,
    Origin,
    StripeCustomer,
)
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, RequestError, StorageError
from hushnet.foundation.ids import AccountId

_LOG = logging.getLogger(__name__)

PERIOD_S: Final = 15.0
"""How long an owner may be below its threshold before its card is charged."""
DAY_MS: Final = 86_400_000
_PAGE: Final = 100
TOPUPS_A_DAY_MAX: Final = 100
"""However high the owner's limit is: what is added up to compare with it."""


@dataclass(frozen=True, slots=True)
class _Account:
    """Whether an account was closed; for reading only."""

    TABLE: ClassVar[str] = "accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    IS_LOOK: ClassVar[bool] = True

    id: int
    closed_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Funds:
    """One of a user's accounts in the ledger, as far as what is left to spend goes; read only."""

    TABLE: ClassVar[str] = "ledger_accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    kind: int
    closed: bool
    credits: int
    debits: int
    held: int


@dataclass(frozen=True, slots=True)
class TopupWish:
    """What an owner wants: below `below` micro-USD charge `cents`, at most `daily_cents` in a day (UTC)."""

    below: int
    cents: int
    daily_cents: int


class TopUps:
    """The owners' wishes, and the pass that grants them."""

    def __init__(self, store: MoneyStore, clock: Clock, *, wake: Callable[[], None]) -> None:
        """`wake` has the calls looked at now."""
        self._store = store
        self._clock = clock
        self._wake = wake

    async def customer(self, owner: AccountId) -> StripeCustomer:
        """Return who an owner is at Stripe; an owner that has not been there yet has no card."""
        found = await self._store.read(lambda view: view.rows(StripeCustomer).get(owner))
        return found or StripeCustomer(owner=owner)

    async def turn_on(self, owner: AccountId, wish: TopupWish) -> StripeCustomer:
        """Set an owner's wish, and try again after a decline; raises `RequestError` `card_needed`."""

        def work(tx: Transaction) -> StripeCustomer:
            customers = tx.rows(StripeCustomer)
            known = customers.get(owner)
            if known is None or known.method is None:
                raise RequestError("no card is saved for this account", code="card_needed")
            changed = replace(
                known,
                topup_on=True,
                topup_below=wish.below,
                topup_cents=wish.cents,
                topup_daily_cents=wish.daily_cents,
                topup_halt="",
                updated_ms=tx.now_ms,
            )
            customers.save(changed)
            return changed

        return await self._store.transact(work)

    async def turn_off(self, owner: AccountId) -> StripeCustomer:
        """Charge nothing unasked from now on; a charge that is under way goes on."""

        def work(tx: Transaction) -> StripeCustomer:
            customers = tx.rows(StripeCustomer)
            known = customers.get(owner)
            if known is None:
                return StripeCustomer(owner=owner)
            changed = replace(known, topup_on=False, topup_halt="", updated_ms=tx.now_ms)
            customers.save(changed)
            return changed

        return await self._store.transact(work)

    async def forget_card(self, owner: AccountId) -> StripeCustomer:
        """Forget the saved card here and have Stripe forget it; top-ups are off then."""
        changed = await self._store.transact(lambda tx: forget_card(tx, owner))
        self._wake()
        return changed

    async def run(self) -> None:
        """Look after owners until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self.step()
            except (StorageError, CapacityError) as error:
                _LOG.warning("top-ups wait", extra={"error": error.error_code})

    async def step(self) -> int:
        """Charge everybody who is below the threshold; return how many."""
        begun, below = 0, OWNER_MAX + 1
        while True:
            page = await self._store.read(partial(_wanting, below=below))
            for customer in await self._store.read(partial(_short, customers=page)):
                begun += await self._store.transact(partial(_begin, owner=customer.owner))
            if len(page) < _PAGE:
                break
            below = page[-1].owner
        if begun:
            self._wake()
        return begun


def forget_card(tx: Transaction, owner: AccountId) -> StripeCustomer:
    """Forget an owner's card, turn top-ups off, and ask Stripe to forget the card too; without a card nothing changes."""
    customers = tx.rows(StripeCustomer)
    known = customers.get(owner)
    if known is None or known.method is None:
        return known or StripeCustomer(owner=owner)
    changed = replace(known, method=None, topup_on=False, topup_halt="", updated_ms=tx.now_ms)
    customers.save(changed)
    enqueue(tx, RAIL, DETACH, tx.next_id(), {"method": known.method})
    return changed


def is_charging(view: View, owner: int) -> bool:
    """Say whether a charge of an owner's saved card is under way; none begins while its `StripeCustomer` is locked."""
    return bool(view.rows(Deposit).find(owner=owner, origin=Origin.TOPUP, state=list(UNFINISHED), limit=1))


def _short(view: View, customers: Sequence[StripeCustomer]) -> list[StripeCustomer]:
    """Return those whose money is below their threshold and who may still spend."""
    if not customers:
        return []
    owners, limit = [customer.owner for customer in customers], len(customers) * len(SPENDABLE)
    left, frozen = Counter[int](), set[int]()
    for row in view.rows(_Funds).find(owner=owners, kind=list(SPENDABLE), limit=limit):
        left[row.owner] += row.credits - row.debits - row.held
        if row.closed and row.kind == Kind.PAID:
            frozen.add(row.owner)
    return [one for one in customers if one.owner not in frozen and left[one.owner] < one.topup_below]


def _wanting(view: View, *, below: int) -> list[StripeCustomer]:
    """Return a page of owners that want to be topped up, highest first."""
    return view.rows(StripeCustomer).find(
        topup_on=True, topup_halt="", order_by="owner", descending=True, below=("owner", below), limit=_PAGE
    )


def _begin(tx: Transaction, *, owner: int) -> bool:
    """Write a top-up down, unless one is open, the day's limit is reached, or the owner wants none or is closed."""
    customer = tx.rows(StripeCustomer).get(owner)
    if customer is None or not customer.method or not customer.customer or not _may_begin(tx, customer):
        return False
    deposit = Deposit(
        id=tx.next_id(),
        owner=owner,
        cents=customer.topup_cents,
        origin=Origin.TOPUP,
        created_ms=tx.now_ms,
        updated_ms=tx.now_ms,
    )
    if not tx.rows(Deposit).add(deposit):
        return False
    request = topup_request(deposit, customer=customer.customer, method=customer.method)
    enqueue(tx, RAIL, TOPUP, deposit.id, request)
    return True


def _may_begin(tx: Transaction, customer: StripeCustomer) -> bool:
    if not customer.topup_on or customer.topup_halt:
        return False
    if any(account.closed_ms is not None for account in tx.rows(_Account).find(id=customer.owner, limit=1)):
        return False
    if is_charging(tx, customer.owner):
        return False
    if not _short(tx, [customer]):
        return False  # another worker's top-up has arrived since this one looked
    today = _of_today(tx, customer.owner)
    charged = sum(one.cents for one in today if one.state is not DepositState.FAILED)
    return len(today) < TOPUPS_A_DAY_MAX and charged + customer.topup_cents <= customer.topup_daily_cents


def _of_today(tx: Transaction, owner: int) -> list[Deposit]:
    day_start_ms = tx.now_ms - tx.now_ms % DAY_MS
    latest = tx.rows(Deposit).find(
        owner=owner, origin=Origin.TOPUP, order_by="id", descending=True, limit=TOPUPS_A_DAY_MAX
    )
    return [one for one in latest if one.created_ms >= day_start_ms]
