"""A ledger store of plain dictionaries: the third subject of the store conformance suite, and fast enough for histories."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from hushnet.coordinator.ledger.books.audit import FIRST_DIGEST
from hushnet.coordinator.ledger.chart import Floor, Kind, account_info, user_account
from hushnet.coordinator.ledger.faults import AFTER_COMMIT, BEFORE_COMMIT, FaultHook, no_faults
from hushnet.coordinator.ledger.model import CapUse, UsageRecord
from hushnet.coordinator.ledger.store import (
    AccountRow,
    AccountState,
    BatchRow,
    Books,
    FactRow,
    LaneLostError,
    Lease,
    Reads,
    Snapshot,
    StoredHold,
    Transfer,
    WindowDelta,
    WindowState,
    Writes,
)
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId

T = TypeVar("T")


class MemoryLedgerStore:
    """Rows in dictionaries. It checks what the databases' constraints check, and commits all or nothing."""

    def __init__(self, reach: FaultHook = no_faults) -> None:
        self.reach = reach
        self.accounts: dict[int, AccountState] = {}
        self.transfers: dict[tuple[int, int], tuple[Transfer, int]] = {}
        self.holds: dict[int, StoredHold] = {}
        self.usage: dict[int, UsageRecord] = {}
        self.facts: dict[str, FactRow] = {}
        self.ceilings: dict[int, int] = {}
        self.windows: dict[CapUse, WindowState] = {}
        self.batches: dict[tuple[int, int], BatchRow] = {}
        self.lanes: dict[int, tuple[int, int, bytes]] = {}
        self.persist: Callable[[], Awaitable[None]] | None = None

    async def claim_lane(self, *, now_ms: int, lease_ms: int) -> Lease:
        origin, seq, head = self.lanes.get(0, (0, 0, FIRST_DIGEST))
        origin = max(now_ms, (origin >> 8) + 1) << 8
        self.lanes[0] = (origin, seq, head)
        newest = [*(fact for fact, _ in self.transfers), *self.usage, *(row.id for row in self.facts.values())]
        return Lease(0, origin, 1 << 62, seq, head, max(newest, default=0), None)

    async def renew_lane(self, lease: Lease, *, until_ms: int) -> Lease | None:
        origin, seq, head = self.lanes[lease.lane]
        if origin != lease.origin:
            return None
        if not until_ms:
            self.lanes[lease.lane] = (-1, seq, head)
        return replace(lease, seq=seq, head=head)

    async def transact(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        self.commit(reads, decide)

    def commit(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        """`transact` without waiting."""
        writes = decide(self._snapshot(reads))
        if writes is None:
            return
        link = writes.batch
        if self.lanes[link.lane][:2] != (writes.origin, link.seq - 1):
            raise LaneLostError("another writer moved this lane on")
        accounts = self._moved(writes)
        self._refuse_twice(writes)
        self.reach(BEFORE_COMMIT)
        self.accounts |= accounts
        self.lanes[link.lane] = (writes.origin, link.seq, link.digest)
        self.batches[link.lane, link.seq] = link
        self.transfers |= {(row.fact, row.leg): (row, link.number) for row in writes.transfers}
        self.holds |= {hold.id: hold for hold in writes.opened}
        for hold in writes.closed:
            del self.holds[hold.id]
        self.usage |= {record.id: record for record in writes.usage}
        self.facts |= {row.key: row for row in writes.facts}
        for delta in writes.windows:
            use = CapUse(delta.cap, delta.start_ms)
            was = self.windows[use]
            self.windows[use] = replace(was, spent=was.spent + delta.spent, held=was.held + delta.held)
        self.reach(AFTER_COMMIT)

    async def save_drafts(self, drafts: Mapping[int, str]) -> None:
        for id_, draft in drafts.items():
            if id_ in self.holds:
                self.holds[id_] = replace(self.holds[id_], draft=draft)

    async def due_holds(self, *, now_ms: int, limit: int) -> list[StoredHold]:
        living = {origin for origin, _, _ in self.lanes.values()}
        due = [hold for hold in self.holds.values() if hold.expires_ms <= now_ms or hold.origin not in living]
        return sorted(due, key=lambda hold: hold.id)[:limit]

    async def accounts_of(self, owner: AccountId, *, earned_since_ms: int) -> tuple[Mapping[int, AccountState], int]:
        states = {id_: state for id_, state in self.accounts.items() if id_ >> 4 == owner}
        earned = sum(
            row.amount
            for row, _ in self.transfers.values()
            if row.credit == user_account(owner, Kind.EARNINGS)
            and row.at_ms > earned_since_ms
            and row.debit >> 4 != owner
        )
        return states, earned

    async def usage_of(self, owner: AccountId | None, *, before: int, limit: int) -> list[UsageRecord]:
        found = [record for record in self.usage.values() if record.id < before and owner in (None, record.owner)]
        return sorted(found, key=lambda record: -record.id)[:limit]

    async def inspect(self, work: Callable[[Books], T]) -> T:
        return work(MemoryBooks(self))

    def _snapshot(self, reads: Reads) -> Snapshot:
        for id_ in reads.create:
            self.accounts.setdefault(id_, AccountState())
        for use in reads.windows:
            if use.cap in self.ceilings:
                was = self.windows.get(use, WindowState(0, 0, 0))
                self.windows[use] = replace(was, ceiling=self.ceilings[use.cap])
        rows: dict[int, list[Transfer]] = {}
        for id_ in reads.ids:
            if id_ not in self.holds:
                for fact in (id_, id_ | 1):
                    for leg in range(8):
                        if (fact, leg) in self.transfers:
                            rows.setdefault(id_, []).append(self.transfers[fact, leg][0])
        return Snapshot(
            accounts={id_: self.accounts[id_] for id_ in reads.accounts if id_ in self.accounts},
            holds={id_: self.holds[id_] for id_ in reads.ids if id_ in self.holds},
            transfers=rows,
            facts={key: self.facts[key].digest for key in reads.keys if key in self.facts},
            uses={id_: self.usage[id_] for id_ in reads.uses if id_ in self.usage},
            windows={use: self.windows[use] for use in reads.windows if use in self.windows},
        )

    def _moved(self, writes: Writes) -> dict[int, AccountState]:
        moved = {}
        for delta in writes.deltas:
            was = self.accounts[delta.account]
            now = replace(
                was,
                credits=was.credits + delta.credits,
                debits=was.debits + delta.debits,
                held=was.held + delta.held,
                is_closed=was.is_closed if delta.is_closed is None else delta.is_closed,
            )
            info = account_info(delta.account)
            assert info is not None
            if info.floor == Floor.NEVER_NEGATIVE and (now.balance - now.held < 0 or now.held < 0):
                raise StorageError("an account would fall below its floor")
            if info.floor == Floor.NEVER_POSITIVE and now.balance > 0:
                raise StorageError("an account would rise above its floor")
            moved[delta.account] = now
        return moved

    def _refuse_twice(self, writes: Writes) -> None:
        repeated = (
            any((row.fact, row.leg) in self.transfers for row in writes.transfers)
            or any(record.id in self.usage for record in writes.usage)
            or any(row.key in self.facts for row in writes.facts)
            or any(hold.id in self.holds for hold in writes.opened)
        )
        if repeated:
            raise StorageError("a row is there already")
        if any(hold.id not in self.holds for hold in writes.closed):
            raise StorageError("a row is not there")


class MemoryBooks:
    """`ledger.store.Books` over a `MemoryLedgerStore`."""

    def __init__(self, store: MemoryLedgerStore) -> None:
        self._store = store

    def accounts(self) -> Iterator[AccountRow]:
        for id_, state in sorted(self._store.accounts.items()):
            info = account_info(id_)
            assert info is not None
            yield AccountRow(
                id_, info.owner, info.kind, info.asset, info.lane, info.floor, state.credits, state.debits, state.held
            )

    def transfers(self) -> Iterator[tuple[Transfer, int]]:
        return iter([row for _, row in sorted(self._store.transfers.items())])

    def holds(self) -> Iterator[StoredHold]:
        return iter([hold for _, hold in sorted(self._store.holds.items())])

    def facts(self) -> Iterator[FactRow]:
        return iter(sorted(self._store.facts.values()))

    def usage(self) -> Iterator[UsageRecord]:
        return iter([record for _, record in sorted(self._store.usage.items())])

    def batches(self) -> Iterator[BatchRow]:
        return iter(sorted(self._store.batches.values()))

    def lanes(self) -> Iterator[tuple[int, int, bytes]]:
        return iter([(lane, seq, head) for lane, (_, seq, head) in sorted(self._store.lanes.items())])

    def windows(self) -> Iterator[WindowDelta]:
        return iter(sorted(WindowDelta(*use, state.spent, state.held) for use, state in self._store.windows.items()))
