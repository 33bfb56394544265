"""The two gateways and their fakes, on a clock of the tests' own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hushnet.coordinator.payments.coins.gateways.btcpay import BtcPay
from hushnet.coordinator.payments.coins.gateways.coinpay import CODES, CoinPay
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.redaction import Secret
from support.coin_gateways import btcpay as btcpay_fake
from support.coin_gateways import coinpay as coinpay_fake
from support.coin_gateways.btcpay import ALL_CODES, FakeBtcPay
from support.coin_gateways.coinpay import FakeCoinPay


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def coinpay_server(clock: ManualClock) -> AsyncIterator[FakeCoinPay]:
    fake = FakeCoinPay(clock.now_ms)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def coinpay(coinpay_server: FakeCoinPay) -> AsyncIterator[CoinPay]:
    secrets = (Secret(coinpay_fake.SECRET), Secret("before"))
    made = CoinPay(coinpay_server.url + "/api", Secret(coinpay_fake.KEY), webhook_secrets=secrets, codes=CODES)
    yield made
    await made.aclose()


@pytest.fixture
async def btcpay_server(clock: ManualClock) -> AsyncIterator[FakeBtcPay]:
    fake = FakeBtcPay(clock.now_ms)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def btcpay(btcpay_server: FakeBtcPay) -> AsyncIterator[BtcPay]:
    made = BtcPay(
        btcpay_server.url,
        Secret(btcpay_fake.KEY),
        store=btcpay_fake.STORE,
        webhook_secrets=(Secret(btcpay_fake.SECRET),),
        codes=ALL_CODES,
    )
    yield made
    await made.aclose()
