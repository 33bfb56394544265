"""Every test of this folder runs on one `Network`, whose books are checked when the test is over."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushnet.coordinator.storage import Database
from support.fleet import Network


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to be copied: migrating costs more than most tests."""
    path = tmp_path_factory.mktemp("template") / "coordinator.db"
    asyncio.run(_migrate(path))
    return path


async def _migrate(path: Path) -> None:
    database = await Database.open(f"sqlite:///{path}")
    await database.aclose()


@pytest.fixture
def database_path(empty_database: Path, tmp_path: Path) -> Path:
    path = tmp_path / "coordinator.db"
    shutil.copyfile(empty_database, path)
    return path


@pytest.fixture
async def network(database_path: Path) -> AsyncIterator[Network]:
    async with Network.open(database_path) as network:
        yield network
