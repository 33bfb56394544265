"""Stores that histories drive from outside a loop, and that crash when told; and processes that plan and commit on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Protocol

from sqlalchemy import Connection, insert, select

from hushnet.coordinator.ledger.model import Operation, Outcome
from hushnet.coordinator.ledger.reads import prepared
from hushnet.coordinator.ledger.store import Books, Lease, Reads, Snapshot, Writes
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.coordinator.storage.ledger_store import COLD_LANES
from hushnet.coordinator.storage.tables import accounts, caps
from hushnet.foundation.clock import ManualClock
from support.ledger import database_url
from support.ledger_memory import MemoryBooks, MemoryLedgerStore


class CrashedError(Exception):
    """The process died at a fault point."""


class Store(Protocol):
    """What a history needs of a store, without waiting."""

    def claim(self, now_ms: int) -> Lease: ...
    def commit(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None: ...
    def commit_cold(self, reads: Reads, decide: Callable[[int, bytes, Snapshot], Writes | None]) -> None: ...
    def inspect(self, work: Callable[[Books], object]) -> object: ...
    def closed_accounts(self) -> set[int]: ...
    def fail_at(self, point: str) -> None: ...
    def set_ceilings(self, ceilings: dict[int, int]) -> None: ...


class MemoryStore:
    """A store in memory that crashes when told."""

    def __init__(self) -> None:
        self.rows = MemoryLedgerStore(self._reach)
        self._point = ""

    def claim(self, now_ms: int) -> Lease:
        origin = max((origin for origin, _, _ in self.rows.lanes.values()), default=0) + 256
        _, seq, head = self.rows.lanes.get(0, (0, 0, bytes(32)))
        self.rows.lanes[0] = (origin, seq, head)
        return Lease(0, origin, 1 << 62, seq, head, 0, None)

    def commit(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        self.rows.commit(reads, decide)

    def commit_cold(self, reads: Reads, decide: Callable[[int, bytes, Snapshot], Writes | None]) -> None:
        _, seq, head = self.rows.lanes.get(COLD_LANES, (0, 0, bytes(32)))
        self.rows.lanes[COLD_LANES] = (self.rows.lanes[0][0], seq, head)
        self.rows.commit(reads, lambda snapshot: decide(seq, head, snapshot))

    def inspect(self, work: Callable[[Books], object]) -> object:
        return work(MemoryBooks(self.rows))

    def closed_accounts(self) -> set[int]:
        return {id_ for id_, state in self.rows.accounts.items() if state.is_closed}

    def fail_at(self, point: str) -> None:
        self._point = point

    def set_ceilings(self, ceilings: dict[int, int]) -> None:
        self.rows.ceilings = ceilings

    def _reach(self, point: str) -> None:
        if point == self._point:
            self._point = ""
            raise CrashedError


class RealStore:
    """A database that crashes when told."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        self._runner = runner
        self._database = database
        self._store = open_ledger_store(database, reach=self._reach)
        self._point = ""
        self._lease: Lease | None = None

    def claim(self, now_ms: int) -> Lease:
        # The dead process's lane is given back for it: the clock stands still, so its lease would never end.
        if self._lease is not None:
            self._runner.run(self._store.renew_lane(self._lease, until_ms=0))
        self._lease = self._runner.run(self._store.claim_lane(now_ms=now_ms, lease_ms=0))
        return self._lease

    def commit(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        self._runner.run(self._store.transact(reads, decide))

    def commit_cold(self, reads: Reads, decide: Callable[[int, bytes, Snapshot], Writes | None]) -> None:
        lease = self._lease
        assert lease is not None

        def work(connection: Connection) -> None:
            seq, head = self._store.cold_head(connection, lane=lease.lane, origin=lease.origin)
            self._store.post_within(connection, reads, lambda snapshot: decide(seq, head, snapshot))

        self._runner.run(self._database.write(work))

    def inspect(self, work: Callable[[Books], object]) -> object:
        return self._runner.run(self._store.inspect(work))

    def closed_accounts(self) -> set[int]:
        statement = select(accounts.c.id).where(accounts.c.closed)
        return self._runner.run(
            self._database.read(lambda connection: set(connection.execute(statement).scalars().all()))
        )

    def fail_at(self, point: str) -> None:
        self._point = point

    def set_ceilings(self, ceilings: dict[int, int]) -> None:
        rows = [{"id": cap, "scope": 2, "subject": cap, "period": 1, "ceiling": n} for cap, n in ceilings.items()]
        self._runner.run(self._database.write(lambda connection: connection.execute(insert(caps), rows) and None))

    def _reach(self, point: str) -> None:
        if point == self._point:
            self._point = ""
            raise CrashedError


@contextmanager
def real_store(kind: str, folder: Path) -> Iterator[RealStore]:
    """An empty database of a kind, driven from outside a loop."""
    with database_url(kind, folder) as url, asyncio.Runner() as runner:
        database = runner.run(Database.open(url))
        try:
            yield RealStore(runner, database)
        finally:
            runner.run(database.aclose())


class Process:
    """A ledger process without a writer: plans a batch and commits it, on the hot lane or the cold one beside it."""

    def __init__(self, store: Store, clock: ManualClock, planner: ModuleType) -> None:
        self.store = store
        self._clock = clock
        self._planner = planner
        self.restart()

    def restart(self) -> None:
        self._lease = self.store.claim(self._clock.now_ms())
        self._seq, self._head = self._lease.seq, self._lease.head

    def run(self, operations: list[Operation]) -> tuple[Outcome, ...]:
        moment = self._planner.Moment(self._lease.lane, self._lease.origin, self._seq, self._head, self._clock.now_ms())
        batch = prepared(operations, lane=moment.lane)
        planned = []

        def decide(snapshot: Snapshot) -> Writes | None:
            planned.append(self._planner.plan(batch, snapshot, moment))
            return planned[0].writes  # type: ignore[no-any-return]

        self.store.commit(batch.reads, decide)
        if planned[0].writes is not None:
            self._seq, self._head = planned[0].writes.batch.seq, planned[0].writes.batch.digest
        return planned[0].outcomes  # type: ignore[no-any-return]

    def run_cold(self, operations: list[Operation]) -> tuple[Outcome, ...]:
        """As another writer: on the lane of facts that come with rows of their own."""
        lane = self._lease.lane + COLD_LANES
        batch = prepared(operations, lane=lane)
        planned = []

        def decide(seq: int, head: bytes, snapshot: Snapshot) -> Writes | None:
            moment = self._planner.Moment(lane, self._lease.origin, seq, head, self._clock.now_ms())
            planned.append(self._planner.plan(batch, snapshot, moment))
            return planned[0].writes  # type: ignore[no-any-return]

        self.store.commit_cold(batch.reads, decide)
        return planned[0].outcomes  # type: ignore[no-any-return]
