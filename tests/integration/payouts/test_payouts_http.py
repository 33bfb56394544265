"""A payout over Stripe as its owner meets it: a whole coordinator, signed webhooks, Stripe's own page for the bank account."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.settings import load_settings
from hushnet.foundation.errors import ConfigurationError
from support.command import printed
from support.control import Account, Network, network
from support.stripe_fake import FakeStripe, running_stripe

USD = 1_000_000
SECRET, CONNECT_SECRET = "whsec_account", "whsec_connect"


@dataclass
class Bank:
    """A coordinator that pays out over Stripe, the Stripe behind it, and somebody with earnings."""

    net: Network
    stripe: FakeStripe
    ann: Account

    async def deliver(self) -> list[int]:
        return [one.status for one in await asyncio.to_thread(self.stripe.deliver)]

    async def until(self, get: Callable[[], Awaitable[Any]], is_so: Callable[[Any], bool]) -> Any:
        """Ask until it is so."""
        found = await get()
        for _ in range(6000):
            if is_so(found):
                return found
            await asyncio.sleep(0.01)
            found = await get()
        raise AssertionError(f"never so, last {found}")

    async def get(self, path: str) -> Any:
        return (await self.ann.http.get(path)).json()

    async def onboard(self) -> dict[str, Any]:
        """Answer what Stripe asks, and wait for the method."""
        begun = (await self.ann.http.post("/v1/payouts/onboarding")).json()
        assert begun["state"] == "pending"
        assert begun["url"].startswith("https://connect.stripe.test/")
        self.stripe.onboard(next(iter(self.stripe.world.objects["accounts"])))
        assert set(await self.deliver()) == {200}
        methods = await self.until(lambda: self.get("/v1/payouts/methods"), lambda found: bool(found["data"]))
        return dict(methods["data"][0])

    async def sent(self, **wish: Any) -> dict[str, Any]:
        """A payout that is at Stripe."""
        answer = await self.ann.http.post("/v1/payouts", json=wish)
        assert answer.status_code == 201, answer.text
        return await self.reached(answer.json()["id"], "in_transit")

    async def reached(self, id_: str, state: str) -> dict[str, Any]:
        return dict(await self.until(lambda: self.get(f"/v1/payouts/{id_}"), lambda found: found["state"] == state))

    async def end(self, status: str) -> None:
        """The bank's word, and Stripe's telling of it."""
        self.stripe.end_payout(next(iter(self.stripe.world.objects["payouts"])), status)
        assert set(await self.deliver()) == {200}


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
async def bank(served: FakeStripe, tmp_path: Path) -> AsyncIterator[Bank]:
    served.reset()
    served.fund(100_000)
    rail = {"stripe__secret_key": served.api_key, "stripe__api_base": served.base_url}
    secrets = {"stripe__webhook_secrets": SECRET, "stripe__connect_webhook_secrets": CONNECT_SECRET}
    terms = {"payouts__stripe": True, "payouts__cool_down_h": 0, "payouts__cancel_s": 0}
    async with network(tmp_path, **rail, **secrets, **terms) as net:
        served.endpoints.clear()
        served.listen(f"{net.coordinator.base_url}/v1/webhooks/stripe", SECRET)
        served.listen(f"{net.coordinator.base_url}/v1/webhooks/stripe-connect", CONNECT_SECRET, is_connect=True)
        ann = await net.account("ann")
        paid, earnings = (user_account(ann.id, kind) for kind in (Kind.PAID, Kind.EARNINGS))
        legs = (Leg(operator_account(Kind.STRIPE), paid, 40 * USD), Leg(paid, earnings, 40 * USD))
        fact = Fact("test:ann", Code.ADJUSTMENT, legs, actor="test", owner=ann.id)
        await net.coordinator.money.store.transact(lambda tx: tx.post(fact))
        yield Bank(net, served, ann)


async def test_earnings_reach_a_bank_account(bank: Bank) -> None:
    method = await bank.onboard()
    assert method["rail"] == "stripe"
    payout = await bank.sent(amount_usd="25", instant=True)
    assert (payout["fee_micro_usd"], payout["method"]) == (500_000, method["id"])
    assert bank.stripe.world.balances[""] == 100_000 - 2450
    await bank.end("paid")
    await bank.reached(payout["id"], "paid")
    assert (await bank.get("/v1/balance"))["earnings_micro_usd"] == 15 * USD
    assert (await bank.net.operator.get("/v1/admin/findings")).json()["data"] == []


async def test_a_bank_that_refuses_gives_the_money_back(bank: Bank) -> None:
    await bank.onboard()
    payout = await bank.sent(amount_usd="all")
    await bank.end("failed")
    back = await bank.reached(payout["id"], "returned")
    assert back["reason"] == "failed:account_closed"
    assert (await bank.get("/v1/balance"))["withdrawable_micro_usd"] == 40 * USD
    assert bank.stripe.world.balances[""] == 100_000


async def test_a_forged_word_of_the_bank_is_refused(bank: Bank) -> None:
    await bank.onboard()
    payout = await bank.sent(amount_usd="25")
    bank.stripe.endpoints[1].secret = SECRET  # the other endpoint's secret is not Connect's
    bank.stripe.end_payout(next(iter(bank.stripe.world.objects["payouts"])), "paid")
    assert 400 in await bank.deliver()
    assert (await bank.get(f"/v1/payouts/{payout['id']}"))["state"] == "in_transit"
    bank.stripe.endpoints[1].secret = CONNECT_SECRET
    assert set(await bank.deliver()) == {200}
    await bank.reached(payout["id"], "paid")


async def test_the_command_line_begins_with_stripe(bank: Bank, tmp_path: Path) -> None:
    access = (tmp_path, bank.net.coordinator.base_url, bank.ann.key)
    said = await printed(*access, "payout", "onboard")
    assert said.startswith("https://connect.stripe.test/")
    shown = (await bank.ann.http.get("/v1/payouts/onboarding")).json()
    assert (shown["state"], shown["url"]) == ("pending", None)
    assert json.loads(await printed(*access, "payout", "methods", "list", "--json")) == []


@pytest.mark.parametrize(
    "given", [{}, {"stripe.secret_key": "sk_test_1", "stripe.webhook_secrets": "whsec_1"}], ids=["no key", "no secret"]
)
def test_paying_out_over_stripe_needs_its_key_and_its_webhooks(tmp_path: Path, given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        load_settings(flags={"home": tmp_path, "payouts.stripe": True, **given})
