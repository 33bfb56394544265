"""Who may do what, over real sockets against a whole coordinator: keys, scopes, revocation, other people's data."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.control import Network, network, secret_of

SCOPES = {
    "/v1/keys": "user",
    "/v1/balance": "user",
    "/v1/generations": "user",
    "/v1/generations/2": "user",
    "/v1/usage": "user",
    "/v1/usage/summary": "user",
    "/v1/statement": "user",
    "/v1/ledger/proof": "user",
    "/v1/admin/providers": "operator",
    "/v1/admin/accounts/70000": "operator",
    "/v1/admin/models/m/price": "operator",
}


async def test_a_key_made_by_its_owner_opens_and_once_revoked_opens_nothing(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        made = (await ann.http.post("/v1/keys", json={"name": "laptop"})).json()
        assert made["key"].startswith(f"hk_user_{made['id']}_")
        second = net.client(made["key"])
        assert (await second.get("/v1/balance")).status_code == 200
        assert (await ann.http.delete(f"/v1/keys/{made['id']}")).json() == {"id": made["id"], "revoked": True}
        answer = await second.get("/v1/balance")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        states = {key["id"]: key["revoked_ms"] for key in (await ann.http.get("/v1/keys")).json()["data"]}
        assert states[made["id"]]
        assert states[ann.key_id] is None


async def test_a_key_is_shown_once(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        secret = secret_of(ann.key)
        for client, path in ((ann.http, "/v1/keys"), (net.operator, f"/v1/admin/accounts/{ann.id}/keys")):
            assert secret not in (await client.get(path)).text


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer hk_user_1_" + "a" * 43])
async def test_no_key_and_a_wrong_key_get_the_same_401(tmp_path: Path, header: str) -> None:
    async with network(tmp_path) as net:
        for path in SCOPES:
            answer = await net.public.get(path, headers={"authorization": header} if header else {})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key"), path


async def test_every_route_takes_its_own_scope_only(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        clients = {
            "user": (await net.account("ann")).http,
            "provider": (await net.account("bob", scope="provider")).http,
            "operator": net.operator,
        }
        for path, scope in SCOPES.items():
            for name, client in clients.items():
                if name == scope:
                    continue
                answer = await client.get(path)
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_scope"), (path, name)


async def test_inference_without_a_key_is_refused_before_the_body_is_read(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        answer = await net.public.post("/v1/chat/completions", content=b"x" * 2**26)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_user_makes_keys_for_users_and_providers_and_none_for_operators(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        made = await ann.http.post("/v1/keys", json={"scope": "provider"})
        assert (made.status_code, made.json()["scope"]) == (201, "provider")
        answer = await ann.http.post("/v1/keys", json={"scope": "operator"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "operator_key")


async def test_nobody_revokes_or_lists_keys_of_another_account(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, bob = await net.account("ann"), await net.account("bob")
        answer = await bob.http.delete(f"/v1/keys/{ann.key_id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "key_not_found")
        assert (await ann.http.get("/v1/balance")).status_code == 200
        assert ann.key_id not in (await bob.http.get("/v1/keys")).text
        other = f"/v1/admin/accounts/{bob.id}/keys/{ann.key_id}"
        assert (await net.operator.delete(other)).status_code == 404


async def test_money_of_one_account_is_invisible_to_another(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, bob = await net.account("ann", credit_usd="2.50"), await net.account("bob")
        assert (await ann.http.get("/v1/balance")).json()["spendable_micro_usd"] == 2_500_000
        assert (await bob.http.get("/v1/balance")).json()["spendable_micro_usd"] == 0


async def test_a_barred_account_is_refused_until_it_is_reopened(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        assert (await net.operator.post(f"/v1/admin/accounts/{ann.id}/bar")).json()["barred"] is True
        answer = await ann.http.get("/v1/balance")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "account_closed")
        await net.operator.post(f"/v1/admin/accounts/{ann.id}/reopen")
        assert (await ann.http.get("/v1/balance")).status_code == 200


async def test_a_key_that_calls_too_fast_gets_429_with_retry_after(tmp_path: Path) -> None:
    async with network(tmp_path, access__requests_per_s=0.5, access__burst=20) as net:
        ann = await net.account("ann")
        answers = [await ann.http.get("/v1/balance") for _ in range(22)]
        assert {answer.status_code for answer in answers[:20]} == {200}
        assert answers[-1].status_code == 429
        assert answers[-1].json()["error"]["code"] == "rate_limited"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 4


@pytest.mark.parametrize("key_id", ["-", "A", "zzzzzzzzzzzzz", "0", "%00", "a/b", "../x"])
async def test_a_strange_key_id_is_not_found(tmp_path: Path, key_id: str) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        assert (await ann.http.delete(f"/v1/keys/{key_id}")).status_code == 404


async def _generation(net: Network, path: str) -> tuple[int, str]:
    answer = await (await net.account("ann")).http.get(path)
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("request_id", ["x", "-2", "9" * 19, "1" * 30, "%20", "２"])
async def test_a_strange_request_id_is_not_found(tmp_path: Path, request_id: str) -> None:
    async with network(tmp_path) as net:
        assert await _generation(net, f"/v1/generations/{request_id}") == (404, "request_not_found")


async def test_a_request_that_never_was_is_not_settled_yet_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hushnet.coordinator.api.account.SETTLED_S_MAX", 0.05)
    async with network(tmp_path) as net:
        assert await _generation(net, "/v1/generations/1234567890") == (404, "not_settled_yet")
