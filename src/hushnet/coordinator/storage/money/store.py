"""`ledger.transaction.MoneyStore` on both databases: domain rows and facts in one transaction.

Facts are decided by the ledger's planner under the same locks as on its hot path, and written on the cold lane, whose
chain is read and locked by each transaction: no task of its own, no head in memory. Ids come from the process's lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from hushnet.coordinator.ledger.faults import APPLY_AFTER_COMMIT, APPLY_BEFORE_COMMIT
from hushnet.coordinator.ledger.model import AlreadyPosted, Fact, Held, Hold, Outcome, Posted
from hushnet.coordinator.ledger.plan import Moment, Plan, plan
from hushnet.coordinator.ledger.reads import prepared
from hushnet.coordinator.ledger.store import ContentionError, Snapshot, Writes
from hushnet.coordinator.ledger.transaction import Earnings, PostingRefusedError, Row, Rows, Transaction, View
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.coordinator.storage.ledger_store import COLD_LANES, SqlLedgerStore
from hushnet.coordinator.storage.money.rows import SqlRows
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId, RequestId

T = TypeVar("T")
R = TypeVar("R", bound=Row)

IDS_MAX: Final = 64
"""Ids that one transaction may use: they are made before it begins, on the loop that owns the lane."""
_TRIES: Final = 5
_LOCK_WAIT: Final = text("SET LOCAL lock_timeout = '5s'")


class Ids(Protocol):
    """The process's lane, as far as it is needed here (`ledger.service.Ledger`)."""

    @property
    def lane(self) -> int: ...

    @property
    def origin(self) -> int: ...

    def next_request_id(self) -> RequestId: ...


class SqlMoneyStore:
    """The database of one process, for whoever moves money with rows of its own."""

    def __init__(self, database: Database, store: SqlLedgerStore, ids: Ids, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._ids = ids
        self._clock = clock

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See `MoneyStore.transact`."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._once(work)
            except ContentionError:
                if attempt == _TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    async def read(self, work: Callable[[View], T]) -> T:
        """See `MoneyStore.read`."""
        with storage_faults():
            return await self._database.read(lambda connection: work(_SqlView(connection)))

    async def _once(self, work: Callable[[Transaction], T]) -> T:
        moment = Moment(self._ids.lane + COLD_LANES, self._ids.origin, 0, b"", self._clock.now_ms())
        ids = [int(self._ids.next_request_id()) for _ in range(IDS_MAX)]

        def transaction(connection: Connection) -> T:
            if connection.dialect.name == "postgresql":
                connection.execute(_LOCK_WAIT)
            result = work(_SqlTransaction(connection, self._store, moment, iter(ids)))
            self._store.reach(APPLY_BEFORE_COMMIT)
            return result

        try:
            result = await self._database.write(transaction)
        except (SQLAlchemyError, OSError) as error:
            raise self._store.translated(error) from None
        self._store.reach(APPLY_AFTER_COMMIT)
        return result


class _SqlView:
    """`ledger.transaction.View` on a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, row_type: type[R]) -> Rows[R]:
        return SqlRows(self._connection, row_type, is_locking=False)


class _SqlTransaction:
    """`ledger.transaction.Transaction` on a connection that is inside a transaction."""

    def __init__(self, connection: Connection, store: SqlLedgerStore, moment: Moment, ids: Any) -> None:
        self._connection = connection
        self._store = store
        self._moment = moment
        self._ids = ids

    @property
    def now_ms(self) -> int:
        return self._moment.now_ms

    def rows(self, row_type: type[R]) -> Rows[R]:
        return SqlRows(self._connection, row_type, is_locking=True)

    def next_id(self) -> int:
        id_ = next(self._ids, None)
        if id_ is None:
            raise StorageError(f"one transaction makes at most {IDS_MAX} ids", hint="do the work in smaller steps")
        return int(id_)

    def earnings_of(self, owner: AccountId, *, since_ms: int) -> Earnings:
        self._lock_lane()  # before any account, as everywhere
        return self._store.earnings_within(self._connection, owner, since_ms)

    def post(self, *operations: Fact | Hold) -> Sequence[Outcome]:
        named = [
            replace(operation, id=self.next_id()) if isinstance(operation, Fact) and not operation.id else operation
            for operation in operations
        ]
        seq, head = self._lock_lane()
        moment = replace(self._moment, seq=seq, head=head)
        batch = prepared(named, lane=moment.lane)
        planned: list[Plan] = []

        def decide(snapshot: Snapshot) -> Writes | None:
            planned.append(plan(batch, snapshot, moment))
            return planned[-1].writes

        self._store.post_within(self._connection, batch.reads, decide)
        outcomes = planned[-1].outcomes
        for outcome in outcomes:
            if not isinstance(outcome, Posted | AlreadyPosted | Held):
                raise PostingRefusedError(outcome)
        return outcomes

    def _lock_lane(self) -> tuple[int, bytes]:
        return self._store.cold_head(self._connection, lane=self._moment.lane - COLD_LANES, origin=self._moment.origin)
