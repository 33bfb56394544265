"""Coins over the HTTP interface of a running coordinator: owners, webhooks, settings, and the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from hushnet.cli.main import build as build_cli
from hushnet.cli.money.coins import commands as coins_command
from hushnet.coordinator.app.coins import gateways_of
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.coins.assets import pair_named
from hushnet.coordinator.payments.payouts.model import Payout, PayoutMethod, PayoutState
from hushnet.coordinator.settings import BtcPaySettings, CoinPaySettings, CoinSettings
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.redaction import Secret
from support.coin_gateways.addresses import address_of
from support.coin_gateways.coinpay import KEY, SECRET, Delivery, FakeCoinPay
from support.control import Network, network
from support.payouts import payout_row

WEBHOOK = "/v1/webhooks/coinpay"


@asynccontextmanager
async def coin_network(home: Path) -> AsyncIterator[tuple[Network, FakeCoinPay]]:
    fake = FakeCoinPay(SystemClock().now_ms)
    await fake.start()
    settings = {
        "coins__coinpay__url": fake.url + "/api",
        "coins__coinpay__key": KEY,
        "coins__coinpay__webhook_secret": SECRET,
        "coins__coinpay__pairs": "ETH.ethereum, XRP.ripple, USDC.base=usdc_base",
    }
    try:
        async with network(home, **settings) as net:
            yield net, fake
    finally:
        await fake.stop()


async def send(net: Network, delivery: Delivery) -> httpx.Response:
    return await net.public.post(WEBHOOK, content=delivery.body, headers=delivery.headers)


async def until_state(client: httpx.AsyncClient, invoice_id: str, state: str) -> dict[str, Any]:
    for _ in range(6000):
        shown: dict[str, Any] = (await client.get(f"/v1/deposits/coin/{invoice_id}")).json()
        if shown["state"] == state:
            return shown
        await asyncio.sleep(0.02)
    raise AssertionError(f"the invoice never became {state}: {shown}")


async def test_coins_come_in_over_http(tmp_path: Path) -> None:
    async with coin_network(tmp_path) as (net, fake):
        listed = (await net.public.get("/v1/coins")).json()["data"]
        assert [row["asset"] for row in listed] == ["ETH", "XRP", "USDC"]
        mine, other = await net.account("mine"), await net.account("other")
        wish = {"amount_usd": "20", "asset": "eth"}
        asked = await mine.http.post("/v1/deposits/coin", json=wish)
        assert asked.status_code == 201
        invoice = asked.json()
        assert (invoice["amount"], invoice["state"], invoice["amount_micro_usd"]) == ("0.008", "pending", 20_000_000)
        assert invoice["uri"] == f"ethereum:{invoice['address']}@1?value=8000000000000000"
        assert (await mine.http.post("/v1/deposits/coin", json=wish)).json()["id"] == invoice["id"]

        delivery = fake.signed(fake.event("pay_1", "confirmed", received_amount="0.008"))
        assert (await send(net, delivery)).json() == {"received": True, "new": True}
        assert (await send(net, delivery)).json() == {"received": True, "new": False}
        paid = await until_state(mine.http, invoice["id"], "paid")
        assert (paid["credited_micro_usd"], paid["missing"]) == (20_000_000, "0")
        assert (await mine.http.get("/v1/balance")).json()["paid_micro_usd"] == 20_000_000

        assert (await other.http.get(f"/v1/deposits/coin/{invoice['id']}")).status_code == 404
        assert (await other.http.get("/v1/deposits/coin")).json()["data"] == []
        assert (await net.public.get(f"/v1/deposits/coin/{invoice['id']}")).status_code == 401


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"amount_usd": "20", "asset": "BTC"}, "unsupported_coin"),
        ({"amount_usd": "20", "asset": "USDC"}, "unsupported_coin"),
        ({"amount_usd": "20", "asset": "USDC", "network": "polygon"}, "unsupported_coin"),
        ({"amount_usd": "0.99", "asset": "ETH"}, "amount_out_of_bounds"),
        ({"amount_usd": "NaN", "asset": "ETH"}, "amount_out_of_bounds"),
        ({"amount_usd": "-20", "asset": "ETH"}, "amount_out_of_bounds"),
        ({"amount_usd": "20.001", "asset": "ETH"}, "amount_out_of_bounds"),
        ({"amount_usd": "1e2", "asset": "ETH"}, "amount_out_of_bounds"),
        ({"amount_usd": 20, "asset": "ETH"}, "wrong_type"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(wish: dict[str, object], code: str, tmp_path: Path) -> None:
    async with coin_network(tmp_path) as (net, fake):
        mine = await net.account("mine")
        answer = await mine.http.post("/v1/deposits/coin", json=wish)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
        assert fake.asked == []


async def test_a_forged_webhook_is_refused_and_not_kept(tmp_path: Path) -> None:
    async with coin_network(tmp_path) as (net, fake):
        mine = await net.account("mine")
        await mine.http.post("/v1/deposits/coin", json={"amount_usd": "20", "asset": "ETH"})
        body = fake.event("pay_1", "confirmed", received_amount="0.008")
        for delivery in (fake.signed(body, secret="x"), fake.signed(body, at_ms=0), Delivery(body, {})):
            answer = await send(net, delivery)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_signature")
        broken = await send(net, fake.signed(b"[]"))
        assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
        assert (await send(net, fake.signed(b" " * 300_000))).status_code == 413
        assert (await net.operator.get("/v1/admin/payments/open")).json()["events"] == []


async def test_without_a_gateway_coins_are_off(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        assert (await net.public.get("/v1/coins")).json() == {"object": "list", "data": []}
        mine = await net.account("mine")
        refused = await mine.http.post("/v1/deposits/coin", json={"amount_usd": "20", "asset": "BTC"})
        assert refused.json()["error"]["code"] == "unsupported_coin"
        for name in ("coinpay", "btcpay"):
            assert (await net.public.post(f"/v1/webhooks/{name}", content=b"{}")).status_code == 404


@pytest.mark.parametrize(
    "settings",
    [
        CoinSettings(coinpay=CoinPaySettings(pairs="BTC.bitcoin", webhook_secret=Secret("s"))),
        CoinSettings(coinpay=CoinPaySettings(pairs="BTC.bitcoin", key=Secret("k"))),
        CoinSettings(coinpay=CoinPaySettings(pairs="LTC.litecoin", key=Secret("k"), webhook_secret=Secret("s"))),
        CoinSettings(btcpay=BtcPaySettings(pairs="BTC.bitcoin", key=Secret("k"), webhook_secret=Secret("s"))),
        CoinSettings(
            btcpay=BtcPaySettings(
                url="http://btcpay.example", store="s", pairs="BTC.bitcoin", key=Secret("k"), webhook_secret=Secret("s")
            )
        ),
        CoinSettings(
            btcpay=BtcPaySettings(
                url="https://x", store="s", pairs="ETH.ethereum", key=Secret("k"), webhook_secret=Secret("s")
            )
        ),
    ],
)
def test_a_gateway_that_lacks_something_stops_the_start(settings: CoinSettings) -> None:
    with pytest.raises(ConfigurationError):
        gateways_of(settings)


async def test_the_command_line_prints_what_to_send_and_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coins_command, "POLL_S", 0.01)
    async with coin_network(tmp_path) as (net, fake):
        mine = await net.account("mine")
        common = ["--base-url", net.coordinator.base_url, "--api-key", mine.key, "--home", str(tmp_path)]

        async def hush(*arguments: str) -> tuple[int, str]:
            run = CliRunner().invoke
            result = await asyncio.to_thread(run, build_cli(arguments), [*arguments, *common])
            return result.exit_code, result.output

        assert "XRP" in (await hush("coins"))[1]
        waiting = asyncio.create_task(hush("deposit", "coin", "20", "--asset", "XRP"))
        while not fake.payments:  # noqa: ASYNC110 - the fake serves sockets and tells nobody
            await asyncio.sleep(0.02)
        await send(net, fake.signed(fake.event("pay_1", "confirmed", received_amount="8")))
        code, text = await waiting
        assert code == 0
        assert "send exactly 8 XRP on ripple to" in text
        assert "destination tag 1" in text
        assert "ripple:r9cZA1mLK5R5Am25ArfXFmqgNwjZgnfk59?amount=8&dt=1" in text
        assert "$20.00 of $20.00 credited" in text
        assert "paid" in (await hush("coins", "invoices"))[1]


async def test_the_operator_settles_by_hand_on_the_command_line(tmp_path: Path) -> None:
    async with network(tmp_path, coins__manual_pairs="USDC.base", coins__rates="USDC.base=1") as net:
        payout = await _requested(net)
        common = ["--base-url", net.coordinator.base_url, "--api-key", net.operator_key, "--home", str(tmp_path)]

        async def hush(*arguments: str) -> tuple[int, str]:
            run = CliRunner().invoke
            result = await asyncio.to_thread(run, build_cli(arguments), [*arguments, *common])
            return result.exit_code, result.output

        for words in (("ledger", "settle"), ("payout", "batch")):
            code, text = await hush(*words, "--dry-run")
            assert (code, "25 USDC on base" in text, "would be sent" in text) == (0, True, True)
        assert (await net.operator.get("/v1/admin/coins/batch")).json()["payouts"] == []
        file = tmp_path / "batch.json"
        code, text = await hush("ledger", "settle", "--export", str(file))
        assert (code, "1 payouts of $25.00 are sent" in text) == (0, True)
        assert file.stat().st_mode & 0o777 == 0o600
        assert [row["payout"] for row in json.loads(file.read_text())["payouts"]] == [payout]
        store = net.coordinator.money.store
        for _ in range(6000):
            (row,) = await store.read(lambda view: view.rows(Payout).find(id=int(payout)))
            if row.state is PayoutState.IN_TRANSIT:
                break
            await asyncio.sleep(0.02)
        assert row.state is PayoutState.IN_TRANSIT
        again = tmp_path / "again.json"
        code, text = await hush("ledger", "settle", "--export", str(again))
        assert (code, "no payout is due" in text) == (0, True)
        assert [row["payout"] for row in json.loads(again.read_text())["payouts"]] == [payout]
        mine = await net.account("mine")
        for method, path in (("GET", "batch"), ("POST", "batch"), ("GET", "strays"), ("POST", "sales")):
            assert (await mine.http.request(method, f"/v1/admin/coins/{path}")).status_code == 403


async def _requested(net: Network) -> str:
    """Put a coin payout there that was asked for two days ago."""
    owner = (await net.account("earner")).id
    store = net.coordinator.money.store
    then_ms = SystemClock().now_ms() - 48 * 3_600_000

    def work(tx: Transaction) -> str:
        payout_id = tx.next_id()
        to = address_of(pair_named("USDC.base"), 7)
        tx.rows(PayoutMethod).add(
            PayoutMethod(owner, owner, "coin", "USDC", "base", to.address, None, True, 0, None, then_ms)
        )
        plain = payout_row("coin", instant=False, id=payout_id, owner=owner, method=owner, client="c", wish="w")
        tx.rows(Payout).add(replace(plain, units=None, rate=None, created_ms=then_ms, updated_ms=then_ms))
        source, earned = operator_account(Kind.REWARD_EXPENSE), user_account(owner, Kind.EARNINGS)
        legs = (Leg(source, earned, plain.gross), Leg(earned, user_account(owner, Kind.IN_TRANSIT), plain.gross))
        tx.post(Fact(f"payout:{payout_id}:requested", Code.PAYOUT, legs, actor="test", owner=owner))
        return str(payout_id)

    return await store.transact(work)


async def test_what_only_the_operator_knows_is_posted_once(tmp_path: Path) -> None:
    async with coin_network(tmp_path) as (net, fake):
        mine = await net.account("mine")
        invoice = (await mine.http.post("/v1/deposits/coin", json={"amount_usd": "20", "asset": "ETH"})).json()
        path = f"/v1/admin/coins/invoices/{invoice['id']}"
        assert (await net.operator.post(f"{path}/fee", json={"amount": "0.00008"})).status_code == 400
        assert (await net.operator.post(f"{path}/reverse")).status_code == 409
        await send(net, fake.signed(fake.event("pay_1", "confirmed", received_amount="0.008")))
        await until_state(mine.http, invoice["id"], "paid")

        fees = [
            await net.operator.post(f"{path}/fee", json={"amount": text}) for text in ("0.00008", "0.00008", "0.001")
        ]
        assert [answer.status_code for answer in fees] == [201, 200, 409]
        sale = {"sale_id": "s1", "asset": "ETH", "amount": "0.001", "amount_usd": "2.50"}
        sales = [
            await net.operator.post("/v1/admin/coins/sales", json=sale | more) for more in ({}, {}, {"amount": "1"})
        ]
        assert [answer.status_code for answer in sales] == [201, 200, 409]
        for more in ({"sale_id": ""}, {"amount": "0"}, {"amount_usd": "0"}, {"amount": "-1"}, {"amount_usd": "NaN"}):
            assert (await net.operator.post("/v1/admin/coins/sales", json=sale | more)).status_code == 400
        assert (await net.operator.get("/v1/admin/coins/strays")).json()["data"] == []

        for _ in range(2):
            gone = await net.operator.post(f"{path}/reverse")
            assert (gone.status_code, gone.json()["state"]) == (200, "reversed")
        assert (await mine.http.get("/v1/balance")).json()["paid_micro_usd"] == 0
        assert (await net.operator.post("/v1/admin/coins/invoices/1/reverse")).status_code == 404
        assert (await mine.http.post(f"{path}/reverse")).status_code == 403
