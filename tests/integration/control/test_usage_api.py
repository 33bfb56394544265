"""Usage, earnings, statements and proofs over real sockets: each account sees its own, and what it sees adds up."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hushnet.coordinator.api.money.usage import SETTLING_MS
from hushnet.coordinator.ledger.books.days import DAY_MS, day_text
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import (
    Close,
    CloseKind,
    Code,
    Credit,
    Fact,
    Held,
    Hold,
    Leg,
    Tier,
    Usage,
    UsageOutcome,
)
from hushnet.coordinator.ledger.service import Ledger
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, RequestId
from hushnet.sdk.proofs import verify_proof, verify_root
from support.control import Account, Network, network

DAY = 20_400
MACHINE = "ab" * 32
PARTS = (31_337_101, 1_000_203, 7_770_307)
PARTS_USD = ("31.337101", "40.107611")
CREDIT = 50_000_000


@dataclass
class Shop:
    """A network in which ann bought one answer from bob's machine, and cid did nothing."""

    net: Network
    clock: ManualClock
    ann: Account
    bob: Account
    cid: Account
    request: RequestId

    @property
    def ledger(self) -> Ledger:
        return self.net.coordinator.ledger


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    clock = ManualClock(DAY * DAY_MS + 7_200_000)
    async with network(tmp_path, clock=clock) as net:
        accounts = [await net.account(name, credit_usd="50" if name == "ann" else "") for name in ("ann", "bob", "cid")]
        request = await buy(net.coordinator.ledger, accounts[0], accounts[1], clock)
        clock.advance(SETTLING_MS / 1000)
        yield Shop(net, clock, *accounts, request)


async def buy(ledger: Ledger, consumer: Account, provider: Account, clock: ManualClock) -> RequestId:
    """Settle one request for the sum of `PARTS`."""
    owner, earner = AccountId(consumer.id), AccountId(provider.id)
    hold = Hold(ledger.next_request_id(), owner, 50_000_000, clock.now_ms() + 60_000)
    held = await ledger.hold(hold)
    assert isinstance(held, Held)
    receivers = (
        user_account(earner, Kind.EARNINGS),
        operator_account(Kind.REVENUE),
        operator_account(Kind.REFERRAL_PAYABLE),
    )
    credits_ = tuple(Credit(account, amount) for account, amount in zip(receivers, PARTS, strict=True))
    key = ApiKeyId(int(consumer.key_id, 36))
    use = Usage(
        key, ModelId("org/m"), UsageOutcome.COMPLETED, provider=earner, machine=MACHINE, tokens_in=9, tokens_out=4,
        tier=Tier.MEASURED, price=5, referrer=AccountId(99_999),
    )  # fmt: skip
    await ledger.close(Close(hold.id, owner, held, CloseKind.POST, use, credits_))
    return hold.id


async def test_usage_and_its_summary_tell_the_same(shop: Shop) -> None:
    listed = (await shop.ann.http.get("/v1/usage")).json()
    (record,) = listed["data"]
    assert (record["id"], record["cost_micro_usd"]) == (str(shop.request), sum(PARTS))
    assert (record["key_id"], record["price_id"], record["trust"]) == (shop.ann.key_id, 5, "measured")
    assert not listed["has_more"]
    summary = (await shop.ann.http.get("/v1/usage/summary?by=day,model,key")).json()
    (row,) = summary["data"]
    assert (row["day"], row["model"], row["key"]) == (day_text(DAY), "org/m", shop.ann.key_id)
    assert summary["totals"] == listed["totals"]
    assert row["cost_micro_usd"] == sum(PARTS)
    assert "totals" not in (await shop.ann.http.get(f"/v1/usage?before={record['id']}")).json()


async def test_a_page_ends_and_says_so(shop: Shop) -> None:
    grant = {"amount_usd": "50", "grant_id": "more"}
    await shop.net.operator.post(f"/v1/admin/accounts/{shop.ann.id}/grants", json=grant)
    second = await buy(shop.ledger, shop.ann, shop.bob, shop.clock)
    first_page = (await shop.ann.http.get("/v1/usage?limit=1")).json()
    assert [record["id"] for record in first_page["data"]] == [str(second)]
    assert first_page["has_more"]
    rest = (await shop.ann.http.get(f"/v1/usage?limit=1&before={second}")).json()
    assert [record["id"] for record in rest["data"]] == [str(shop.request)]
    assert not rest["has_more"]


async def test_earnings_are_told_to_who_earned_them(shop: Shop) -> None:
    reward = Leg(operator_account(Kind.REWARD_EXPENSE), user_account(shop.bob.id, Kind.EARNINGS), 500)
    fact = Fact("reward:m:1", Code.ADJUSTMENT, (reward,), actor="test", owner=shop.bob.id)
    await shop.ledger.fact(fact)
    token = (await shop.bob.http.post("/v1/keys", json={"scope": "provider"})).json()["key"]
    for client in (shop.bob.http, shop.net.client(token)):
        told = (await client.get("/v1/earnings?by=machine,model")).json()
        (row,) = told["data"]
        assert (row["machine"], row["model"], row["earned_micro_usd"]) == (MACHINE, "org/m", PARTS[0])
        assert [(each["type"], each["amount_micro_usd"]) for each in told["income"]] == [("adjustment", 500)]
        assert told["balance"] == {"earnings_micro_usd": PARTS[0] + 500, "withdrawable_micro_usd": 0}
        assert told["not_yet_withdrawable_micro_usd"] == PARTS[0] + 500
    shop.clock.advance(2 * DAY_MS / 1000)
    await shop.ledger.renew()
    told = (await shop.bob.http.get("/v1/earnings")).json()
    assert told["balance"]["withdrawable_micro_usd"] == PARTS[0] + 500


async def test_a_request_shows_its_price_and_buckets_and_not_what_others_got(shop: Shop) -> None:
    shown = (await shop.ann.http.get(f"/v1/generations/{shop.request}")).json()
    assert shown["paid_from"] == {"promo_micro_usd": sum(PARTS), "paid_micro_usd": 0, "earnings_micro_usd": 0}
    assert shown["price_id"] == 5
    answers = [f"/v1/generations/{shop.request}", "/v1/generations", "/v1/usage", "/v1/usage/summary", "/v1/statement"]
    for path in answers:
        text = (await shop.ann.http.get(path)).text
        assert not any(str(part) in text for part in (*PARTS, PARTS_USD[0])), path


async def test_a_statement_is_csv_that_adds_up(shop: Shop) -> None:
    for account, kinds in ((shop.ann, {"promo grant", "request"}), (shop.bob, {"request served"})):
        answer = await account.http.get(f"/v1/statement?from={day_text(DAY)}")
        assert answer.headers["content-type"].startswith("text/csv")
        assert "attachment" in answer.headers["content-disposition"]
        lines = list(csv.DictReader(io.StringIO(answer.text)))
        assert {line["type"] for line in lines[1:-1]} == kinds
        for bucket in ("promo", "paid", "earnings"):
            column = [int(line[bucket].replace(".", "")) for line in lines]
            assert sum(column[:-1]) == column[-1]


async def test_one_account_cannot_read_anothers_money(shop: Shop) -> None:
    await _close_the_day(shop)
    everything = f"from={day_text(DAY)}"
    paths = (
        f"/v1/usage?{everything}",
        f"/v1/usage?key={shop.ann.key_id}",
        f"/v1/usage?before={shop.request + 2}",
        f"/v1/usage/summary?{everything}&key={shop.ann.key_id}",
        f"/v1/earnings?{everything}&by=machine",
        f"/v1/statement?{everything}",
        "/v1/generations",
        "/v1/balance",
        "/v1/ledger/proof",
    )
    secrets = [str(shop.request), MACHINE, *map(str, (*PARTS, sum(PARTS))), *PARTS_USD]
    for path in paths:
        answer = await shop.cid.http.get(path)
        assert answer.status_code == 200, path
        body = answer.json() if "json" in answer.headers["content-type"] else {}
        text = str({name: value for name, value in body.items() if name != "root"}) if body else answer.text
        for secret in secrets:
            if secret not in path:
                assert secret not in text, (path, secret)
    stolen = await shop.cid.http.get(f"/v1/generations/{shop.request}")
    assert (stolen.status_code, stolen.json()["error"]["code"]) == (404, "not_settled_yet")
    assert (await shop.cid.http.get("/v1/ledger/proof")).json()["proofs"] == []
    assert (await shop.bob.http.get("/v1/usage")).json()["data"] == []
    assert (await shop.ann.http.get("/v1/earnings")).json()["data"] == []


async def _close_the_day(shop: Shop) -> None:
    shop.clock.advance(DAY_MS / 1000)
    await shop.ledger.renew()
    keeper = shop.net.coordinator.keeper
    assert keeper is not None
    assert [row.day for row in await keeper.close_due()] == [DAY]


async def test_a_time_that_no_id_can_carry_is_one_like_others(shop: Shop) -> None:
    for asked in ("from=999999999999999", "from=0&to=999999999999999", "to=9999-12-31"):
        answer = await shop.ann.http.get(f"/v1/usage?{asked}")
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["data"]) == (0 if asked.startswith("from=9") else 1)


async def test_the_root_is_public_and_everybody_finds_their_part_in_it(shop: Shop) -> None:
    early = await shop.net.public.get("/v1/ledger/root")
    assert (early.status_code, early.json()["error"]["code"]) == (404, "day_not_closed")
    await _close_the_day(shop)
    answer = await shop.net.public.get(f"/v1/ledger/root?day={day_text(DAY)}")
    says = verify_root(answer.json())
    assert (says["day"], says["is_balanced"]) == (day_text(DAY), True)
    total = 0
    for account in (shop.ann, shop.bob):
        told = (await account.http.get(f"/v1/ledger/proof?day={day_text(DAY)}")).json()
        assert told["root"] == answer.json()
        total += sum(verify_proof(proof, owner=account.id, root=says) for proof in told["proofs"])
    assert total == says["sum"] == CREDIT - PARTS[1] - PARTS[2]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/usage?from=yesterday", "from"),
        ("/v1/usage?to=2026-02-30", "to"),
        ("/v1/usage?to=-1", "to"),
        ("/v1/usage?key=$", "key"),
        ("/v1/usage?model=", "model"),
        ("/v1/usage?limit=0", "limit"),
        ("/v1/usage?limit=101", "limit"),
        ("/v1/usage?limit=\u0663", "limit"),
        ("/v1/usage/summary?by=owner", "by"),
        ("/v1/usage/summary?by=day,day", "by"),
        ("/v1/usage/summary?by=machine", "by"),
        ("/v1/earnings?by=key", "by"),
        ("/v1/earnings?key=abc", "key"),
        ("/v1/earnings?from=2020-01-01", "from"),
        ("/v1/statement?from=9999-01-01", "from"),
        ("/v1/statement?from=99999999999999999999", "from"),
        ("/v1/ledger/proof?day=1", "day"),
    ],
)
async def test_a_parameter_that_says_nothing_is_named(shop: Shop, path: str, param: str) -> None:
    answer = await shop.ann.http.get(path)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
