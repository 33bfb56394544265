"""Every row of the ledger in one snapshot, in primary-key order for `ledger.books.check`: from a database, or from an export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, select

from hushnet.coordinator.ledger.model import UsageRecord
from hushnet.coordinator.ledger.store import AccountRow, BatchRow, FactRow, StoredHold, Transfer, WindowDelta
from hushnet.coordinator.storage import tables
from hushnet.coordinator.storage.ledger_rows import stored_hold, usage_record

_ROWS_AT_ONCE: Final = 2000


class TableBooks(ABC):
    """`ledger.store.Books` from whole rows of the ledger's tables, wherever they are kept."""

    @abstractmethod
    def rows(self, table: Table) -> Iterator[Sequence[Any]]:
        """Return a table's rows, all columns, ascending by primary key."""

    def accounts(self) -> Iterator[AccountRow]:
        for row in self.rows(tables.accounts):
            id_, owner, kind, asset, lane, floor, _, credits_, debits, held = row
            yield AccountRow(id_, owner, kind, asset, lane, floor, credits_, debits, held)

    def transfers(self) -> Iterator[tuple[Transfer, int]]:
        for row in self.rows(tables.transfers):
            yield Transfer(*row[:8]), row[8]

    def holds(self) -> Iterator[StoredHold]:
        return map(stored_hold, self.rows(tables.holds))

    def facts(self) -> Iterator[FactRow]:
        return (FactRow(*row) for row in self.rows(tables.facts))

    def usage(self) -> Iterator[UsageRecord]:
        return map(usage_record, self.rows(tables.usage))

    def batches(self) -> Iterator[BatchRow]:
        return (BatchRow(*row) for row in self.rows(tables.batches))

    def lanes(self) -> Iterator[tuple[int, int, bytes]]:
        for lane, _, _, seq, head in self.rows(tables.lanes):
            yield lane, seq, head

    def windows(self) -> Iterator[WindowDelta]:
        return (WindowDelta(*row) for row in self.rows(tables.cap_windows))


class SqlBooks(TableBooks):
    """Books over a connection that is inside a snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, table: Table) -> Iterator[Sequence[Any]]:
        statement = select(table).order_by(*table.primary_key.columns)
        return iter(self._connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE)))
