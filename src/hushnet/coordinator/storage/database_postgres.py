"""Postgres through asyncpg: a small pool, snapshot reads, and dedicated connections for whoever tunes its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.migrations import migrate, require_current
from hushnet.foundation.errors import StorageError

T = TypeVar("T")

_POOL_SIZE: Final = 4
_CONNECT_S_MAX: Final = 10.0
_COMMAND_S_MAX: Final = 15.0
"""A dedicated connection gives up on a server that has gone silent; the pool's work may rightly take longer."""
_MIGRATION_LOCK: Final = 0x48555348
"""The advisory lock that lets one process migrate while others that start beside it wait."""


class PostgresDatabase(Database):
    """One Postgres database."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, url: URL, *, is_reader: bool) -> None:
        self._url = url.set(drivername="postgresql+asyncpg")
        self._is_reader = is_reader
        self._is_closed = False
        self._dedicated: set[AsyncConnection] = set()
        self._engine = self._make_engine({"application_name": "hushnet"})

    async def write(self, work: Callable[[Connection], T]) -> T:
        if self._is_reader or self._is_closed:
            raise StorageError("this database is open for reading only, or closed")
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        if self._is_closed:
            raise StorageError("this database is closed")
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            return await connection.run_sync(work)

    async def dedicated(self, server_settings: Mapping[str, str]) -> AsyncConnection:
        """Open a connection outside the pool with server settings of its own; it is closed with the database."""
        engine = self._make_engine({"application_name": "hushnet-ledger", **server_settings}, is_pooled=False)
        if self._is_closed:
            raise StorageError("this database is closed")
        connection = await engine.connect()
        self._dedicated.add(connection)
        return connection

    async def discard(self, connection: AsyncConnection) -> None:
        """Close a dedicated connection, whatever state it is in."""
        self._dedicated.discard(connection)
        try:
            await connection.invalidate()
            await connection.close()
        except (SQLAlchemyError, OSError):
            return  # the server has closed it already

    async def aclose(self) -> None:
        self._is_closed = True
        for connection in list(self._dedicated):
            await self.discard(connection)
        await self._engine.dispose()

    async def _start(self) -> None:
        if self._is_reader:
            await self.read(require_current)
            return
        async with self._engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            await connection.run_sync(migrate)

    def _make_engine(self, server_settings: Mapping[str, str], *, is_pooled: bool = True) -> AsyncEngine:
        options = {"pool_size": _POOL_SIZE, "max_overflow": _POOL_SIZE} if is_pooled else {"poolclass": NullPool}
        return create_async_engine(
            self._url,
            hide_parameters=True,
            connect_args={
                "server_settings": dict(server_settings),
                "timeout": _CONNECT_S_MAX,
                "command_timeout": _COMMAND_S_MAX if not is_pooled else None,
            },
            **options,
        )
