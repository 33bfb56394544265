"""How old earnings have to be is one setting: what an account is shown and what a payout takes go by it, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.app.payouts import terms_of
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg, Posted
from hushnet.coordinator.payments.payouts.asking import Wish
from hushnet.coordinator.payments.payouts.methods import Place
from hushnet.coordinator.payments.payouts.model import COIN
from hushnet.coordinator.payments.payouts.service import Payouts
from hushnet.coordinator.settings.payouts import PayoutSettings
from hushnet.foundation.clock import ManualClock, SystemClock
from hushnet.foundation.errors import AccessError
from hushnet.foundation.ids import AccountId
from support.control import Account, Network, network
from support.ledger import database_url

EARNED = 50_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, tmp_path) as found:
        yield found


async def earner(net: Network) -> Account:
    account = await net.account("earner")
    leg = Leg(operator_account(Kind.REWARD_EXPENSE), user_account(account.id, Kind.EARNINGS), EARNED)
    fact = Fact("test:earned", Code.REWARD, (leg,), actor="test", owner=AccountId(account.id))
    assert isinstance(await net.coordinator.ledger.fact(fact), Posted)
    return account


async def withdrawable(account: Account) -> int:
    found: int = (await account.http.get("/v1/balance")).json()["withdrawable_micro_usd"]
    return found


async def payouts_of(net: Network, owner: AccountId) -> Payouts:
    """Return payouts under the network's own terms, with a place for the owner's coins."""
    terms = replace(terms_of(net.coordinator.settings.payouts), rails=frozenset({COIN}))
    store = net.coordinator.money.store
    payouts = Payouts(store, terms=terms, check=lambda asset, on, at, tag: Place(COIN, asset, on, at, tag))
    await payouts.add_coin_method(owner, "USDC", "base", "0x1", None)
    return payouts


@pytest.mark.parametrize("hours", [0, 3])
async def test_what_is_shown_and_what_is_paid_out_go_by_one_setting(tmp_path: Path, url: str, hours: int) -> None:
    settings = {"payouts__maturity_h": hours, "payouts__cool_down_h": 0}
    clock = ManualClock(SystemClock().now_ms())
    async with network(tmp_path, database=url, clock=clock, **settings) as net:
        account = await earner(net)
        owner = AccountId(account.id)
        payouts = await payouts_of(net, owner)
        clock.advance(1)
        if hours:
            assert await withdrawable(account) == 0
            with pytest.raises(AccessError) as refused:
                await payouts.request(Wish(owner, "early", EARNED))
            assert refused.value.error_code == "insufficient_withdrawable"
        else:
            assert await withdrawable(account) == EARNED
            assert (await payouts.request(Wish(owner, "late", EARNED))).gross == EARNED


def test_the_default_is_a_day() -> None:
    assert PayoutSettings().maturity_h == 24
