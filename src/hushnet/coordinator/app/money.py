"""Where the rails of money are joined: one store, one inbox, one outbox, and what each rail brings to them.

A rail that is not configured brings nothing: its routes answer that they are not, its events and calls wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts
from hushnet.coordinator.api.idempotency import KeyBooks
from hushnet.coordinator.api.money.budgets import BudgetsApi
from hushnet.coordinator.api.money.closing import ClosingApi
from hushnet.coordinator.api.money.debts import DebtsApi
from hushnet.coordinator.api.money.findings import FindingsApi
from hushnet.coordinator.budgets import BudgetBook
from hushnet.coordinator.ledger.faults import FaultHook, faults_from
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.payments.calls import Caller, Calls
from hushnet.coordinator.payments.closing import Closing
from hushnet.coordinator.payments.debts import repay_forever
from hushnet.coordinator.payments.inbox import EventHandler, Inbox
from hushnet.coordinator.payments.retention import forget_forever
from hushnet.coordinator.payments.watch import PaymentWatch
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage import Database
from hushnet.coordinator.storage.ledger_store import SqlLedgerStore
from hushnet.coordinator.storage.money import SqlMoneyStore
from hushnet.coordinator.storage.money.request_keys import SqlRequestKeys
from hushnet.foundation.clock import Clock
from hushnet.foundation.tasks import TaskSet, keep_running


@dataclass(frozen=True, slots=True)
class Opened:
    """A database and the ledger that is open in it."""

    database: Database
    store: SqlLedgerStore
    ledger: Ledger


@dataclass(slots=True, kw_only=True)
class Money:
    """What moves money besides requests. `start` its tasks once the ledger is open; closing stops them."""

    store: SqlMoneyStore
    inbox: Inbox
    calls: Calls
    watch: PaymentWatch
    reach: FaultHook
    handlers: dict[str, EventHandler]
    callers: dict[tuple[str, str], Caller]
    routes: list[Route] = field(default_factory=list)
    works: list[tuple[str, Callable[[], Awaitable[None]]]] = field(default_factory=list)
    closes: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    _tasks: TaskSet = field(default_factory=TaskSet)

    def start(self) -> None:
        """Start what goes on in the background."""
        for name, work in [("inbox", self.inbox.run), ("calls", self.calls.run), *self.works]:
            self._tasks.spawn(keep_running(work, name=name), name=name)

    async def aclose(self) -> None:
        """Stop: a call that is being sent is taken up again at the next start, under the same key."""
        await self._tasks.aclose()
        await asyncio.gather(*(close() for close in self.closes))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds requests before they begin: budgets, and the keys that their clients gave them."""

    budgets: BudgetBook
    keys: SqlRequestKeys
    books: KeyBooks


def build_bounds(settings: CoordinatorSettings, clock: Clock, opened: Opened) -> Bounds:
    """Join budgets and keys of requests to the database."""
    store = SqlMoneyStore(opened.database, opened.store, opened.ledger, clock)
    keys = SqlRequestKeys(opened.database, clock, owner_max=settings.budgets.request_keys_max)
    return Bounds(BudgetBook(store, clock, settings=settings.budgets), keys, KeyBooks(keys, opened.ledger, clock))


def build_money(
    settings: CoordinatorSettings, clock: Clock, opened: Opened, *, accounts: Accounts, bounds: Bounds
) -> Money:
    """Join the rails that are configured."""
    reach = faults_from(os.environ)
    money_store = SqlMoneyStore(opened.database, opened.store, opened.ledger, clock)
    handlers: dict[str, EventHandler] = {}
    callers: dict[tuple[str, str], Caller] = {}
    money = Money(
        store=money_store,
        inbox=Inbox(money_store, clock, handlers, reach=reach),
        calls=Calls(money_store, clock, callers, reach=reach),
        watch=PaymentWatch(money_store),
        reach=reach,
        handlers=handlers,
        callers=callers,
    )
    money.works.append(("watch-payments", money.watch.run))
    money.works.append(("repay-debts", lambda: repay_forever(money_store, clock)))
    money.works.append(("forget-payments", lambda: forget_forever(money_store, clock)))
    money.works.append(("forget-request-keys", bounds.keys.forget_forever))
    money.routes.extend(BudgetsApi(accounts, bounds.budgets).routes())
    money.routes.extend(DebtsApi(accounts, money_store).routes())
    money.routes.extend(FindingsApi(accounts, money_store, money.inbox).routes())
    closing = Closing(money_store, wake=money.calls.wake)
    money.works.append(("closed-accounts", closing.watch_forever))
    money.routes.extend(ClosingApi(accounts, closing).routes())
    return money
