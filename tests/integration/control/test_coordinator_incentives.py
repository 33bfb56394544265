"""Invites, referrals and corrections over real sockets: who may ask for them, and what they do to a real request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from support.control import MODEL, Account, Network, network

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 32}
DEAR = {"price__minimum": 0, "price__input": 1_000_000_000, "price__output": 1_000_000_000}
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def invited(net: Network, **members: Any) -> dict[str, Any]:
    answer = await net.operator.post("/v1/admin/invites", json={"amount_usd": "2.50", **members})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made: dict[str, Any] = answer.json()
    return made


async def promo(account: Account) -> int:
    found: int = (await account.http.get("/v1/balance")).json()["promo_micro_usd"]
    return found


async def charged(net: Network, consumer: Account) -> dict[str, Any]:
    """Let a request be served and return it as its consumer sees it."""
    answer = await consumer.http.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = (await consumer.http.get(f"/v1/generations/{answer.headers['hushnet-request-id']}")).json()
    return shown


async def earner(net: Network) -> tuple[Account, str]:
    account = await net.account("earner")
    path = f"/v1/admin/accounts/{account.id}/keys"
    return account, (await net.operator.post(path, json={"scope": "provider", "name": "m"})).json()["key"]


async def test_an_invite_is_made_redeemed_listed_and_revoked(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, bob = await net.account("ann"), await net.account("bob")
        made = await invited(net, uses_max=5, note="launch", credit_days=3)
        body = {"code": made["code"]}
        first, again = [await ann.http.post("/v1/invites/redeem", json=body) for _ in range(2)]
        assert (first.status_code, first.json()["outcome"]) == (201, "posted")
        assert (again.status_code, again.json()["outcome"]) == (200, "already")
        assert first.json()["expires_ms"] is not None
        assert await promo(ann) == 2_500_000
        (listed,) = (await net.operator.get("/v1/admin/invites")).json()["data"]
        assert (listed["uses"], listed["uses_max"], listed["note"]) == (1, 5, "launch")
        assert "code" not in listed
        assert (await net.operator.delete(f"/v1/admin/invites/{made['id']}")).status_code == 200
        assert code_of(await bob.http.post("/v1/invites/redeem", json=body)) == (409, "invite_over")
        assert await promo(bob) == 0


async def test_an_unlinked_key_cannot_redeem(tmp_path: Path) -> None:
    """Only a key for using models, of an account that is open: not a machine's, not an operator's, not a closed account's."""
    async with network(tmp_path) as net:
        body = {"code": (await invited(net, uses_max=9))["code"]}
        machine, closed = await net.account("machine", scope="provider"), await net.account("closed")
        assert (await net.operator.post(f"/v1/admin/accounts/{closed.id}/close")).status_code == 200
        path = "/v1/invites/redeem"
        assert code_of(await net.public.post(path, json=body)) == (401, "invalid_api_key")
        assert code_of(await machine.http.post(path, json=body)) == (403, "wrong_scope")
        assert code_of(await net.operator.post(path, json=body)) == (403, "wrong_scope")
        assert code_of(await closed.http.post(path, json=body)) == (403, "account_closed")
        (listed,) = (await net.operator.get("/v1/admin/invites")).json()["data"]
        assert listed["uses"] == 0


async def test_only_operators_make_invites_and_corrections(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        user = await net.account("user")
        for method, path in (
            ("POST", "/v1/admin/invites"),
            ("GET", "/v1/admin/invites"),
            ("DELETE", "/v1/admin/invites/2"),
            ("PUT", "/v1/admin/generations/2/credits/1"),
            ("GET", "/v1/admin/programmes"),
            ("GET", "/v1/admin/suspense"),
            ("PUT", f"/v1/admin/suspense/{UUID}"),
            ("GET", "/v1/admin/adjustments"),
            ("PUT", f"/v1/admin/adjustments/{UUID}"),
            ("POST", f"/v1/admin/adjustments/{UUID}/approve"),
            ("POST", f"/v1/admin/adjustments/{UUID}/refuse"),
        ):
            assert (await user.http.request(method, path, json={})).status_code == 403, path
            assert (await net.public.request(method, path, json={})).status_code == 401, path


async def test_a_referrer_gets_its_part_of_the_fee_of_what_was_paid_after(tmp_path: Path) -> None:
    terms = {"serving__platform_fee_bps": 1_000, "pricing__referral_bps": 5_000}
    async with network(tmp_path, **DEAR, **terms) as net:
        consumer, friend = await net.account("consumer", credit_usd="50"), await net.account("friend")
        _, token = await earner(net)
        code = (await friend.http.get("/v1/referrals")).json()["code"]
        # The key is remembered without a referrer by now: naming one has to reach it.
        assert (await consumer.http.get("/v1/referrals")).json()["has_referrer"] is False
        named = [await consumer.http.put("/v1/referrals/referrer", json={"code": code}) for _ in range(2)]
        assert [answer.json()["outcome"] for answer in named] == ["named", "already"]
        async with net.provider(tmp_path / "p", token):
            await net.until(f"/v1/models/{MODEL}")
            shown = await charged(net, consumer)
        record = await net.coordinator.ledger.usage_record(int(shown["id"]))
        assert record is not None
        fee = record.cost // 10
        assert (record.usage.referrer, record.to_referrer) == (friend.id, fee // 2)
        assert record.to_provider == record.cost - fee
        assert record.to_referrer > 0
        standing = (await friend.http.get("/v1/referrals")).json()
        assert (standing["referred"], standing["fee_bps"], standing["referral_bps"]) == (1, 1_000, 5_000)


async def test_a_request_is_credited_once_a_number_and_its_provider_returns_its_part(tmp_path: Path) -> None:
    async with network(tmp_path, **DEAR) as net:
        consumer = await net.account("consumer", credit_usd="50")
        provider, token = await earner(net)
        async with net.provider(tmp_path / "p", token):
            await net.until(f"/v1/models/{MODEL}")
            shown = await charged(net, consumer)
        cost, path = shown["cost_micro_usd"], f"/v1/admin/generations/{shown['id']}/credits"
        wish = {"amount_micro_usd": cost, "reason": "garbled", "is_provider_at_fault": True}
        first, again = [await net.operator.put(f"{path}/1", json=wish) for _ in range(2)]
        assert (first.status_code, again.status_code) == (201, 200)
        assert (first.json()["promo_micro_usd"], first.json()["clawback_micro_usd"]) == (cost, cost)
        assert await promo(consumer) == 50_000_000
        assert (await provider.http.get("/v1/balance")).json()["earnings_micro_usd"] == 0
        less = {**wish, "amount_micro_usd": 1}
        assert code_of(await net.operator.put(f"{path}/2", json=less)) == (400, "amount_out_of_bounds")
        assert code_of(await net.operator.put(f"{path}/0", json=less)) == (400, "out_of_range")
        assert code_of(await net.operator.put(f"{path}/1", json=less)) == (409, "conflict")
        gone = "/v1/admin/generations/2/credits/1"
        assert code_of(await net.operator.put(gone, json=less)) == (404, "request_not_found")


async def test_an_adjustment_above_the_limit_needs_two_operators_keys(tmp_path: Path) -> None:
    async with network(tmp_path, incentives__adjustment_limit=1_000) as net:
        ann = await net.account("ann")
        second = await net.second_operator()
        wish = {"account_id": ann.id, "bucket": "paid", "amount_micro_usd": 1_001, "reason": "wire of May 3"}
        asked = await net.operator.put(f"/v1/admin/adjustments/{UUID}", json=wish)
        assert (asked.status_code, asked.json()["state"]) == (202, "pending")
        approve = f"/v1/admin/adjustments/{UUID}/approve"
        assert code_of(await net.operator.post(approve)) == (403, "second_approver")
        (waiting,) = (await second.get("/v1/admin/adjustments")).json()["data"]
        assert waiting["id"] == UUID
        made = await second.post(approve)
        assert (made.status_code, made.json()["state"]) == (200, "posted")
        assert made.json()["approver"] != made.json()["actor"]
        assert (await ann.http.get("/v1/balance")).json()["paid_micro_usd"] == 1_001
        assert (await net.operator.get("/v1/admin/adjustments?all=true")).json()["data"] == [made.json()]
        assert (await second.get("/v1/admin/adjustments")).json()["data"] == []


async def test_one_operators_key_alone_gives_no_more_than_its_limits(tmp_path: Path) -> None:
    limits = {"incentives__adjustment_limit": 1_000_000, "incentives__adjustment_day_limit": 1_500_000}
    async with network(tmp_path, **limits) as net:
        ann = await net.account("ann")
        grants = f"/v1/admin/accounts/{ann.id}/grants"
        above = await net.operator.post(grants, json={"amount_usd": "1.01", "grant_id": "g"})
        assert code_of(above) == (403, "second_approver")
        assert "hush correct balance" in above.json()["error"]["hint"]
        invite = {"amount_usd": "1.01"}
        assert code_of(await net.operator.post("/v1/admin/invites", json=invite)) == (403, "second_approver")
        assert (await net.operator.post(grants, json={"amount_usd": "1", "grant_id": "g"})).status_code == 201
        again = {"amount_usd": "0.51", "grant_id": "h"}
        assert code_of(await net.operator.post(grants, json=again)) == (403, "second_approver")
        wish = {"account_id": ann.id, "bucket": "earnings", "amount_micro_usd": 510_000, "reason": "a mistake"}
        asked = await net.operator.put(f"/v1/admin/adjustments/{UUID}", json=wish)
        assert (asked.status_code, asked.json()["state"]) == (202, "pending")
        balance = (await ann.http.get("/v1/balance")).json()
        assert (balance["promo_micro_usd"], balance["earnings_micro_usd"]) == (1_000_000, 0)
        one_key, rewards = (await net.operator.get("/v1/admin/programmes")).json()["data"]
        assert (one_key["name"], one_key["period"], one_key["left_micro_usd"]) == ("one_key", "day", 500_000)
        assert (rewards["name"], rewards["period"], rewards["amount_micro_usd"]) == ("base_rewards", "month", 0)


async def test_money_in_suspense_goes_to_its_owner_by_two_keys_above_the_limit(tmp_path: Path) -> None:
    async with network(tmp_path, incentives__adjustment_limit=1_000) as net:
        ann, second = await net.account("ann"), await net.second_operator()
        leg = Leg(operator_account(Kind.STRIPE), operator_account(Kind.SUSPENSE), 5_000)
        await net.coordinator.ledger.fact(Fact("stripe:pi:1", Code.SUSPENSE, (leg,), actor="stripe"))
        path = f"/v1/admin/suspense/{UUID}"
        wish = {"account_id": ann.id, "amount_micro_usd": 2_000, "reason": "wire of May 3"}
        assert code_of(await net.operator.put(path, json={**wish, "amount_micro_usd": -1})) == (
            400,
            "amount_out_of_bounds",
        )
        assert code_of(await net.operator.put(path, json={**wish, "account_id": 5})) == (404, "account_not_found")
        assert code_of(await net.operator.put(path, json={**wish, "account_id": 2**63})) == (400, "wrong_type")
        asked = await net.operator.put(path, json=wish)
        assert (asked.status_code, asked.json()["source"], asked.json()["state"]) == (202, "suspense", "pending")
        approve = f"/v1/admin/adjustments/{UUID}/approve"
        assert code_of(await net.operator.post(approve)) == (403, "second_approver")
        assert (await second.post(approve)).json()["state"] == "posted"
        assert (await ann.http.get("/v1/balance")).json()["paid_micro_usd"] == 2_000
        assert (await net.operator.get("/v1/admin/suspense")).json()["amount_micro_usd"] == 3_000


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"reason": ""}, 400),
        ({"amount_micro_usd": 0}, 400),
        ({"amount_micro_usd": 1.5}, 400),
        ({"amount_micro_usd": 10**16}, 400),
        ({"bucket": "frozen"}, 400),
        ({"account_id": 5}, 404),
        ({"account_id": 2**63 - 1}, 404),
        ({"account_id": 2**63}, 400),
        ({"account_id": -(2**63) - 1}, 400),
        ({"amount_micro_usd": -1}, 409),
    ],
)
async def test_a_bad_adjustment_changes_nothing(tmp_path: Path, wish: dict[str, Any], status: int) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        sound = {"account_id": ann.id, "bucket": "paid", "amount_micro_usd": 5, "reason": "a mistake"}
        answer = await net.operator.put(f"/v1/admin/adjustments/{UUID}", json={**sound, **wish})
        assert answer.status_code == status, answer.text
        assert (await net.operator.get("/v1/admin/adjustments?all=true")).json()["data"] == []


async def test_a_grant_may_end(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        path = f"/v1/admin/accounts/{ann.id}/grants"
        past = {"amount_usd": "1", "grant_id": "g", "expires_ms": 5}
        assert code_of(await net.operator.post(path, json=past)) == (400, "out_of_range")
        later = net.coordinator.serving.clock.now_ms() + 60_000
        ends = {**past, "expires_ms": later}
        assert (await net.operator.post(path, json=ends)).status_code == 201
        assert code_of(await net.operator.post(path, json={**ends, "expires_ms": later + 1})) == (409, "conflict")
        assert await promo(ann) == 1_000_000
