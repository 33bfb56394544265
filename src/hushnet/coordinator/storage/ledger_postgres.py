"""The ledger's rows in Postgres: one connection of its own, one statement that writes a whole batch.

READ COMMITTED, because the locking read must return what rivals have just committed. Locks are taken in one order
everywhere: budget windows ascending, then accounts ascending; lane and operator rows belong to one writer, and hold
rows are covered by their owner's accounts. Changes are increments, never absolute values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from hushnet.coordinator.ledger.faults import AFTER_COMMIT, BEFORE_COMMIT, FaultHook
from hushnet.coordinator.ledger.model import CapUse, UsageRecord
from hushnet.coordinator.ledger.store import (
    ContentionError,
    LaneLostError,
    Reads,
    Snapshot,
    StoredHold,
    Transfer,
    UnavailableError,
    WindowState,
    Writes,
)
from hushnet.coordinator.storage import ledger_rows as rows
from hushnet.coordinator.storage.database_postgres import PostgresDatabase
from hushnet.coordinator.storage.ledger_postgres_write import write_parameters, write_statement
from hushnet.coordinator.storage.ledger_store import ORPHAN_MS, SqlLedgerStore
from hushnet.coordinator.storage.tables import lanes
from hushnet.foundation.errors import StorageError

_HOT_LANES: Final = 128
_CLAIM_LOCK: Final = 0x48554C4E
"""The advisory lock under which lanes are claimed, one process at a time."""
_DISCARD_PLANS_S: Final = 60.0
"""A generic plan made while a table was empty was measured 50 times slower than one made later."""

_SESSION: Final = {
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "synchronous_commit": "on",
}
_CONTENTION_STATES: Final = frozenset({"40001", "40P01", "55P03"})
_UNAVAILABLE_CLASSES: Final = ("08", "57P", "53", "58")

_CREATE_ACCOUNTS: Final = text(
    "INSERT INTO ledger_accounts (id, owner, kind, asset, lane, floor)"
    " SELECT * FROM unnest(CAST(:id AS bigint[]), CAST(:owner AS bigint[]), CAST(:kind AS smallint[]),"
    " CAST(:asset AS text[]), CAST(:lane AS smallint[]), CAST(:floor AS smallint[])) ON CONFLICT DO NOTHING"
)
_CREATE_WINDOWS: Final = text(
    "INSERT INTO ledger_cap_windows (cap, start_ms) SELECT u.cap, u.start_ms"
    " FROM unnest(CAST(:cap AS bigint[]), CAST(:start AS bigint[])) AS u (cap, start_ms)"
    " JOIN ledger_caps c ON c.id = u.cap ORDER BY 1, 2 ON CONFLICT DO NOTHING"
)
_LOCK_WINDOWS: Final = text(
    "SELECT w.cap, w.start_ms, w.spent, w.held, c.ceiling"
    " FROM unnest(CAST(:cap AS bigint[]), CAST(:start AS bigint[])) AS u (cap, start_ms)"
    " JOIN ledger_cap_windows w ON w.cap = u.cap AND w.start_ms = u.start_ms JOIN ledger_caps c ON c.id = w.cap"
    " ORDER BY w.cap, w.start_ms FOR NO KEY UPDATE OF w"
)
_LOCK_ACCOUNTS: Final = text(
    "SELECT id, credits, debits, held, closed FROM ledger_accounts"
    " WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE"
)
_PROBE_HOLDS: Final = text(
    "SELECT true AS is_open, id, owner, promo, paid, earnings, opened_ms, expires_ms, origin, caps"
    " FROM ledger_holds WHERE id = ANY(CAST(:ids AS bigint[]))"
    " UNION ALL SELECT false, fact, leg, phase, code, debit, credit, amount, at_ms, NULL FROM ledger_transfers t"
    " WHERE fact = ANY(CAST(:facts AS bigint[])) AND fact BETWEEN :low AND :high"
    " AND NOT EXISTS (SELECT FROM ledger_holds h WHERE h.id = (t.fact | 1) - 1)"
)
_PROBE_KEYS: Final = text("SELECT key, digest FROM ledger_facts WHERE key = ANY(CAST(:keys AS text[]))")
_PROBE_USES: Final = text("SELECT * FROM usage_records WHERE id = ANY(CAST(:ids AS bigint[]))")


class PostgresLedgerStore(SqlLedgerStore):
    """The ledger in one Postgres database. `transact` is for one task at a time: the writer's."""

    def __init__(self, database: PostgresDatabase, reach: FaultHook) -> None:
        super().__init__(database, reach)
        self._postgres = database
        self._connection: AsyncConnection | None = None
        self._plans_discarded_s = 0.0
        self._made: set[int] = set()

    async def transact(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        try:
            connection = await self._connected()
            wanted = [id_ for id_ in reads.create if id_ not in self._made]
            async with connection.begin() as transaction:
                await connection.run_sync(_create_accounts, wanted)
                writes = decide(await connection.run_sync(_snapshot, reads))
                if writes is None:
                    await transaction.rollback()
                    return
                await connection.run_sync(_write, writes)
                self._reach(BEFORE_COMMIT)
            self._reach(AFTER_COMMIT)
        except (SQLAlchemyError, OSError) as error:
            await self._drop_connection()
            raise self._translated(error) from None
        except BaseException:
            await self._drop_connection()
            raise
        self._made.update(wanted)

    def post_within(self, connection: Connection, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        _create_accounts(connection, reads.create)
        writes = decide(_snapshot(connection, reads))
        if writes is not None:
            _write(connection, writes)

    async def _connected(self) -> AsyncConnection:
        now_s = asyncio.get_running_loop().time()
        if self._connection is None:
            self._connection = await self._postgres.dedicated(_SESSION)
            self._plans_discarded_s = now_s
        elif now_s - self._plans_discarded_s > _DISCARD_PLANS_S:
            await self._connection.execute(text("DISCARD PLANS"))
            await self._connection.commit()
            self._plans_discarded_s = now_s
        return self._connection

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._postgres.discard(connection)

    def _translated(self, error: Exception) -> StorageError:
        if not isinstance(error, DBAPIError) or error.connection_invalidated:
            return UnavailableError("the ledger's database does not answer")
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if state in _CONTENTION_STATES:
            return ContentionError("the ledger's rows are locked by a rival")
        if not state or state.startswith(_UNAVAILABLE_CLASSES):
            return UnavailableError("the ledger's database does not answer")
        return StorageError(f"the ledger's rows were refused ({state})")

    def _free_lane(self, connection: Connection, now_ms: int) -> int:
        connection.execute(select(func.pg_advisory_xact_lock(_CLAIM_LOCK)))
        hot = lanes.c.lane < _HOT_LANES
        free = select(func.min(lanes.c.lane)).where(hot, lanes.c.lease_ms < now_ms - ORPHAN_MS)
        lane: int | None = connection.execute(free).scalar_one()
        if lane is None:
            newest: int | None = connection.execute(select(func.max(lanes.c.lane)).where(hot)).scalar_one()
            lane = 0 if newest is None else newest + 1
        if lane >= _HOT_LANES:
            raise StorageError("every lane of the ledger is held", hint="stop a coordinator, or wait a minute")
        return lane

    def _lease_end(self, until_ms: int) -> int:
        return until_ms

    def _database_ms(self, connection: Connection) -> int:
        return int(connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000")).scalar_one())


def _create_accounts(connection: Connection, ids: Sequence[int]) -> None:
    if ids:
        new = rows.new_accounts(ids)
        columns = {name: [getattr(row, name) for row in new] for name in rows.NewAccount._fields}
        connection.execute(_CREATE_ACCOUNTS, columns)


def _snapshot(connection: Connection, reads: Reads) -> Snapshot:
    """Take the locks, windows first; read after them, so that what rivals have committed is seen."""
    windows = _locked_windows(connection, reads.windows)
    accounts = {}
    if reads.accounts:
        for id_, *state in connection.execute(_LOCK_ACCOUNTS, {"ids": reads.accounts}):
            accounts[id_] = rows.account_state(state)
    holds, transfers = _holds(connection, reads.ids)
    facts: dict[str, bytes] = {}
    uses: dict[int, UsageRecord] = {}
    if reads.keys:
        facts = dict(tuple(row) for row in connection.execute(_PROBE_KEYS, {"keys": reads.keys}))
    if reads.uses:
        uses = {row[0]: rows.usage_record(row) for row in connection.execute(_PROBE_USES, {"ids": reads.uses})}
    return Snapshot(accounts, holds, transfers, facts, uses, windows)


def _locked_windows(connection: Connection, uses: Sequence[CapUse]) -> dict[CapUse, WindowState]:
    if not uses:
        return {}
    columns = {"cap": [use.cap for use in uses], "start": [use.start_ms for use in uses]}
    connection.execute(_CREATE_WINDOWS, columns)
    locked = connection.execute(_LOCK_WINDOWS, columns)
    return {CapUse(cap, start_ms): WindowState(*state) for cap, start_ms, *state in locked}


def _holds(connection: Connection, ids: Sequence[int]) -> tuple[dict[int, StoredHold], dict[int, list[Transfer]]]:
    """Return the open holds among `ids`, and the rows of those that are finalised."""
    if not ids:
        return {}, {}
    facts = [fact for id_ in ids for fact in (id_, id_ | 1)]
    probe = {"ids": ids, "facts": facts, "low": facts[0], "high": facts[-1]}
    holds: dict[int, StoredHold] = {}
    legs: list[Transfer] = []
    for is_open, *row in connection.execute(_PROBE_HOLDS, probe):
        if is_open:
            holds[row[0]] = rows.stored_hold((*row[:5], None, *row[5:], None))
        else:
            legs.append(Transfer(*row[:8]))
    return holds, rows.by_hold(legs)


def _write(connection: Connection, writes: Writes) -> None:
    counts = (connection.execute(write_statement(writes), write_parameters(writes))).one()
    if counts.lanes != 1:
        raise LaneLostError("another writer moved this lane on")
    changed = (counts.accounts, counts.holds, counts.windows)
    if changed != (len(writes.deltas), len(writes.closed), len(writes.windows)):
        raise StorageError("the ledger's rows are not as they were read")
