"""The operator's interface over real sockets: every change can be sent twice, and bad input gets its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from hushnet.foundation.ids import AccountId, ProviderId
from hushnet.wire.frames import Capacity
from support.control import MODEL, Network, network
from support.exchange import until

PRICE = {"input": 1_000_000, "cached": 500_000, "output": 4_000_000, "minimum": 2}


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def listed(net: Network, provider_id: str) -> dict[str, Any]:
    """Return the operator's view of a provider, once it is in the book: that is written in the background."""
    while True:
        answer = (await net.operator.get("/v1/admin/providers")).json()
        for row in answer["data"]:
            if row["provider_id"] == provider_id:
                return dict(row)


async def test_the_same_name_gives_the_same_account(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        first = await net.operator.post("/v1/admin/accounts", json={"name": "demo"})
        again = await net.operator.post("/v1/admin/accounts", json={"name": "demo"})
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["account_id"] == again.json()["account_id"]
        assert (first.json()["created"], again.json()["created"]) == (True, False)


async def test_the_same_grant_gives_once_and_another_under_its_id_is_a_conflict(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, bob = await net.account("ann"), await net.account("bob")
        grant = {"amount_usd": "1.25", "grant_id": "welcome"}
        path = f"/v1/admin/accounts/{ann.id}/grants"
        first, again = await net.operator.post(path, json=grant), await net.operator.post(path, json=grant)
        assert (first.status_code, first.json()["outcome"]) == (201, "posted")
        assert (again.status_code, again.json()["outcome"]) == (200, "already")
        assert code_of(await net.operator.post(path, json={**grant, "amount_usd": "2"})) == (409, "conflict")
        elsewhere = f"/v1/admin/accounts/{bob.id}/grants"
        assert code_of(await net.operator.post(elsewhere, json=grant)) == (409, "conflict")
        shown = (await net.operator.get(f"/v1/admin/accounts/{ann.id}")).json()
        assert shown["balance"]["promo_micro_usd"] == 1_250_000


@pytest.mark.parametrize(
    ("grant", "code"),
    [
        ({"amount_usd": "0", "grant_id": "g"}, "out_of_range"),
        ({"amount_usd": "-1", "grant_id": "g"}, "amount_out_of_bounds"),
        ({"amount_usd": "1.234", "grant_id": "g"}, "amount_out_of_bounds"),
        ({"amount_usd": "1e6", "grant_id": "g"}, "amount_out_of_bounds"),
        ({"amount_usd": "99999999", "grant_id": "g"}, "amount_out_of_bounds"),
        ({"amount_usd": 1, "grant_id": "g"}, "wrong_type"),
        ({"amount_usd": "1", "grant_id": ""}, "out_of_range"),
        ({"amount_usd": "1", "grant_id": "a b"}, "out_of_range"),
        ({"amount_usd": "1", "grant_id": "g" * 65}, "out_of_range"),
        ({"amount_usd": "1", "grant_id": "g", "note": "n" * 201}, "wrong_type"),
        ({"amount_usd": "1"}, "wrong_type"),
        ({"amount_usd": "1", "grant_id": "g", "extra": 1}, "wrong_type"),
    ],
)
async def test_a_bad_grant_gives_nothing(tmp_path: Path, grant: dict[str, Any], code: str) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        assert code_of(await net.operator.post(f"/v1/admin/accounts/{ann.id}/grants", json=grant)) == (400, code)
        assert (await ann.http.get("/v1/balance")).json()["promo_micro_usd"] == 0


@pytest.mark.parametrize("account_id", ["1", "99999999999", "x", "-1", "1" * 30, "70000.0", "٣"])
async def test_an_account_that_is_not_there_is_not_found(tmp_path: Path, account_id: str) -> None:
    async with network(tmp_path) as net:
        path = f"/v1/admin/accounts/{account_id}"
        grant = {"amount_usd": "1", "grant_id": "g"}
        assert code_of(await net.operator.get(path)) == (404, "account_not_found")
        assert code_of(await net.operator.post(f"{path}/grants", json=grant)) == (404, "account_not_found")
        assert code_of(await net.operator.post(f"{path}/keys", json={"scope": "user"})) == (404, "account_not_found")


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "  "}, {"name": "x" * 65}, {"name": "a\nb"}, {"name": 7}, {}, []]
)
async def test_a_bad_account_is_refused(tmp_path: Path, body: object) -> None:
    async with network(tmp_path) as net:
        assert (await net.operator.post("/v1/admin/accounts", json=body)).status_code == 400


async def test_a_price_holds_at_once_and_its_history_is_kept(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        path = f"/v1/admin/models/{MODEL}/price"
        first = await net.operator.put(path, json=PRICE)
        assert first.json()["price"] == PRICE
        again = await net.operator.put(path, json=PRICE)
        assert again.json() == first.json()
        cheaper = {**PRICE, "input": 900_000}
        await net.operator.put(path, json=cheaper)
        history = (await net.operator.get(path)).json()["data"]
        assert [row["price"]["input"] for row in history] == [900_000, 1_000_000]
        assert net.coordinator.catalog.price_of(MODEL).input == 900_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cached": 2_000_000}, "amount_out_of_bounds"),
        ({"input": -1}, "wrong_type"),
        ({"input": 10**10 + 1}, "wrong_type"),
        ({"input": 1.5}, "wrong_type"),
        ({"input": True}, "wrong_type"),
        ({"input": 2**70}, "wrong_type"),
        ({"from_ms": 1}, "out_of_range"),
    ],
)
async def test_a_bad_price_changes_nothing(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    async with network(tmp_path) as net:
        answer = await net.operator.put(f"/v1/admin/models/{MODEL}/price", json={**PRICE, **change})
        assert code_of(answer) == (400, code)
        assert net.coordinator.catalog.tariff_of(MODEL).id == 0


async def test_what_was_changed_outlives_a_restart(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann", credit_usd="3")
        await net.operator.put(f"/v1/admin/models/{MODEL}/price", json=PRICE)
        revoked = (await ann.http.post("/v1/keys", json={})).json()
        await ann.http.delete(f"/v1/keys/{revoked['id']}")
    async with network(tmp_path, is_fresh=False) as net:
        assert (await net.client(ann.key).get("/v1/balance")).json()["promo_micro_usd"] == 3_000_000
        assert (await net.client(revoked["key"]).get("/v1/balance")).status_code == 401
        assert net.coordinator.catalog.price_of(MODEL).input == PRICE["input"]


async def test_a_strange_provider_is_not_found(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        for provider_id in ("x", "0" * 64):
            path = f"/v1/admin/providers/{provider_id}/suspend"
            assert code_of(await net.operator.post(path, json={})) == (404, "provider_not_found")


async def test_an_operator_sees_what_is_not_believed_of_a_provider_and_how_often_it_joined(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        bob = await net.account("bob", scope="provider")
        async with net.provider(tmp_path, bob.key):
            await net.until(f"/v1/models/{MODEL}")
            [live] = net.coordinator.serving.fleet.providers()
            net.coordinator.serving.gate.heartbeat(live.provider_id, Capacity(slots=2**20, active=0), link_ms=3)
            shown = await listed(net, live.provider_id)
            assert shown["doubts"] == ["report_slots"]
            assert shown["findings"] == {"report_slots": 1}
            assert (shown["joins_last_minute"], shown["region"], shown["link_ms"]) == (1, "", 3)
            page = (await net.public.get("/metrics")).text
            assert 'hush_findings_total{kind="report_slots"} 1.0' in page


@pytest.mark.parametrize("is_whole_account", [False, True])
async def test_a_provider_whose_token_is_revoked_serves_no_more(tmp_path: Path, is_whole_account: bool) -> None:
    async with network(tmp_path) as net:
        bob, eve = await net.account("bob", scope="provider"), await net.account("eve", scope="provider")
        async with net.provider(tmp_path, bob.key):
            await net.until(f"/v1/models/{MODEL}")
            accounts = net.coordinator.accounts
            await net.operator.delete(f"/v1/admin/accounts/{eve.id}/keys/{eve.key_id}")
            assert (await net.public.get(f"/v1/models/{MODEL}")).status_code == 200

            if is_whole_account:
                await accounts.bar_account(AccountId(bob.id))
            else:
                await net.operator.delete(f"/v1/admin/accounts/{bob.id}/keys/{bob.key_id}")

            assert (await net.public.get(f"/v1/models/{MODEL}")).status_code == 404
            assert net.coordinator.serving.fleet.serving(MODEL) == []


async def test_a_suspension_during_a_registration_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with network(tmp_path) as net:
        bob = await net.account("bob", scope="provider")
        async with net.provider(tmp_path, bob.key) as provider_id:
            await net.until(f"/v1/models/{MODEL}")
            book, fleet = net.coordinator.providers, net.coordinator.serving.fleet
            live = fleet.get(ProviderId(provider_id))
            assert live is not None
            asked: list[bool] = []

            def is_suspended(_: ProviderId) -> bool:
                asked.append(bool(asked))
                return asked[-1]

            monkeypatch.setattr(book, "is_suspended", is_suspended)
            live.link.close("try_again")
            await until(lambda: len(asked) == 2)

            assert fleet.get(ProviderId(provider_id)) is None
            assert net.coordinator.links.links == 0
