"""The loop of production under every test of this folder, and a migrated database for each."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from support.sqlite import migrated_database


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def database_path(tmp_path: Path) -> Path:
    path = tmp_path / "coordinator.db"
    shutil.copyfile(await asyncio.to_thread(migrated_database), path)
    return path
