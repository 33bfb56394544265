"""Books that count what is read of them, for whoever waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table

from hushnet.coordinator.storage.ledger_books import SqlBooks

_ROWS_A_NOTE: Final = 10_000


class WatchedBooks(SqlBooks):
    """Tells `note` (table, rows so far) now and then; `seen` has each table's rows once it was read to its end."""

    def __init__(self, connection: Connection, note: Callable[[str, int], None]) -> None:
        super().__init__(connection)
        self.seen = Counter[str]()
        self._note = note

    def rows(self, table: Table) -> Iterator[Sequence[Any]]:
        count = 0
        for count, row in enumerate(super().rows(table), 1):
            if not count % _ROWS_A_NOTE:
                self._note(table.name, count)
            yield row
        self.seen[table.name] = count
