"""An open ledger for tests, on any store, with the clock in the test's hand and the books a call away."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import Executable, text

from hushnet.coordinator.ledger.books.check import Finding, check
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.faults import FaultHook, no_faults
from hushnet.coordinator.ledger.model import (
    CapUse,
    Close,
    CloseKind,
    Code,
    Credit,
    Fact,
    Held,
    Hold,
    HoldOutcome,
    Leg,
    Posted,
    Usage,
    UsageOutcome,
    UsageRecord,
)
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.store import LedgerStore
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.coordinator.storage.ledger_rows import usage_values
from hushnet.coordinator.storage.tables import accounts
from hushnet.coordinator.storage.tables import usage as usage_records
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, RequestId
from support.ledger_memory import MemoryLedgerStore
from support.postgres import fresh_database
from support.sqlite import migrated_database

CONSUMER = AccountId(70_000)
PROVIDER = AccountId(80_000)
REFERRER = AccountId(90_000)
KEY = ApiKeyId(7)
MODEL = ModelId("hush-tiny")
MINUTE_MS = 60_000
SETTINGS = LedgerSettings(clock_skew_ms_max=None)


@dataclass
class OpenLedger:
    """A ledger, its store, its database (None in memory) and the clock that all of them read."""

    ledger: Ledger
    store: LedgerStore
    database: Database | None
    clock: ManualClock

    async def give(self, owner: AccountId, *, promo: int = 0, paid: int = 0, earnings: int = 0) -> None:
        """Credit an owner's buckets out of the operator's accounts."""
        sources = {
            Kind.PROMO: (Kind.PROMO_EXPENSE, promo),
            Kind.PAID: (Kind.STRIPE, paid),
            Kind.EARNINGS: (Kind.REWARD_EXPENSE, earnings),
        }
        legs = tuple(
            Leg(operator_account(source), user_account(owner, kind), amount)
            for kind, (source, amount) in sources.items()
            if amount
        )
        key = f"test:{self.ledger.next_request_id()}"
        assert await self.ledger.fact(Fact(key, Code.ADJUSTMENT, legs, actor="test", owner=owner)) == Posted()

    async def advance(self, seconds: float) -> None:
        """Let time pass, and the lease be renewed as the background work would have done."""
        self.clock.advance(seconds)
        await self.ledger.renew()

    def new_hold(self, amount: int, *, owner: AccountId = CONSUMER, caps: tuple[CapUse, ...] = ()) -> Hold:
        return Hold(self.ledger.next_request_id(), owner, amount, self.clock.now_ms() + 2 * MINUTE_MS, caps)

    async def hold(self, amount: int, *, owner: AccountId = CONSUMER) -> tuple[Hold, HoldOutcome]:
        hold = self.new_hold(amount, owner=owner)
        return hold, await self.ledger.hold(hold)

    async def held(self, amount: int, *, owner: AccountId = CONSUMER) -> tuple[Hold, Held]:
        """Hold, and insist."""
        hold, outcome = await self.hold(amount, owner=owner)
        assert isinstance(outcome, Held)
        return hold, outcome

    async def set_cap(self, cap: int, ceiling: int) -> None:
        """Put a budget in force, or change its ceiling."""
        if isinstance(self.store, MemoryLedgerStore):
            self.store.ceilings[cap] = ceiling
            return
        statement = text(
            "INSERT INTO ledger_caps (id, scope, subject, period, ceiling) VALUES (:cap, 2, :cap, 1, :ceiling)"
            " ON CONFLICT (id) DO UPDATE SET ceiling = :ceiling"
        )
        await self._execute(statement, {"cap": cap, "ceiling": ceiling})

    async def set_closed(self, owner: AccountId, *, is_closed: bool = True) -> None:
        """Close, or open again, every account of an owner."""
        if isinstance(self.store, MemoryLedgerStore):
            for id_, state in self.store.accounts.items():
                if id_ >> 4 == owner:
                    self.store.accounts[id_] = replace(state, is_closed=is_closed)
            return
        statement = accounts.update().where(accounts.c.owner == owner).values(closed=is_closed)
        await self._execute(statement, {})

    async def put_usage(self, record: UsageRecord) -> None:
        """Write a usage record behind the ledger's back."""
        if isinstance(self.store, MemoryLedgerStore):
            self.store.usage[record.id] = record
            return
        await self._execute(usage_records.insert().values(usage_values(record)), {})

    async def drop_usage(self, id_: RequestId) -> None:
        """Remove a usage record behind the ledger's back."""
        if isinstance(self.store, MemoryLedgerStore):
            del self.store.usage[id_]
            return
        await self._execute(usage_records.delete().where(usage_records.c.id == id_), {})

    async def _execute(self, statement: Executable, parameters: dict[str, int]) -> None:
        assert self.database is not None
        await self.database.write(lambda connection: connection.execute(statement, parameters) and None)

    async def findings(self) -> list[Finding]:
        return await check(self.store)


def usage(
    outcome: UsageOutcome = UsageOutcome.COMPLETED,
    *,
    provider: AccountId = PROVIDER,
    referrer: AccountId | None = None,
    tokens_out: int = 10,
) -> Usage:
    return Usage(
        KEY, MODEL, outcome, provider=provider, machine="ab" * 32, tokens_in=5, tokens_out=tokens_out, referrer=referrer
    )


def post(hold: Hold, parts: Held, *amounts: int, provider: AccountId = PROVIDER) -> Close:
    """A settlement of up to three amounts: to the provider, the platform, the referrer's pot."""
    receivers = (
        user_account(provider, Kind.EARNINGS),
        operator_account(Kind.REVENUE),
        operator_account(Kind.REFERRAL_PAYABLE),
    )
    credits_ = tuple(Credit(account, amount) for account, amount in zip(receivers, amounts, strict=False) if amount)
    use = usage(provider=provider, referrer=REFERRER if len(amounts) > 2 else None)
    return Close(hold.id, hold.owner, parts, CloseKind.POST, use, credits_, hold.caps)


def void(hold: Hold, parts: Held) -> Close:
    use = usage(UsageOutcome.NOT_DELIVERED)
    return Close(hold.id, hold.owner, parts, CloseKind.VOID, use, caps=hold.caps)


def expire(hold: Hold, parts: Held) -> Close:
    return Close(hold.id, hold.owner, parts, CloseKind.EXPIRE, usage(UsageOutcome.ORPHANED), caps=hold.caps)


@asynccontextmanager
async def open_ledger(
    url: str,
    *,
    clock: ManualClock | None = None,
    reach: FaultHook = no_faults,
    settings: LedgerSettings = SETTINGS,
) -> AsyncIterator[OpenLedger]:
    """Open the ledger of a database (`memory:` for none) and close both at the end."""
    clock = clock or ManualClock()
    database = None if url == "memory:" else await Database.open(url)
    try:
        store: LedgerStore = MemoryLedgerStore(reach) if database is None else open_ledger_store(database, reach=reach)
        ledger = await Ledger.open(store, clock, settings=settings)
        try:
            yield OpenLedger(ledger, store, database, clock)
        finally:
            await ledger.aclose()
    finally:
        if database is not None:
            await database.aclose()


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of a kind: `memory`, `sqlite` or `postgresql`."""
    match kind:
        case "memory":
            yield "memory:"
        case "sqlite":
            shutil.copy(migrated_database(), folder / "ledger.db")
            yield f"sqlite:///{folder / 'ledger.db'}"
        case _:
            with fresh_database() as url:
                yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, of each kind."""
    with database_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenLedger]:
    """An open ledger on each store; when the test is done, the books must balance."""
    with database_url(request.param, tmp_path) as url:
        async with open_ledger(url) as opened:
            yield opened
            assert await opened.findings() == []


__all__ = [
    "CONSUMER",
    "KEY",
    "MINUTE_MS",
    "MODEL",
    "PROVIDER",
    "REFERRER",
    "SETTINGS",
    "OpenLedger",
    "RequestId",
    "books",
    "database_url",
    "expire",
    "ledger_url",
    "open_ledger",
    "post",
    "usage",
    "void",
]
