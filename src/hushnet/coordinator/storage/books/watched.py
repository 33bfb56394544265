"""Books that count what is read of them, for whoever waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table

from hushnet.coordinator.storage.books.archiving import Archives
from hushnet.coordinator.storage.ledger_books import SqlBooks

_ROWS_A_NOTE: Final = 10_000


class WatchedBooks(SqlBooks):
    """Tells `note` (table, rows so far) now and then; `seen` has each table's rows once it was read to its end.

    With `archives` their rows come first, as if they had never been taken out.
    """

    def __init__(
        self, connection: Connection, note: Callable[[str, int], None], archives: Archives | None = None
    ) -> None:
        super().__init__(connection)
        self._archives = archives
        self.seen = Counter[str]()
        self._note = note

    def rows(self, table: Table) -> Iterator[Sequence[Any]]:
        count, here = 0, super().rows(table)
        for count, row in enumerate(here if self._archives is None else self._archives.before(table, here), 1):
            if not count % _ROWS_A_NOTE:
                self._note(table.name, count)
            yield row
        self.seen[table.name] = count
