"""SQLite in WAL mode: one writer thread with one connection, readers beside it, a lock file against a second process."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.migrations import migrate, require_current
from hushnet.foundation.errors import ConfigurationError, StorageError

T = TypeVar("T")

_READERS: Final = 2
"""Threads that read; SQLite readers hold the interpreter lock for most of their work, so more gain nothing."""

_PIECE_BYTES: Final = 1024 * 1024
_OWNER_ONLY: Final = 0o600
_SQLITE_HEAD: Final = b"SQLite format 3\x00"

_WRITER_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = NORMAL",  # alone it loses acknowledged money on power loss: `persist` follows every commit that must last
    "fullfsync = ON",  # at checkpoints, where fsync alone does not reach the platter
    "recursive_triggers = ON",  # otherwise INSERT OR REPLACE slips past the triggers of immutable tables
    "wal_autocheckpoint = 4000",  # pages; checkpoints made by hand gave a worse tail
    "foreign_keys = ON",
    "busy_timeout = 5000",
    "temp_store = MEMORY",
)
_READER_PRAGMAS: Final = ("query_only = ON", "busy_timeout = 5000", "temp_store = MEMORY")


class SqliteDatabase(Database):
    """One SQLite file."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, url: URL, *, is_reader: bool) -> None:
        if not url.database or url.database == ":memory:" or url.query:
            raise ConfigurationError("an SQLite database is a file", hint="use sqlite:///PATH")
        self._path = Path(
            url.database
        ).resolve()  # as SQLite does: log and lock lie beside the file, not beside a link to it
        self._is_reader = is_reader
        self._lock: _FileLock | None = None
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._reader_threads = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-reader")
        self._disk_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-disk")
        self._disk = _Disk(self._path.with_name(self._path.name + "-wal"))
        self._reader = self._engine("BEGIN", _READER_PRAGMAS, connections=_READERS)
        self._writer: Connection | None = None
        self._is_closed = False

    async def write(self, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            if self._writer is None:
                raise StorageError("this database is open for reading only, or closed")
            self._disk.check()
            with self._writer.begin():
                return work(self._writer)

        result = await self._run(self._writer_thread, transaction)
        await self.persist()
        return result

    async def persist(self) -> None:
        """Return once all that has been committed so far outlives a power failure; other commits go on meanwhile.

        Raises `StorageError` when the disk fails, and from then on for good: what it has lost is not known.
        """
        await self._run(self._disk_thread, self._disk.sync)

    async def read(self, work: Callable[[Connection], T]) -> T:
        def snapshot() -> T:
            with self._reader.connect() as connection, connection.begin() as transaction:
                try:
                    return work(connection)
                finally:
                    transaction.rollback()

        return await self._run(self._reader_threads, snapshot)

    async def write_raw(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the driver's connection in the writer thread; `work` begins and commits itself, without `persist`.

        For the ledger's hot path alone, where SQLAlchemy's parameter dictionaries cost more than the statements.
        """

        def transaction() -> T:
            if self._writer is None:
                raise StorageError("this database is open for reading only, or closed")
            self._disk.check()
            raw = self._writer.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            try:
                return work(raw)
            finally:
                if raw.in_transaction:
                    raw.rollback()

        return await self._run(self._writer_thread, transaction)

    async def aclose(self) -> None:
        if self._writer is not None:
            await self._run(self._writer_thread, self._close_writer)
            await self._run(self._disk_thread, self._disk.close)
        self._is_closed = True
        self._writer_thread.shutdown()
        self._disk_thread.shutdown()
        self._reader_threads.shutdown()
        self._reader.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _start(self) -> None:
        if self._is_reader:
            if not self._path.is_file():
                raise ConfigurationError(f"there is no database at {self._path}", hint="start the coordinator first")
            await self.read(require_current)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _require_ours(self._path)
        self._lock = _FileLock(self._path.with_name(self._path.name + ".lock"))
        self._lock.acquire()
        # A new file is for its owner only, and the files that SQLite makes beside it take its mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY))
        await self._run(self._disk_thread, self._disk.renew)
        await self._run(self._writer_thread, self._open_writer)

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise StorageError("this database is closed")
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def _open_writer(self) -> None:
        self._writer = self._engine("BEGIN IMMEDIATE", _WRITER_PRAGMAS, connections=1).connect()
        with self._writer.begin():
            migrate(self._writer)

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            writer.engine.dispose()

    def _engine(self, begin: str, pragmas: tuple[str, ...], *, connections: int) -> Engine:
        mode = "rw" if self._is_reader else "rwc"
        uri = f"{self._path.as_uri()}?mode={mode}"

        def connect() -> sqlite3.Connection:
            raw = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            for pragma in pragmas:
                raw.execute(f"PRAGMA {pragma}").close()
            return raw

        engine = create_engine(
            "sqlite+pysqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            hide_parameters=True,
        )
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin) and None)
        return engine


def _require_ours(path: Path) -> None:
    """Refuse a file that is there and is no SQLite database, before anything beside it or of it is touched."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE_HEAD))
    except FileNotFoundError:
        return
    if head not in (b"", _SQLITE_HEAD):
        raise ConfigurationError(f"the file {path.name} is no SQLite database", hint="use another path")


class _Disk:
    """Brings the write-ahead log to the disk, beside the connection that writes it (docs/adr/0032); for one thread.

    SQLite itself syncs the log before a checkpoint, and its header whenever the log begins again: what lies between is ours.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._fd: int | None = None
        self._has_failed = False

    def sync(self) -> None:
        """Wait for the disk; raises `StorageError` after any failure: the kernel forgets what it could not write."""
        self.check()
        try:
            if self._fd is None:
                self._fd = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
            _sync(self._fd)
        except OSError as error:
            self._has_failed = True
            raise StorageError(f"the disk has failed to keep what was written ({error.strerror})") from None

    def renew(self) -> None:
        """Write once more what the log holds, before it is opened; raises `StorageError` when the disk will not have it.

        After a sync that failed, the kernel may show bytes that the disk never got and hold them for written: what is
        committed behind such a hole would be lost with it.
        """
        try:
            with self._log.open("r+b", buffering=0) as log:
                start = 0
                while piece := os.pread(log.fileno(), _PIECE_BYTES, start):
                    start += os.pwrite(log.fileno(), piece, start)
                _sync(log.fileno())
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"the disk has failed to keep what was written ({error.strerror})") from None

    def check(self) -> None:
        """Raise `StorageError` once the disk has failed."""
        if self._has_failed:
            raise StorageError("the disk has failed to keep what was written; check it and start again")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _sync(fd: int) -> None:
    if sys.platform != "darwin":
        os.fdatasync(fd)
        return
    try:
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync alone leaves it in the drive's cache
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
            raise
        os.fsync(fd)  # a volume that knows no more, and SQLite's own way there


class _FileLock:
    """An exclusive advisory lock that dies with its process; the file names the holder's pid for a person."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise ConfigurationError(
                f"the database {self._path.stem} is being written by another process (pid {holder})",
                hint=f"stop process {holder}, or give this one a database of its own",
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
