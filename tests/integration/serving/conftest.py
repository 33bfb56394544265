"""Every test of this folder runs on one `Network`, whose books are checked when the test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.fleet import Network


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with Network.open(tmp_path / "coordinator.db") as network:
        yield network
