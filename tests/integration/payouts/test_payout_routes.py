"""Payouts over HTTP and on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.payments.model import note_finding
from hushnet.coordinator.payments.payouts.model import Payout, PayoutState
from support.command import printed
from support.control import Account, Network, network

USD = 1_000_000
EVM = "0x52908400098527886E0F7030069857D2E4169EE7"
BASE = {"asset": "USDC", "network": "base", "address": EVM}
OPEN = {"payouts__coins": True, "payouts__cool_down_h": 0}


async def earn(net: Network, account: Account, amount: int = 40 * USD) -> None:
    """Earnings that may leave at once: what an owner moves between its own accounts is not young."""
    paid, earnings = (user_account(account.id, kind) for kind in (Kind.PAID, Kind.EARNINGS))
    legs = (Leg(operator_account(Kind.STRIPE), paid, amount), Leg(paid, earnings, amount))
    fact = Fact(f"test:{account.id}", Code.ADJUSTMENT, legs, actor="test", owner=account.id)
    await net.coordinator.money.store.transact(lambda tx: tx.post(fact))


async def method_of(account: Account, **changes: Any) -> dict[str, Any]:
    answer = await account.http.post("/v1/payouts/methods", json={**BASE, **changes})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_payout_is_asked_for_shown_and_cancelled(tmp_path: Path) -> None:
    async with network(tmp_path, **OPEN) as net:
        ann = await net.account("ann")
        await earn(net, ann)
        method = await method_of(ann)
        assert (method["address"], method["is_default"], method["tag"]) == (EVM, True, None)
        asked = await ann.http.post("/v1/payouts", json={"amount_usd": "12.34", "request_id": "r1"})
        again = await ann.http.post("/v1/payouts", json={"amount_usd": "12.34"}, headers={"idempotency-key": "r1"})
        made = asked.json()
        assert (asked.status_code, again.json()) == (201, made)
        assert (made["state"], made["net_micro_usd"], made["is_cancellable"]) == ("requested", 12_340_000, True)
        assert code_of(await ann.http.post("/v1/payouts", json={"amount_usd": "1"})) == (409, "payout_open")
        other = await ann.http.post("/v1/payouts", json={"amount_usd": "13", "request_id": "r1"})
        assert code_of(other) == (409, "conflict")
        assert (await ann.http.get(f"/v1/payouts/{made['id']}")).json() == made
        cancelled = (await ann.http.post(f"/v1/payouts/{made['id']}/cancel")).json()
        assert (cancelled["state"], cancelled["is_cancellable"]) == ("cancelled", False)
        everything = (await ann.http.post("/v1/payouts", json={"amount_usd": "all"})).json()
        assert everything["gross_micro_usd"] == 40 * USD
        listed = (await ann.http.get("/v1/payouts")).json()["data"]
        assert [row["id"] for row in listed] == [everything["id"], made["id"]]
        page = (await ann.http.get(f"/v1/payouts?before={everything['id']}&limit=1")).json()["data"]
        assert [row["id"] for row in page] == [made["id"]]


async def test_methods_are_added_chosen_and_removed(tmp_path: Path) -> None:
    async with network(tmp_path, **OPEN) as net:
        ann = await net.account("ann")
        base = await method_of(ann)
        polygon = await method_of(ann, network="polygon", address=EVM.lower())
        assert polygon["address"] == EVM
        bitcoin = await method_of(ann, asset="btc", network="", address="1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2")
        assert (bitcoin["asset"], bitcoin["network"]) == ("BTC", "bitcoin")
        chosen = await ann.http.put(f"/v1/payouts/methods/{polygon['id']}/default")
        assert chosen.json()["is_default"] is True
        listed = (await ann.http.get("/v1/payouts/methods")).json()["data"]
        assert [(row["id"], row["is_default"]) for row in listed] == [
            (base["id"], False),
            (polygon["id"], True),
            (bitcoin["id"], False),
        ]
        gone = await ann.http.delete(f"/v1/payouts/methods/{polygon['id']}")
        assert gone.json() == {"id": polygon["id"], "removed": True}
        answer = await ann.http.post("/v1/payouts", json={"amount_usd": "5"})
        assert code_of(answer) == (409, "no_payout_method")


async def test_one_account_cannot_read_anothers_money(tmp_path: Path) -> None:
    """Nor touch it: what is somebody else's looks like what never was."""
    async with network(tmp_path, **OPEN) as net:
        ann, bob = await net.account("ann"), await net.account("bob")
        for account in (ann, bob):
            await earn(net, account)
        method = await method_of(ann)
        payout = (await ann.http.post("/v1/payouts", json={"amount_usd": "5"})).json()
        for mine, never, verb in (
            (f"/v1/payouts/{payout['id']}", "/v1/payouts/2", "GET"),
            (f"/v1/payouts/{payout['id']}/cancel", "/v1/payouts/2/cancel", "POST"),
            (f"/v1/payouts/methods/{method['id']}", "/v1/payouts/methods/2", "DELETE"),
            (f"/v1/payouts/methods/{method['id']}/default", "/v1/payouts/methods/2/default", "PUT"),
        ):
            theirs, nothing = await bob.http.request(verb, mine), await bob.http.request(verb, never)
            assert (theirs.status_code, theirs.json()) == (nothing.status_code, nothing.json())
            assert theirs.status_code == 404
        wish = {"amount_usd": "5", "method": method["id"]}
        assert code_of(await bob.http.post("/v1/payouts", json=wish)) == (404, "payout_method_not_found")
        for path in ("/v1/payouts", "/v1/payouts/methods"):
            assert (await bob.http.get(path)).json()["data"] == []
        assert (await ann.http.get(f"/v1/payouts/{payout['id']}")).json() == payout
        provider = await net.account("carol", scope="provider")
        for path in ("/v1/payouts", "/v1/payouts/methods", "/v1/payouts/onboarding"):
            assert (await net.public.get(path)).status_code == 401
            assert (await provider.http.get(path)).status_code == 403
        for path in ("/v1/admin/payouts", f"/v1/admin/payouts/{payout['id']}/resolve"):
            verb = "POST" if path.endswith("resolve") else "GET"
            assert (await ann.http.request(verb, path)).status_code == 403


@pytest.mark.parametrize(
    "wish",
    [
        {"amount_usd": "NaN"},
        {"amount_usd": "1e3"},
        {"amount_usd": "-5"},
        {"amount_usd": "5.001"},
        {"amount_usd": "Infinity"},
        {"amount_usd": "99999999999"},
        {"amount_usd": "٥"},
        {"amount_usd": "0.99"},
        {"amount_usd": 5},
        {"amount_usd": "5", "instant": True},
        {"amount_usd": "5", "request_id": "no spaces"},
        {"amount_usd": "5", "colour": "green"},
        {},
    ],
    ids=str,
)
async def test_what_is_no_amount_is_refused(tmp_path: Path, wish: dict[str, Any]) -> None:
    async with network(tmp_path, **OPEN) as net:
        ann = await net.account("ann")
        await earn(net, ann)
        await method_of(ann)
        answer = await ann.http.post("/v1/payouts", json=wish)
        assert 400 <= answer.status_code < 500
        assert (await ann.http.get("/v1/payouts")).json()["data"] == []


async def test_what_is_no_method_is_refused(tmp_path: Path) -> None:
    async with network(tmp_path, **OPEN) as net:
        ann = await net.account("ann")
        for wish, code in (
            ({**BASE, "address": EVM[:-1] + "8"}, ""),
            ({**BASE, "network": ""}, ""),
            ({**BASE, "network": "bitcoin"}, ""),
            ({**BASE, "tag": -1}, "wrong_type"),
            ({"asset": "USDC", "network": "base"}, "wrong_type"),
            ({"rail": "pigeon"}, "wrong_type"),
            ({"rail": "stripe"}, "payout_method_unusable"),
        ):
            answer = await ann.http.post("/v1/payouts/methods", json=wish)
            assert 400 <= answer.status_code < 500, wish
            assert code in {"", answer.json()["error"]["code"]}
        assert code_of(await ann.http.post("/v1/payouts/onboarding")) == (400, "unsupported_value")
        assert (await ann.http.get("/v1/payouts/methods")).json()["data"] == []


async def test_a_plan_is_set_shown_and_dropped(tmp_path: Path) -> None:
    async with network(tmp_path, **OPEN) as net:
        ann, bob = await net.account("ann"), await net.account("bob")
        method = await method_of(ann)
        wish = {"period": "weekly", "threshold_usd": "12.50", "method": method["id"]}
        made = (await ann.http.put("/v1/payouts/plan", json=wish)).json()
        assert (made["threshold_micro_usd"], made["method"], made["reason"]) == (12_500_000, method["id"], "")
        assert (await ann.http.get("/v1/payouts/plan")).json() == made
        assert (await bob.http.get("/v1/payouts/plan")).json()["period"] is None
        assert code_of(await bob.http.put("/v1/payouts/plan", json=wish)) == (404, "payout_method_not_found")
        for wrong in ({"period": "daily"}, {"threshold_usd": "NaN"}, {"threshold_usd": "0.5"}, {"method": "x"}):
            assert 400 <= (await ann.http.put("/v1/payouts/plan", json={**wish, **wrong})).status_code < 500
        access = (tmp_path, net.coordinator.base_url, ann.key)
        said = await printed(*access, "payout", "plan", "monthly", "--threshold", "20")
        assert "monthly from $20.00" in said
        assert "monthly from $20.00" in await printed(*access, "payout", "plan")
        assert "on request only" in await printed(*access, "payout", "plan", "off")
        assert (await ann.http.get("/v1/payouts/plan")).json()["period"] is None


async def test_rails_are_off_until_they_are_switched_on(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        answer = await ann.http.post("/v1/payouts/methods", json=BASE)
        assert code_of(answer) == (400, "unsupported_value")


async def test_an_operator_sees_what_is_stuck_and_decides(tmp_path: Path) -> None:
    async with network(tmp_path, **OPEN) as net:
        ann = await net.account("ann")
        await earn(net, ann)
        await method_of(ann)
        id_ = int((await ann.http.post("/v1/payouts", json={"amount_usd": "5"})).json()["id"])
        resolve = f"/v1/admin/payouts/{id_}/resolve"
        early = await net.operator.post(resolve, json={"resolution": "returned"})
        assert code_of(early) == (409, "payout_not_stuck")
        assert code_of(await net.operator.post(resolve, json={"resolution": "retry"})) == (400, "unsupported_value")
        await _send_coins(net, id_)
        (puzzle,) = (await net.operator.get("/v1/admin/payouts")).json()["data"]
        assert (puzzle["id"], puzzle["owner"], puzzle["findings"][0]["detail"]) == (str(id_), ann.id, "no word of it")
        access = (tmp_path, net.coordinator.base_url, net.operator_key)
        stuck = json.loads(await printed(*access, "payout", "stuck", "--json"))
        assert [row["id"] for row in stuck] == [str(id_)]
        assert "no word of it" in await printed(*access, "payout", "stuck")
        await printed(*access, "payout", "arrived", str(id_), "0xabc")
        paid = (await ann.http.get(f"/v1/payouts/{id_}")).json()
        assert (paid["state"], paid["txid"]) == ("paid", "0xabc")
        assert (await net.operator.get("/v1/admin/payouts")).json()["data"] == []
        for wrong in ("2", "x", "9" * 30):
            gone = await net.operator.post(f"/v1/admin/payouts/{wrong}/resolve", json={"resolution": "paid"})
            assert code_of(gone) == (404, "payout_not_found")


async def test_the_command_line_takes_earnings_out(tmp_path: Path) -> None:
    async with network(tmp_path, **OPEN) as net:
        ann = await net.account("ann")
        await earn(net, ann)

        async def say(*words: str) -> str:
            return await printed(tmp_path, net.coordinator.base_url, ann.key, "payout", *words)

        method = (await say("methods", "add", "USDC", "base", EVM)).strip()
        await say("methods", "default", method)
        assert EVM in await say("methods", "list")
        made = json.loads(await say("request", "25", "--json"))
        assert (made["state"], made["gross_micro_usd"], made["method"]) == ("requested", 25 * USD, method)
        assert "$25.00" in await say("list")
        assert "USDC on base" in await say("show", made["id"])
        assert json.loads(await say("cancel", made["id"], "--json"))["state"] == "cancelled"
        await say("methods", "remove", method)
        assert json.loads(await say("methods", "list", "--json")) == []


async def _send_coins(net: Network, id_: int) -> None:
    """As if a gateway had taken the coins and never said a word again."""

    def work(tx: Any) -> None:
        row = tx.rows(Payout).get(id_)
        tx.rows(Payout).save(replace(row, state=PayoutState.IN_TRANSIT, units=5_000_000, rate=USD))
        note_finding(tx, "payout_stuck", str(id_), "no word of it")

    await net.coordinator.money.store.transact(work)
