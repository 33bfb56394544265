"""The ledger's rows in SQLite: the writer thread runs a whole batch on the driver's connection.

Parameters are tuples bound by the driver: through SQLAlchemy their dictionaries cost more than the statements.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from hushnet.coordinator.ledger.faults import AFTER_COMMIT, BEFORE_COMMIT, FaultHook
from hushnet.coordinator.ledger.model import CapUse
from hushnet.coordinator.ledger.store import (
    ContentionError,
    LaneLostError,
    Reads,
    Snapshot,
    Transfer,
    WindowState,
    Writes,
)
from hushnet.coordinator.storage import ledger_rows as rows
from hushnet.coordinator.storage.database_sqlite import SqliteDatabase
from hushnet.coordinator.storage.ledger_store import SqlLedgerStore
from hushnet.foundation.errors import StorageError

_LANE: Final = 0
_FOREVER_MS: Final = 1 << 62
"""The lock file is the lease: while this process lives nobody else can write."""

_ROWS_AT_ONCE: Final = (64, 16, 8, 4, 2, 1)
"""Few different statements, so that all stay prepared; the largest has 1,280 parameters of the 32,766 that SQLite takes."""
_AMONG: Final = "IN (SELECT value FROM json_each(?))"


class SqliteLedgerStore(SqlLedgerStore):
    """The ledger in one SQLite file."""

    def __init__(self, database: SqliteDatabase, reach: FaultHook) -> None:
        super().__init__(database, reach, database.persist)
        self._sqlite = database
        self._made: set[int] = set()

    async def transact(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        def batch(raw: sqlite3.Connection) -> None:
            raw.execute("BEGIN IMMEDIATE")
            wanted = [id_ for id_ in reads.create if id_ not in self._made]
            _create_accounts(raw, wanted)
            writes = decide(_snapshot(raw, reads))
            if writes is None:
                return
            _write(raw, writes)
            self._reach(BEFORE_COMMIT)
            raw.commit()
            self._made.update(wanted)
            self._reach(AFTER_COMMIT)

        try:
            await self._sqlite.write_raw(batch)
        except sqlite3.Error as error:
            raise self._translated(error) from None

    def post_within(self, connection: Connection, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        _create_accounts(raw, reads.create)
        writes = decide(_snapshot(raw, reads))
        if writes is not None:
            _write(raw, writes)

    def _translated(self, error: Exception) -> StorageError:
        driver_error = error.orig if isinstance(error, DBAPIError) else error
        name = getattr(driver_error, "sqlite_errorname", type(driver_error).__name__)
        if name in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            return ContentionError("the ledger's file is locked")
        return StorageError(f"the ledger's rows were refused ({name})")

    def _free_lane(self, _connection: Connection, _now_ms: int) -> int:
        return _LANE

    def _lease_end(self, _until_ms: int) -> int:
        return _FOREVER_MS

    def _database_ms(self, _connection: Connection) -> None:
        return None


def _create_accounts(raw: sqlite3.Connection, ids: Sequence[int]) -> None:
    if ids:
        raw.executemany(
            "INSERT INTO ledger_accounts (id, owner, kind, asset, lane, floor) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            rows.new_accounts(ids),
        )


def _snapshot(raw: sqlite3.Connection, reads: Reads) -> Snapshot:
    def among(statement: str, values: Sequence[Any]) -> Iterable[Any]:
        return raw.execute(f"{statement} {_AMONG}", (json.dumps(values),)) if values else ()

    accounts = among("SELECT id, credits, debits, held, closed FROM ledger_accounts WHERE id", reads.accounts)
    holds = {row[0]: rows.stored_hold(row) for row in among("SELECT * FROM ledger_holds WHERE id", reads.ids)}
    gone = [fact for id_ in reads.ids if id_ not in holds for fact in (id_, id_ | 1)]
    legs = among("SELECT fact, leg, phase, code, debit, credit, amount, at_ms FROM ledger_transfers WHERE fact", gone)
    return Snapshot(
        accounts={id_: rows.account_state(state) for id_, *state in accounts},
        holds=holds,
        transfers=rows.by_hold(Transfer(*leg) for leg in legs),
        facts=dict(among("SELECT key, digest FROM ledger_facts WHERE key", reads.keys)),
        uses={row[0]: rows.usage_record(row) for row in among("SELECT * FROM usage_records WHERE id", reads.uses)},
        windows=_windows(raw, reads.windows),
    )


def _windows(raw: sqlite3.Connection, uses: Sequence[CapUse]) -> dict[CapUse, WindowState]:
    if not uses:
        return {}
    raw.executemany(
        "INSERT INTO ledger_cap_windows (cap, start_ms) SELECT id, ? FROM ledger_caps WHERE id = ? ON CONFLICT DO NOTHING",
        [(use.start_ms, use.cap) for use in uses],
    )
    found = {}
    for use in uses:
        row = raw.execute(
            "SELECT w.spent, w.held, c.ceiling FROM ledger_cap_windows w JOIN ledger_caps c ON c.id = w.cap"
            " WHERE w.cap = ? AND w.start_ms = ?",
            use,
        ).fetchone()
        if row is not None:
            found[use] = WindowState(*row)
    return found


def _write(raw: sqlite3.Connection, writes: Writes) -> None:
    link = writes.batch
    fenced = raw.execute(
        "UPDATE ledger_lanes SET seq = ?, head = ? WHERE lane = ? AND seq = ? AND holder = ?",
        (link.seq, link.digest, link.lane, link.seq - 1, str(writes.origin)),
    )
    if fenced.rowcount != 1:
        raise LaneLostError("another writer moved this lane on")
    raw.execute("INSERT INTO ledger_batches VALUES (?, ?, ?, ?, ?, ?)", link)
    _insert(raw, "ledger_transfers", rows.transfer_values(writes))
    _change(
        raw,
        "UPDATE ledger_accounts SET credits = credits + ?, debits = debits + ?, held = held + ?,"
        " closed = coalesce(?, closed) WHERE id = ?",
        [(delta.credits, delta.debits, delta.held, delta.is_closed, delta.account) for delta in writes.deltas],
    )
    _insert(
        raw,
        "ledger_holds (id, owner, promo, paid, earnings, amount, opened_ms, expires_ms, origin, caps)",
        [rows.hold_values(hold) for hold in writes.opened],
    )
    _delete_holds(raw, [hold.id for hold in writes.closed])
    _insert(raw, "usage_records", [rows.usage_values(record) for record in writes.usage])
    _insert(raw, "ledger_facts", writes.facts)
    _change(
        raw,
        "UPDATE ledger_cap_windows SET spent = spent + ?, held = held + ? WHERE cap = ? AND start_ms = ?",
        [(delta.spent, delta.held, delta.cap, delta.start_ms) for delta in writes.windows],
    )


def _insert(raw: sqlite3.Connection, into: str, values: Sequence[Sequence[Any]]) -> None:
    """Insert rows, many in a statement: the driver lets go of the interpreter, and must get it back, for every row of its own."""
    start, left = 0, len(values)
    while left:
        count = next(step for step in _ROWS_AT_ONCE if step <= left)
        rows_now = values[start : start + count]
        raw.execute(_insertion(into, count, len(rows_now[0])), list(chain.from_iterable(rows_now)))
        start, left = start + count, left - count


@cache
def _insertion(into: str, count: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"INSERT INTO {into} VALUES {', '.join([row] * count)}"  # noqa: S608 - of constants and question marks


def _delete_holds(raw: sqlite3.Connection, ids: Sequence[int]) -> None:
    if ids:
        deleted = raw.execute(
            "DELETE FROM ledger_holds WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
        )
        if deleted.rowcount != len(ids):
            raise StorageError("the ledger's rows are not as they were read")


def _change(raw: sqlite3.Connection, statement: str, values: Sequence[Sequence[Any]]) -> None:
    """Run a statement that must change one row for each parameter tuple."""
    if values and raw.executemany(statement, values).rowcount != len(values):
        raise StorageError("the ledger's rows are not as they were read")
