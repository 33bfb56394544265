"""The loop of production under every test of the mesh, and two workers on empty books."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from hushnet.coordinator.storage import Database
from support.pair import Worker, pair


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "coordinator.db"

    async def migrate() -> None:
        database = await Database.open(f"sqlite:///{path}")
        await database.aclose()

    asyncio.run(migrate())
    return path


@pytest.fixture
async def both(template: Path, tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    async with pair(template, tmp_path) as workers:
        yield workers
