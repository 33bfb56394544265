"""Coins on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.coin_world import CoinWorld, coin_world
from support.money import OpenMoney, money

__all__ = ["money", "world"]


@pytest.fixture
async def world(money: OpenMoney) -> AsyncIterator[CoinWorld]:
    async with coin_world(money) as joined:
        yield joined
