"""Prices as everybody reads them and as owners set them, over real sockets with a real provider."""

from __future__ import annotations

from pathlib import Path

import httpx

from support.control import MODEL, Account, network

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 32}
TERMS = {
    "serving__platform_fee_bps": 500,
    "pricing__referral_bps": 2_000,
    "pricing__tier_price_bps": "measured=11000, hardware=12500",
    "pricing__tier_share_bps": "hardware=9000",
}


async def test_everybody_can_read_what_requests_cost(tmp_path: Path) -> None:
    async with network(tmp_path, **TERMS) as net:
        dear = {"input": 900, "cached": 90, "output": 4_000, "minimum": 7}
        later = {"input": 1, "cached": 1, "output": 1, "minimum": 0}
        from_ms = net.coordinator.serving.clock.now_ms() + 3_600_000
        await net.operator.put("/v1/admin/models/dear/price", json=dear)
        await net.operator.put("/v1/admin/models/dear/price", json={**later, "from_ms": from_ms})

        answer = await net.public.get("/v1/pricing")

    shown = answer.json()
    (model,) = shown["data"]
    assert (model["model"], model["price"], model["is_default"]) == ("dear", dear, False)
    assert model["announced"] == [{"price": later, "from_ms": from_ms}]
    assert (model["providers"], model["discount_bps_max"]) == (0, 0)
    assert (shown["fee_bps"], shown["referral_bps"]) == (500, 2_000)
    assert shown["default"] == {"input": 100_000, "cached": 50_000, "output": 400_000, "minimum": 1}
    assert [(tier["trust"], tier["price_bps"], tier["share_bps"]) for tier in shown["tiers"]] == [
        ("self_signed", 10_000, 10_000),
        ("measured", 11_000, 10_000),
        ("hardware", 12_500, 9_000),
    ]


async def test_an_owner_sets_a_discount_and_requests_at_its_machine_cost_less(tmp_path: Path) -> None:
    async with network(tmp_path, price__minimum=0, price__input=100_000_000, price__output=100_000_000) as net:
        consumer = await net.account("consumer", credit_usd="5")
        earner = await net.account("earner")
        token = await net.operator.post(f"/v1/admin/accounts/{earner.id}/keys", json={"scope": "provider", "name": "m"})
        async with net.provider(tmp_path / "p", token.json()["key"]):
            await net.until(f"/v1/models/{MODEL}")
            before = await cost_of(consumer)
            put = await earner.http.put("/v1/provider/discounts", json={"bps": 5_000})
            after = await cost_of(consumer)
            shown = (await net.public.get("/v1/pricing")).json()["data"]

        assert put.json()["model"] == "*"
        assert after * 2 == before
        assert [(row["model"], row["providers"], row["discount_bps_max"]) for row in shown] == [(MODEL, 1, 5_000)]
        mine = (await earner.http.get("/v1/provider/discounts")).json()["data"]
        assert [(row["model"], row["bps"], row["is_in_force"]) for row in mine] == [("*", 5_000, True)]
        assert (await consumer.http.get("/v1/provider/discounts")).json()["data"] == []


async def test_a_discount_needs_a_key_of_the_account_and_sound_numbers(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        user = await net.account("one")
        machine = await net.account("two", scope="provider")
        assert (await net.public.put("/v1/provider/discounts", json={"bps": 1})).status_code == 401
        assert (await machine.http.put("/v1/provider/discounts", json={"bps": 1})).status_code == 403
        for bad in ({}, {"bps": -1}, {"bps": 10_001}, {"bps": 1.5}, {"bps": 1, "owner": 5}, {"bps": 1, "model": "a b"}):
            assert (await user.http.put("/v1/provider/discounts", json=bad)).status_code == 400, bad
        assert (await user.http.get("/v1/provider/discounts")).json()["data"] == []


async def cost_of(consumer: Account) -> int:
    answer: httpx.Response = await consumer.http.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200, answer.text
    request_id = answer.headers["hushnet-request-id"]
    cost: int = (await consumer.http.get(f"/v1/generations/{request_id}")).json()["cost_micro_usd"]
    return cost
