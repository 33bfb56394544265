"""The books as files: everything that a third party needs to repeat the proof, in one snapshot.

One CSV file a table, its columns in the header, rows in primary-key order; bytes are hex, NULL is `\\N`. `days.jsonl` has
a line a closed day, with the secret of its nonces and its signed root. `manifest.json` has each file's rows and SHA-256.
Whoever gets the folder sees what everybody is owed: it is for an auditor, not for publication.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import Boolean, Connection, LargeBinary, Table, Text, select

from hushnet.coordinator.ledger.books.days import DayRow
from hushnet.coordinator.ledger.books.keeper import BookKeys
from hushnet.coordinator.ledger.books.published import root_document
from hushnet.coordinator.storage import tables
from hushnet.coordinator.storage.books.archives import ARCHIVED_SUMS, ARCHIVES
from hushnet.coordinator.storage.books.days import DAY_BALANCES, DAYS, day_row
from hushnet.coordinator.storage.ledger_books import SqlBooks, TableBooks
from hushnet.foundation.errors import ConfigurationError

MANIFEST: Final = "manifest.json"
DAYS_FILE: Final = "days.jsonl"
FORMAT: Final = 1
NULL: Final = r"\N"
Progress: TypeAlias = Callable[[str, int], None]
"""Told a table and how many of its rows are done."""
EXPORTED: Final = (
    tables.accounts,
    tables.transfers,
    tables.holds,
    tables.facts,
    tables.usage,
    tables.batches,
    tables.lanes,
    tables.cap_windows,
    DAY_BALANCES,
    ARCHIVES,
    ARCHIVED_SUMS,
)
_PIECE_BYTES: Final = 1 << 20


class ExportedDay(msgspec.Struct, frozen=True):
    """A line of `days.jsonl`: the day's columns as stored, its secret (hex), and its root as it is published."""

    day: int
    at_ms: int
    heads: str
    root: str
    leaves: int
    liabilities: int
    oldest_open: int | None
    findings: str
    secret: str
    published: dict[str, Any]


class FileEntry(msgspec.Struct, frozen=True):
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    format: int
    network: str
    exported_ms: int
    files: dict[str, FileEntry]


def export_books(
    connection: Connection,
    folder: Path,
    keys: BookKeys,
    *,
    network: str,
    now_ms: int,
    progress: Progress,
) -> Manifest:
    """Write the books into `folder`, which must not exist or be empty; `progress` is told each table and its rows so far.

    Raises `ConfigurationError` for a folder that is not empty.
    """
    books = SqlBooks(connection)
    days = connection.execute(select(DAYS).order_by(DAYS.c.day)).all()
    lines = [_day_line(row, keys, network) for row in days]
    closed = {row.day for row in days}
    parts = [(table, books.rows(table)) for table in EXPORTED]
    # A day that is being closed has balances before it has a row.
    parts = [(t, (row for row in rows if row[0] in closed) if t is DAY_BALANCES else rows) for t, rows in parts]
    return write_tables(folder, parts, network=network, now_ms=now_ms, progress=progress, days=lines)


def write_tables(
    folder: Path,
    parts: Sequence[tuple[Table, Iterator[Sequence[Any]]]],
    *,
    network: str,
    now_ms: int,
    progress: Progress,
    days: Sequence[bytes] | None = None,
) -> Manifest:
    """Write rows table by table, then the days, then the manifest: a folder without one is not whole."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigurationError(f"the folder {folder} is not empty", hint="name one that is not there yet")
    files = {}
    for table, rows in parts:
        count = _write_csv(folder / file_of(table), table, _counted(rows, partial(progress, table.name)))
        files[file_of(table)] = FileEntry(count, file_digest(folder / file_of(table)))
    if days is not None:
        _write_private(folder / DAYS_FILE, b"".join(line + b"\n" for line in days))
        files[DAYS_FILE] = FileEntry(len(days), file_digest(folder / DAYS_FILE))
    manifest = Manifest(FORMAT, network, now_ms, files)
    _write_private(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    return manifest


class ExportedBooks(TableBooks):
    """`ledger.store.Books` from a folder; raises `ConfigurationError` for a file that is not as it was exported."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest = _decoded(folder / MANIFEST, Manifest)
        if self.manifest.format != FORMAT:
            raise ConfigurationError(
                f"the export has format {self.manifest.format}", hint="use the release that made it"
            )

    def altered_files(self) -> list[str]:
        """Return the files whose bytes are not those that the manifest names."""
        return [
            name
            for name, entry in self.manifest.files.items()
            if not (self._folder / name).is_file() or file_digest(self._folder / name) != entry.sha256
        ]

    def rows(self, table: Table) -> Iterator[Sequence[Any]]:
        readers = [_reader_of(column.type) for column in table.columns]
        path = self._folder / file_of(table)
        with path.open(encoding="utf-8", newline="") as source:
            lines = csv.reader(source)
            if next(lines, None) != [column.name for column in table.columns]:
                raise ConfigurationError(f"{path} has other columns than an export")
            try:
                for line in lines:
                    yield tuple(read(cell) for read, cell in zip(readers, line, strict=True))
            except (ValueError, csv.Error):
                raise ConfigurationError(f"{path} is damaged in line {lines.line_num}") from None

    def days(self) -> list[tuple[DayRow, ExportedDay]]:
        """Return the closed days, in order."""
        text = (self._folder / DAYS_FILE).read_bytes()
        try:
            lines = [msgspec.json.decode(line, type=ExportedDay) for line in text.splitlines()]
            return [(day_row(line, bytes.fromhex(line.root)), line) for line in lines]
        except (msgspec.MsgspecError, ValueError):
            raise ConfigurationError(f"{self._folder / DAYS_FILE} is damaged") from None


def file_of(table: Table) -> str:
    return f"{table.name}.csv"


def file_digest(path: Path) -> str:
    """Return SHA-256 of a file, in hex."""
    hasher = hashlib.sha256()
    with path.open("rb") as source:
        while piece := source.read(_PIECE_BYTES):
            hasher.update(piece)
    return hasher.hexdigest()


def _write_csv(path: Path, table: Table, rows: Iterator[Sequence[Any]]) -> int:
    writers = [_writer_of(column.type) for column in table.columns]
    count = 0
    with os.fdopen(_private(path), "w", encoding="utf-8", newline="") as sink:
        lines = csv.writer(sink, lineterminator="\n")
        lines.writerow([column.name for column in table.columns])
        for row in rows:
            lines.writerow([NULL if cell is None else write(cell) for write, cell in zip(writers, row, strict=True)])
            count += 1
        sink.flush()
        os.fsync(sink.fileno())  # an archive's rows are deleted next
    return count


def _writer_of(type_: Any) -> Callable[[Any], Any]:
    if isinstance(type_, LargeBinary):
        return lambda cell: bytes(cell).hex()
    return int if isinstance(type_, Boolean) else lambda cell: cell


def _reader_of(type_: Any) -> Callable[[str], Any]:
    if isinstance(type_, LargeBinary):
        read: Callable[[str], Any] = bytes.fromhex
    else:
        read = str if isinstance(type_, Text) else int
    return lambda cell: None if cell == NULL else read(cell)


def _day_line(row: Any, keys: BookKeys, network: str) -> bytes:
    day = day_row(row, bytes(row.root))
    columns: Mapping[str, Any] = row._mapping
    line = ExportedDay(
        **{
            name: columns[name]
            for name in ("day", "at_ms", "heads", "leaves", "liabilities", "oldest_open", "findings")
        },
        root=day.root.hex(),
        secret=keys.secret_of(day.day).hex(),
        published=root_document(day, network=network, key=keys.identity),
    )
    return msgspec.json.encode(line)


def _counted(rows: Iterator[Sequence[Any]], note: Callable[[int], None]) -> Iterator[Sequence[Any]]:
    count = 0
    for count, row in enumerate(rows, 1):
        if not count % 10_000:
            note(count)
        yield row
    note(count)


def _decoded(path: Path, type_: type[Manifest]) -> Manifest:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is not there", hint="name a folder that `hush ledger export` made") from None
    except msgspec.MsgspecError:
        raise ConfigurationError(f"{path} is damaged") from None


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(_private(path), "wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
