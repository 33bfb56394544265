"""An SQLite file with today's schema, made once a session and copied by whoever needs an empty database."""

from __future__ import annotations

import asyncio
import atexit
import functools
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hushnet.coordinator.storage.database import Database


@functools.cache
def migrated_database() -> Path:
    """Migrate one SQLite file, once a session: migrations take longer than everything else that a test does."""
    folder = Path(tempfile.mkdtemp(prefix="hush-sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "template.db"

    async def migrate() -> None:
        database = await Database.open(f"sqlite:///{path}")
        await database.aclose()

    with ThreadPoolExecutor(1) as thread:  # a loop of its own, whoever's loop is running here
        thread.submit(asyncio.run, migrate()).result()
    return path
