"""A provider's own page over real sockets: what was seen of it, in figures and words, for its owner alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.fleet.reputation.outcomes import Outcome
from hushnet.foundation.ids import ProviderId
from support.control import MODEL, Account, Network, network
from support.network import hush

PATH = "/v1/provider/record"
COMPONENTS = ["success", "latency", "availability", "challenges"]


async def ask(net: Network, consumer: Account, times: int = 1) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    for _ in range(times):
        assert (await consumer.http.post("/v1/chat/completions", json=body)).status_code == 200
    await net.coordinator.serving.service.idle()


async def noted(account: Account, count: int = 1) -> list[dict[str, Any]]:
    """Ask until so many providers of the account have been written down."""
    for _ in range(4000):
        found: list[dict[str, Any]] = (await account.http.get(PATH)).json()["data"]
        if len(found) >= count:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("the provider was never written down")


async def test_a_provider_reads_its_record_with_its_token_and_its_owner_with_a_key(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner, consumer = await net.account("owner", scope="provider"), await net.account("consumer", credit_usd="1")
        key = await net.operator.post(f"/v1/admin/accounts/{owner.id}/keys", json={"scope": "user", "name": "own"})
        async with net.provider(tmp_path / "p", owner.key) as provider_id:
            await net.until(f"/v1/models/{MODEL}")
            await ask(net, consumer, 3)
            (record,) = await noted(owner)
            again = (await net.client(key.json()["key"]).get(PATH)).json()["data"]

        assert [each["provider_id"] for each in again] == [provider_id]
        assert record["provider_id"] == provider_id
        assert record["is_connected"] is True
        assert record["is_new"] is True
        assert 0.9 < record["score"] <= 1.0
        assert record["record_ms"] == pytest.approx((1 - record["score"]) * 10_000, abs=1)
        assert [part["name"] for part in record["components"]] == COMPONENTS
        success = record["components"][0]
        assert (round(success["for"]), success["against"]) == (3, 0.0)
        assert success["words"].startswith("3.0 of 3.0 answers came whole")
        (model,) = record["models"]
        assert model["model"] == MODEL
        assert model["uptime"] == {
            "served": 3,
            "failed": 0,
            "share": 1.0,
            "class": "unrated",
            "words": "3 requests in 24 hours; below 100 no class is given",
        }
        assert model["speed"]["words"] == "too few answers seen to judge by: the report is believed"


async def test_nobody_reads_the_record_of_anothers_provider(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner, stranger = await net.account("owner", scope="provider"), await net.account("stranger")
        async with net.provider(tmp_path / "p", owner.key):
            await noted(owner)
            assert (await stranger.http.get(PATH)).json() == {"object": "list", "data": []}
        for client, status, code in ((net.public, 401, "invalid_api_key"), (net.operator, 403, "wrong_scope")):
            answer = await client.get(PATH)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        await net.operator.post(f"/v1/admin/accounts/{stranger.id}/close")
        answer = await stranger.http.get(PATH)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "account_closed")


async def test_operators_see_the_score_of_every_provider(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner = await net.account("owner", scope="provider")
        async with net.provider(tmp_path / "p", owner.key) as provider_id:
            await noted(owner)
            record = net.coordinator.serving.fleet.records.known(ProviderId(provider_id))
            for _ in range(30):
                record.note(MODEL, Outcome.SERVER_ERROR, net.coordinator.serving.clock.monotonic_s())
            (shown,) = (await net.operator.get("/v1/admin/providers")).json()["data"]
        assert set(shown["record"]) == {"score", "record_ms", *COMPONENTS}
        assert shown["record"]["success"] < 0.5
        assert shown["record"]["record_ms"] > 5_000


async def test_a_record_survives_the_restart_of_the_coordinator(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner, consumer = await net.account("owner", scope="provider"), await net.account("consumer", credit_usd="1")
        async with net.provider(tmp_path / "p", owner.key):
            await net.until(f"/v1/models/{MODEL}")
            await ask(net, consumer, 2)
            (before,) = await noted(owner)
    async with network(tmp_path, is_fresh=False) as net:
        (after,) = (await net.client(owner.key).get(PATH)).json()["data"]
        assert after["is_connected"] is False
        assert after["models"][0]["uptime"] == before["models"][0]["uptime"]
        assert after["components"][0]["for"] == pytest.approx(2.0, abs=0.01)
        assert after["score"] == pytest.approx(before["score"], abs=0.001)


async def test_the_command_prints_a_table_and_json(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        owner, consumer = await net.account("owner", scope="provider"), await net.account("consumer", credit_usd="1")
        async with net.provider(tmp_path / "p", owner.key) as provider_id:
            await net.until(f"/v1/models/{MODEL}")
            await ask(net, consumer, 2)
            await noted(owner)
            command = ("provider", "record", "--coordinator", net.coordinator.base_url)
            token = {"HUSH_PROVIDER_TOKEN": owner.key}
            shown = await asyncio.to_thread(hush, tmp_path, *command, env=token)
            as_json = await asyncio.to_thread(hush, tmp_path, *command, "--json", env=token)
            with_key = await asyncio.to_thread(hush, tmp_path, *command, "--api-key", consumer.key, env=token)
        without = await asyncio.to_thread(hush, tmp_path, *command)
        over_link = await asyncio.to_thread(
            hush, tmp_path, *command[:2], "--coordinator", net.coordinator.link_url, env=token
        )

    assert shown.returncode == 0, shown.stderr
    assert provider_id[:16] in shown.stdout
    assert all(word in shown.stdout for word in (*COMPONENTS, MODEL, "100.0% of 2", "unrated", "score"))
    assert owner.key not in shown.stdout + shown.stderr
    (record,) = json.loads(as_json.stdout)
    assert record["provider_id"] == provider_id
    assert with_key.stdout == ""
    assert "no provider of this account has registered yet" in with_key.stderr
    assert (without.returncode, "no API key is set" in without.stderr) == (2, True)
    assert over_link.returncode != 0
    assert "http" in over_link.stderr
