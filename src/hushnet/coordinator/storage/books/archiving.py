"""Archiving: the oldest transfers are written to a folder, and only then taken out of the database, in one transaction.

Only what a closed and balanced day covers, and no open hold, may go. The folder has the transfers as an export has them
(`exporting`) and a manifest; the database keeps the file's SHA-256 and each account's sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select

from hushnet.coordinator.ledger.books.check import Finding
from hushnet.coordinator.ledger.books.days import DAY_MS, day_of
from hushnet.coordinator.ledger.ids import first_id_at
from hushnet.coordinator.storage.books.archives import ARCHIVES, sums_below, take_out
from hushnet.coordinator.storage.books.days import DAYS, day_row
from hushnet.coordinator.storage.books.exporting import ExportedBooks, Manifest, write_tables
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.coordinator.storage.tables import holds, transfers
from hushnet.foundation.errors import ConfigurationError, RequestError, StorageError

DAYS_KEPT_MIN: Final = 62
"""Younger transfers stay: corrections and disputes look at them."""
_LANE_SHIFT: Final = 48
_SEQ_MASK: Final = (1 << _LANE_SHIFT) - 1


async def archive_transfers(
    database: Database,
    folder: Path,
    *,
    before_day: int,
    now_ms: int,
    network: str,
    progress: Callable[[str, int], None] = lambda _what, _count: None,
) -> Manifest:
    """Move the transfers of facts that began before a day (since 1970) into `folder`; raises `RequestError`
    `not_archivable` when some must stay, and `ConfigurationError` when the folder is not empty."""
    if before_day > day_of(now_ms) - DAYS_KEPT_MIN:
        raise RequestError(f"the last {DAYS_KEPT_MIN} days stay", code="not_archivable")
    before = first_id_at(before_day * DAY_MS)

    def write(connection: Connection) -> tuple[int, Manifest]:
        day = _covering_day(connection, before)
        old = select(transfers).where(transfers.c.fact < before).order_by(*transfers.primary_key.columns)
        rows = iter(connection.execute(old.execution_options(yield_per=1000)))
        return day, write_tables(folder, [(transfers, rows)], network=network, now_ms=now_ms, progress=progress)

    def take(connection: Connection) -> int:
        _covering_day(connection, before)
        return take_out(connection, mark, sums_below(connection, before))

    with storage_faults():
        day, manifest = await database.read(write)
        (entry,) = manifest.files.values()
        mark = {"before": before, "day": day, "row_count": entry.rows, "sha256": entry.sha256, "at_ms": now_ms}
        if not entry.rows:
            raise RequestError("there is nothing as old as that", code="not_archivable")

        def take_all(connection: Connection) -> None:
            if take(connection) != entry.rows:
                raise StorageError("the transfers that were written are not those that are there")

        await database.write(take_all)
    return manifest


class Archives:
    """Folders that `archive_transfers` wrote, oldest first, to be read before what is left."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._books = sorted((ExportedBooks(folder) for folder in folders), key=_first_fact)

    def before(self, table: Table, rows: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        """Yield a table's rows with what the archives have of it in front."""
        if table.name == transfers.name:
            for books in self._books:
                yield from books.rows(transfers)
        yield from rows

    def findings(self, known: Sequence[str]) -> list[Finding]:
        """Return what is wrong with the files; `known` are the SHA-256 that the books have of all of them."""
        there = [entry.sha256 for books in self._books for entry in books.manifest.files.values()]
        if sorted(there) != sorted(known):
            raise ConfigurationError("these are not the archives of these books", hint="name the folder of each one")
        return [
            Finding("file", name, "is not as it was archived")
            for books in self._books
            for name in books.altered_files()
        ]


def _first_fact(books: ExportedBooks) -> int:
    return next((int(row[0]) for row in books.rows(transfers)), 0)


def known_digests(connection: Connection) -> list[str]:
    """Return the SHA-256 of each archive's file."""
    return [digest for (digest,) in connection.execute(select(ARCHIVES.c.sha256))]


def _covering_day(connection: Connection, before: int) -> int:
    """Return the first closed day that has every transfer below an id; raises `RequestError` `not_archivable`."""
    if connection.execute(select(holds.c.id).where(holds.c.id < before).limit(1)).first() is not None:
        raise RequestError("a hold as old as that is open", code="not_archivable")
    lane = transfers.c.batch // (1 << _LANE_SHIFT)
    ends = select(lane, func.max(transfers.c.batch)).where(transfers.c.fact < before).group_by(lane)
    needed = {lane_: batch & _SEQ_MASK for lane_, batch in connection.execute(ends)}
    newest = None
    for row in connection.execute(select(DAYS).order_by(DAYS.c.day)):
        newest = day_row(row, bytes(row.root))
        heads = {head.lane: head.seq for head in newest.heads}
        if all(heads.get(lane_, 0) >= seq for lane_, seq in needed.items()):
            if newest.findings:
                raise RequestError("the day that covers them was closed with findings", code="not_archivable")
            return newest.day
    raise RequestError("no closed day covers what is to be archived", code="not_archivable", hint="`hush ledger close`")
