"""The two engines, loaded once a session: with two slots, and with one."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from hushnet.provider.engines.base import Engine
from support.engines import ENGINES, loaded


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncGenerator[Engine, None]:
    """Each engine with two slots; loaded once, so tests leave it idle."""
    async with loaded(request.param, slots=2) as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=ENGINES)
async def narrow_engine(request: pytest.FixtureRequest) -> AsyncGenerator[Engine, None]:
    """Each engine with a single slot: whoever holds it is seen by whoever comes next."""
    async with loaded(request.param, slots=1) as engine:
        yield engine


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)
