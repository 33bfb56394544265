"""A database as the stores see it: work on a SQLAlchemy connection, in one transaction, on SQLite or Postgres.

`Database.open("sqlite:///PATH")` is the embedded default: one process writes (a lock file says which), on one thread
and one connection; reads have connections of their own and never wait for the writer.
`Database.open("postgresql://...")` is for anything shared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hushnet.foundation.errors import ConfigurationError, StorageError

T = TypeVar("T")
Dialect = Literal["sqlite", "postgresql"]


class Database(ABC):
    """One open database. `write` and `read` may be called from any task of the loop that opened it."""

    dialect: Dialect

    @staticmethod
    async def open(url: str) -> Database:
        """Open for writing and bring the schema up to date.

        Raises `ConfigurationError` for a URL that names no database, a SQLite file that another process writes, or a
        schema of a newer release; `StorageError` when the database does not let us in.
        """
        return await _opened(_made(url, is_reader=False))

    @staticmethod
    async def open_reader(url: str) -> Database:
        """Open for reading only, also beside a live coordinator; `write` raises, the schema must be up to date."""
        return await _opened(_made(url, is_reader=True))

    @abstractmethod
    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and commit; an exception rolls back and passes through.

        `work` is synchronous and runs elsewhere (SQLite: the writer thread; Postgres: a greenlet), so it touches
        nothing but the connection and what it was given. A cancelled caller does not undo work that has begun.
        """

    @abstractmethod
    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one consistent snapshot; it never blocks the writer and cannot write."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection; safe to call twice."""

    @abstractmethod
    async def _start(self) -> None:
        """Connect; migrate unless this is a reader."""


async def _opened(database: Database) -> Database:
    try:
        await database._start()
    except (SQLAlchemyError, OSError) as error:
        await database.aclose()
        cause = getattr(error, "orig", None) or error
        raise StorageError(
            f"the {database.dialect} database cannot be opened ({type(cause).__name__})",
            hint="check the database setting, and that the database is there and lets this user in",
        ) from None
    except BaseException:
        await database.aclose()
        raise
    return database


def _made(url: str, *, is_reader: bool) -> Database:
    """Make the database that the URL names; the other one's driver is not even imported."""
    parsed = _parsed(url)
    match parsed.get_backend_name():
        case "sqlite":
            from hushnet.coordinator.storage.database_sqlite import SqliteDatabase

            return SqliteDatabase(parsed, is_reader=is_reader)
        case "postgresql":
            from hushnet.coordinator.storage.database_postgres import PostgresDatabase

            return PostgresDatabase(parsed, is_reader=is_reader)
        case other:
            raise ConfigurationError(f"no database is called {other}", hint="use sqlite:///PATH or postgresql://...")


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "the database setting is not a URL", hint="use sqlite:///PATH or postgresql://..."
        ) from None
