"""Payments over x402 run on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.ledger import database_url
from support.x402_shop import Shop, open_facilitator, open_shop, real_clock


@pytest.fixture(params=["sqlite", "postgresql"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    """A till on each database; at the end the books must balance."""
    clock = real_clock()
    with database_url(request.param, tmp_path) as url:
        async with open_facilitator(clock) as facilitator, open_shop(url, facilitator, clock) as opened:
            yield opened
