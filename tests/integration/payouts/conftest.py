"""Payouts on each database, against one fake Stripe a module."""

from collections.abc import AsyncIterator, Iterator

import pytest

from support.money import OpenMoney, money
from support.payout_desk import Desk, open_desk, prepared
from support.stripe_fake import FakeStripe, running_stripe


class _Time:
    """The fake's clock: that of the test which runs."""

    def __init__(self) -> None:
        self.now_ms = lambda: 0

    def __call__(self) -> int:
        return self.now_ms() // 1000


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FakeStripe, _Time]]:
    time = _Time()
    with running_stripe(FakeStripe(now_s=time)) as stripe:
        yield stripe, time


@pytest.fixture
async def desk(money: OpenMoney, served: tuple[FakeStripe, _Time]) -> AsyncIterator[Desk]:
    """Payouts of one process; at the end what must agree agrees."""
    stripe, time = served
    time.now_ms = money.clock.now_ms
    async with open_desk(money, prepared(stripe)) as opened:
        yield opened
        assert await opened.worker.compare() == []


__all__ = ["money"]
