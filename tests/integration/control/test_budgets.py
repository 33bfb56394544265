"""Budgets and keys of requests over real sockets: who sets them, who sees them, who can't lift them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from hushnet.coordinator.budgets import BudgetBook
from hushnet.foundation.errors import StorageError
from support.control import MODEL, network
from support.network import hush

DAY = {"period": "day", "amount_usd": "5"}


def shown(answer: httpx.Response) -> list[tuple[str, str, str, int]]:
    assert answer.status_code == 200, answer.text
    return [(row["scope"], row["set_by"], row["period"], row["amount_micro_usd"]) for row in answer.json()["data"]]


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def chat(account: httpx.AsyncClient, **headers: str) -> httpx.Response:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
    return await account.post("/v1/chat/completions", json=body, headers=headers)


async def test_an_account_sets_sees_and_removes_its_budgets(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        made = (await ann.http.put("/v1/budgets", json=DAY)).json()
        assert (made["left_micro_usd"], made["spent_micro_usd"], made["held_micro_usd"]) == (5_000_000, 0, 0)
        assert made["resets_ms"] - made["window_start_ms"] == 86_400_000
        await ann.http.put("/v1/budgets", json={"period": "day", "amount_usd": "0.50"})
        one = (await ann.http.put("/v1/budgets", json={"period": "request", "amount_usd": "0.01"})).json()
        assert (one["left_micro_usd"], one["resets_ms"]) == (None, None)

        assert shown(await ann.http.get("/v1/budgets")) == [
            ("account", "account", "day", 500_000),
            ("account", "account", "request", 10_000),
        ]
        assert (await ann.http.delete("/v1/budgets?period=day")).json() == {"period": "day", "removed": True}
        for period in ("day", "year", ""):
            assert code_of(await ann.http.delete(f"/v1/budgets?period={period}")) == (404, "budget_not_found")
        assert [row[2] for row in shown(await ann.http.get("/v1/budgets"))] == ["request"]


async def test_a_key_is_made_with_its_budgets_and_can_not_lift_them(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        wish = {"name": "agent", "budgets": [DAY, {"period": "life", "amount_usd": "100"}]}
        made = (await ann.http.post("/v1/keys", json=wish)).json()
        path = f"/v1/keys/{made['id']}/budgets"
        agent = net.client(made["key"])

        mine = [("key", "account", "life", 100_000_000), ("key", "account", "day", 5_000_000)]
        assert shown(await agent.get("/v1/budgets")) == shown(await agent.get(path)) == mine
        attempts = [
            agent.post("/v1/keys", json={"name": "another"}),
            agent.put("/v1/budgets", json=DAY),
            agent.put(path, json={"period": "day", "amount_usd": "500"}),
            agent.put(f"/v1/keys/{ann.key_id}/budgets", json=DAY),
            agent.delete(f"{path}?period=day"),
            agent.delete("/v1/budgets?period=day"),
            agent.delete(f"/v1/keys/{ann.key_id}"),
            agent.post("/v1/payouts", json={}),
            agent.post("/v1/payouts/methods", json={}),
            agent.post("/v1/deposits", json={}),
        ]
        assert [code_of(answer) for answer in await asyncio.gather(*attempts)] == [(403, "budgeted_key")] * len(
            attempts
        )

        assert (await ann.http.put(path, json={"period": "day", "amount_usd": "7"})).status_code == 200
        for period in ("day", "life"):
            assert (await ann.http.delete(f"{path}?period={period}")).status_code == 200
        assert (await agent.post("/v1/keys", json={"name": "another"})).status_code == 201
        assert shown(await ann.http.get("/v1/budgets")) == []


async def test_every_route_that_changes_anything_is_shut_to_a_key_with_a_budget(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        made = (await ann.http.post("/v1/keys", json={"budgets": [DAY]})).json()
        agent = net.client(made["key"])
        shut = []
        for route in net.coordinator.dispatcher.routes:
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            for method in sorted((route.methods or set()) - {"GET", "HEAD"}):
                answer = await agent.request(method, path)
                shut.append((method, path))
                assert code_of(answer) == (403, "budgeted_key"), (method, path)
        assert len(shut) > 20


async def test_an_account_sees_what_the_operator_bounds_and_can_not_raise_it(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann", credit_usd="1")
        owner = await net.account("owner", scope="provider")
        path = f"/v1/admin/accounts/{ann.id}/budgets"
        assert (await net.operator.put(path, json={"period": "month", "amount_usd": "0"})).status_code == 200
        await ann.http.put("/v1/budgets", json={"period": "month", "amount_usd": "900"})
        both = shown(await ann.http.get("/v1/budgets"))
        assert ("account", "operator", "month", 0) in both
        assert shown(await net.operator.get(path)) == both

        async with net.provider(tmp_path / "p", owner.key):
            await net.until(f"/v1/models/{MODEL}")
            refused = await chat(ann.http)
            assert code_of(refused) == (402, "insufficient_quota")
            assert "the operator's budget for this account of $0.00 a month" in refused.json()["error"]["message"]
            assert (await net.operator.delete(f"{path}?period=month")).status_code == 200
            assert (await chat(ann.http)).status_code == 200


async def test_a_budget_counts_what_was_spent(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, owner = await net.account("ann", credit_usd="1"), await net.account("owner", scope="provider")
        await ann.http.put("/v1/budgets", json=DAY)
        async with net.provider(tmp_path / "p", owner.key):
            await net.until(f"/v1/models/{MODEL}")
            id_ = (await chat(ann.http)).headers["hushnet-request-id"]
            record = (await ann.http.get(f"/v1/generations/{id_}")).json()

        (row,) = (await ann.http.get("/v1/budgets")).json()["data"]
        assert record["cost_micro_usd"] > 0
        assert (row["spent_micro_usd"], row["held_micro_usd"]) == (record["cost_micro_usd"], 0)
        assert row["left_micro_usd"] == 5_000_000 - record["cost_micro_usd"]


async def test_nobody_sees_or_sets_somebody_elses_budgets(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, bob = await net.account("ann"), await net.account("bob")
        provider = await net.account("machine", scope="provider")
        await ann.http.put(f"/v1/keys/{ann.key_id}/budgets", json=DAY)
        path = f"/v1/keys/{ann.key_id}/budgets"
        for answer in (await bob.http.get(path), await bob.http.put(path, json=DAY), await bob.http.delete(path)):
            assert code_of(answer) == (404, "key_not_found")
        assert shown(await bob.http.get("/v1/budgets")) == []
        for client, code in (
            (net.public, "invalid_api_key"),
            (provider.http, "wrong_scope"),
            (net.operator, "wrong_scope"),
        ):
            assert code_of(await client.get("/v1/budgets"))[1] == code
        admin = f"/v1/admin/accounts/{ann.id}/budgets"
        assert code_of(await bob.http.put(admin, json=DAY)) == (403, "wrong_scope")
        for unknown in ("70000", "x", "9" * 19, str(2**63), "9" * 40):
            answer = await net.operator.get(f"/v1/admin/accounts/{unknown}/budgets")
            assert code_of(answer) == (404, "account_not_found")


@pytest.mark.parametrize(
    "wish",
    [
        {"period": "day"},
        {"period": "year", "amount_usd": "1"},
        {"period": "day", "amount_usd": 1},
        {"period": "day", "amount_usd": 1.5},
        {"period": "day", "amount_usd": "-1"},
        {"period": "day", "amount_usd": "1e3"},
        {"period": "day", "amount_usd": "NaN"},
        {"period": "day", "amount_usd": "0.001"},
        {"period": "day", "amount_usd": "99999999"},
        {"period": "day", "amount_usd": "1", "currency": "eur"},
    ],
)
async def test_what_is_no_budget_is_refused_and_makes_no_key(tmp_path: Path, wish: dict[str, Any]) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        assert (await ann.http.put("/v1/budgets", json=wish)).status_code == 400
        assert (await ann.http.post("/v1/keys", json={"budgets": [wish]})).status_code == 400
        assert len((await ann.http.get("/v1/keys")).json()["data"]) == 1


async def test_a_key_has_one_budget_a_period_and_only_keys_that_spend_have_any(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        assert code_of(await ann.http.post("/v1/keys", json={"budgets": [DAY, DAY]})) == (400, "out_of_range")
        machine = {"scope": "provider", "budgets": [DAY]}
        assert code_of(await ann.http.post("/v1/keys", json=machine)) == (400, "unsupported_value")


async def test_a_key_whose_budgets_can_not_be_written_is_revoked_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise StorageError("the database failed")

    async with network(tmp_path) as net:
        ann = await net.account("ann")
        monkeypatch.setattr(BudgetBook, "put", broken)
        answer = await ann.http.post("/v1/keys", json={"name": "agent", "budgets": [DAY]})
        keys = {key["name"]: key["revoked_ms"] for key in (await ann.http.get("/v1/keys")).json()["data"]}

    assert code_of(answer) == (503, "storage")
    assert "hk_user_" not in answer.text
    assert keys["agent"] is not None


async def test_a_request_under_its_own_key_is_done_once(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, owner = await net.account("ann", credit_usd="1"), await net.account("owner", scope="provider")
        async with net.provider(tmp_path / "p", owner.key):
            await net.until(f"/v1/models/{MODEL}")
            first = await chat(ann.http, **{"Idempotency-Key": "order-7"})
            again = await chat(ann.http, **{"Idempotency-Key": "order-7"})

        assert first.status_code == 200, first.text
        assert again.status_code == 409
        assert again.json()["error"]["code"] in ("request_in_progress", "request_already_done")
        assert again.headers["hushnet-request-id"] == first.headers["hushnet-request-id"]
        assert "x-timing" in again.headers
        await net.coordinator.serving.service.idle()
        assert len((await ann.http.get("/v1/generations")).json()["data"]) == 1


async def test_the_command_sets_lists_and_removes(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")

        async def run(*words: str, is_json: bool = False) -> Any:
            options = ("--base-url", net.coordinator.base_url, "--api-key", ann.key, *(["--json"] if is_json else []))
            ended = await asyncio.to_thread(hush, tmp_path, *words, *options)
            assert ended.returncode == 0, ended.stderr
            return json.loads(ended.stdout) if is_json else ended.stdout + ended.stderr

        assert await run("budget", "list") == "no budgets\n"
        assert "account budget: $5.00 per day, $5.00 left" in await run("budget", "set", "5/day")
        key = await run("keys", "create", "agent", "--budget", "2/week", "--budget", "0.10/request", is_json=True)
        table = await run("budget", "list", "--key", key["id"])
        assert [word for word in ("week", "request", "$2.00", "$0.10", "key", "account") if word not in table] == []
        (mine,) = await run("budget", "list", is_json=True)
        assert (mine["period"], mine["amount_micro_usd"]) == ("day", 5_000_000)
        assert "per day is removed" in await run("budget", "remove", "day")
        assert await run("budget", "list", is_json=True) == []


@pytest.mark.parametrize("budget", ["5", "5/year", "/day", "-5/day", "5.001/day"])
async def test_the_command_refuses_what_is_no_budget(tmp_path: Path, budget: str) -> None:
    options = ("--base-url", "http://127.0.0.1:9", "--api-key", "hk_user_1_x")
    ended = await asyncio.to_thread(hush, tmp_path, "budget", "set", *options, "--", budget)
    assert ended.returncode == 1
    assert "12.34" in ended.stderr or "looks like 5/day" in ended.stderr
