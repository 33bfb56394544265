"""Deposits by card as owners, operators and Stripe meet them: over HTTP and on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hushnet.cli.main import build
from hushnet.cli.money import deposit as deposit_command
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.settings.table import settings_table, shown, value_of
from hushnet.foundation.errors import StorageError
from support.control import Account, Network, network
from support.stripe_fake import FakeStripe, running_stripe
from support.stripe_fake.webhooks import body_of, signed

SECRET, CONNECT_SECRET = "whsec_account", "whsec_connect"
WEBHOOK = "/v1/webhooks/stripe"


@dataclass
class Shop:
    """A coordinator with a card rail, the Stripe behind it, and a consumer."""

    net: Network
    stripe: FakeStripe
    ann: Account
    home: Path

    async def deposit(self, amount: str = "20", **more: object) -> dict[str, Any]:
        body = {"amount_usd": amount, "id": f"d-{amount}", **more}
        answer = await self.ann.http.post("/v1/deposits", json=body)
        assert answer.status_code in {200, 201}, answer.text
        return dict(answer.json())

    async def until(self, id_: str, state: str) -> dict[str, Any]:
        """Ask for a deposit until it stands so."""
        for _ in range(6000):
            found = (await self.ann.http.get(f"/v1/deposits/{id_}")).json()
            if found["state"] == state:
                return dict(found)
            await asyncio.sleep(0.01)
        raise AssertionError(f"never {state}, last {found['state']}")

    async def deliver(self, **how: Any) -> list[int]:
        return [one.status for one in await asyncio.to_thread(self.stripe.deliver, **how)]

    async def pay(self, deposit: dict[str, Any]) -> str:
        """Pay a Checkout and let Stripe tell."""
        intent = self.stripe.pay(deposit["url"].rpartition("/")[2])
        assert set(await self.deliver()) == {200}
        await self.until(deposit["id"], "paid")
        return intent

    async def balance(self) -> int:
        return int((await self.ann.http.get("/v1/balance")).json()["paid_micro_usd"])

    async def hush(self, *arguments: str) -> Result:
        given = [*arguments, "--home", str(self.home), "--api-key", self.ann.key]
        given += ["--base-url", self.net.coordinator.base_url]
        return await asyncio.to_thread(CliRunner().invoke, build(given), given)


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with running_stripe() as stripe:
        yield stripe


@pytest.fixture
async def shop(served: FakeStripe, tmp_path: Path) -> AsyncIterator[Shop]:
    served.reset()
    settings = {
        "stripe__secret_key": served.api_key,
        "stripe__webhook_secrets": f"whsec_old, {SECRET}",
        "stripe__connect_webhook_secrets": CONNECT_SECRET,
        "stripe__api_base": served.base_url,
    }
    async with network(tmp_path, **settings) as net:
        served.endpoints.clear()
        served.listen(net.coordinator.base_url + WEBHOOK, SECRET)
        yield Shop(net, served, await net.account("ann"), tmp_path)


async def test_a_card_pays_and_the_balance_rises(shop: Shop) -> None:
    deposit = await shop.deposit("20.50")
    assert (deposit["state"], deposit["amount_micro_usd"]) == ("open", 20_500_000)
    await shop.pay(deposit)
    assert await shop.balance() == 20_500_000
    paid = (await shop.ann.http.get(f"/v1/deposits/{deposit['id']}")).json()
    assert (paid["state"], paid["url"]) == ("paid", None)
    listed = (await shop.ann.http.get("/v1/deposits")).json()["data"]
    assert [one["id"] for one in listed] == [deposit["id"]]


async def test_the_same_id_is_the_same_deposit(shop: Shop) -> None:
    first = await shop.deposit("20", id="one")
    assert (await shop.deposit("20", id="one"))["id"] == first["id"]
    other = await shop.ann.http.post("/v1/deposits", json={"amount_usd": "21", "id": "one"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    header = await shop.ann.http.post("/v1/deposits", json={"amount_usd": "20"}, headers={"idempotency-key": "one"})
    assert (header.status_code, header.json()["id"]) == (200, first["id"])
    none = await shop.ann.http.post("/v1/deposits", json={"amount_usd": "20"})
    assert (none.status_code, none.json()["error"]["param"]) == (400, "id")


@pytest.mark.parametrize(
    "amount",
    [
        "NaN",
        "inf",
        "Infinity",
        "1e3",
        "-5",
        "+5",
        "5.001",
        "19.999",
        "",
        " 5",
        "5 ",
        "٥",
        "05",
        "1,5",
        "0x10",
        "99999999999",
    ],
)
async def test_nan_inf_exponent_negative_and_fraction_of_a_cent_are_refused(shop: Shop, amount: str) -> None:
    answer = await shop.ann.http.post("/v1/deposits", json={"amount_usd": amount, "id": "x"})
    assert answer.status_code == 400
    assert shop.stripe.asked("POST /v1/checkout/sessions") == 0


@pytest.mark.parametrize("amount", [20, 20.5, True, None, ["20"], {"usd": "20"}])
async def test_an_amount_is_text(shop: Shop, amount: object) -> None:
    answer = await shop.ann.http.post("/v1/deposits", json={"amount_usd": amount, "id": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_type")


async def test_every_cent_arrives_as_that_cent(shop: Shop) -> None:
    """19.99 is 1999 cents: nothing is multiplied as a float."""
    await shop.deposit("19.99")
    (session,) = shop.stripe.world.objects["sessions"].values()
    assert session["amount_total"] == 1999


@pytest.mark.parametrize("amount", ["4.99", "10000.01"])
async def test_an_amount_outside_the_operators_limits_is_refused(shop: Shop, amount: str) -> None:
    answer = await shop.ann.http.post("/v1/deposits", json={"amount_usd": amount, "id": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "out_of_range")


async def test_one_account_cannot_read_anothers_deposits(shop: Shop) -> None:
    deposit = await shop.deposit()
    bob = await shop.net.account("bob")
    theirs = await bob.http.get(f"/v1/deposits/{deposit['id']}")
    never = await bob.http.get("/v1/deposits/17")
    assert theirs.status_code == never.status_code == 404
    assert theirs.json()["error"] == never.json()["error"]
    assert (await bob.http.get("/v1/deposits")).json()["data"] == []
    assert (await bob.http.post("/v1/deposits", json={"amount_usd": "20", "id": "d-20"})).json()["id"] != deposit["id"]
    assert (await shop.net.public.get("/v1/deposits")).status_code == 401
    assert (await bob.http.get(f"/v1/admin/deposits/{deposit['id']}")).status_code == 403


async def test_a_forged_webhook_stores_nothing(shop: Shop) -> None:
    deposit = await shop.deposit()
    shop.stripe.pay(deposit["url"].rpartition("/")[2])
    event = shop.stripe.pending()[-1]
    body, now_s = body_of(event), shop.stripe.world.now_s()
    live = json.dumps({**event, "livemode": True}).encode()
    connected = json.dumps({**event, "account": "acct_1"}).encode()
    tries = [
        (body, ""),
        (body, signed(body, "whsec_wrong", now_s)),
        (body, signed(body, SECRET, now_s - 600)),
        (body, signed(body, SECRET, now_s + 600)),
        (body.replace(b"2000", b"2001"), signed(body, SECRET, now_s)),
        (live, signed(live, SECRET, now_s)),
        (connected, signed(connected, SECRET, now_s)),
        (body, signed(body, CONNECT_SECRET, now_s)),
    ]
    for given, signature in tries:
        answer = await shop.net.public.post(WEBHOOK, content=given, headers={"stripe-signature": signature})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_webhook")
    at_connect = await shop.net.public.post(
        WEBHOOK + "-connect", content=body, headers={"stripe-signature": signed(body, CONNECT_SECRET, now_s)}
    )
    assert at_connect.status_code == 400
    assert await shop.balance() == 0
    good = await shop.net.public.post(WEBHOOK, content=body, headers={"stripe-signature": signed(body, SECRET, now_s)})
    assert good.json() == {"received": True, "new": True}


async def test_an_oversized_webhook_is_refused(shop: Shop) -> None:
    big = b" " * 262_145
    answer = await shop.net.public.post(
        WEBHOOK, content=big, headers={"stripe-signature": signed(big, SECRET, shop.stripe.world.now_s())}
    )
    assert answer.status_code == 413


async def test_duplicate_and_shuffled_deliveries_credit_once(shop: Shop) -> None:
    deposit = await shop.deposit()
    shop.stripe.pay(deposit["url"].rpartition("/")[2])
    events = shop.stripe.pending()
    halves = [list(reversed(events)), events]
    answers = await asyncio.gather(*(shop.deliver(events=half, times=2) for half in halves))
    assert {status for half in answers for status in half} == {200}
    await shop.until(deposit["id"], "paid")
    assert await shop.balance() == 20_000_000


async def test_the_operator_refunds_once(shop: Shop) -> None:
    deposit = await shop.deposit()
    await shop.pay(deposit)
    path = f"/v1/admin/deposits/{deposit['id']}"
    wish = {"amount_usd": "7.50", "refund_id": "case-1"}
    answers = [await shop.net.operator.post(f"{path}/refunds", json=wish) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    for _ in range(6000):
        shown = (await shop.net.operator.get(path)).json()
        if shown["reversals"][0]["state"] == "final":
            break
        await asyncio.sleep(0.01)
    assert shown["reversals"][0]["state"] == "final"
    assert (shown["refunded_micro_usd"], shown["account_id"]) == (7_500_000, shop.ann.id)
    assert await shop.balance() == 12_500_000
    too_much = await shop.net.operator.post(f"{path}/refunds", json={"amount_usd": "13", "refund_id": "case-2"})
    assert too_much.status_code == 400
    nobodys = await shop.net.operator.post("/v1/admin/deposits/17/refunds", json=wish)
    assert nobodys.status_code == 404
    assert (await shop.ann.http.post(f"{path}/refunds", json=wish)).status_code == 403


async def test_auto_top_up_needs_a_saved_card(shop: Shop) -> None:
    wish = {"below_usd": "5", "amount_usd": "20"}
    refused = await shop.ann.http.put("/v1/deposits/auto_topup", json=wish)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "card_needed")
    await shop.pay(await shop.deposit(save_card=True))
    shown = (await shop.ann.http.put("/v1/deposits/auto_topup", json=wish)).json()
    assert (shown["enabled"], shown["daily_limit_micro_usd"]) == (True, 60_000_000)
    bad = await shop.ann.http.put("/v1/deposits/auto_topup", json={**wish, "daily_limit_usd": "19.99"})
    assert bad.status_code == 400
    assert (await shop.ann.http.delete("/v1/deposits/auto_topup")).json()["enabled"] is False
    assert (await shop.ann.http.get("/v1/deposits/auto_topup")).json()["has_card"] is True


async def test_without_stripe_every_route_says_so(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        for method, path in (("GET", "/v1/deposits"), ("POST", "/v1/deposits"), ("GET", "/v1/deposits/auto_topup")):
            answer = await ann.http.request(method, path, json={"amount_usd": "20", "id": "x"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "payments_not_configured")
            assert answer.json()["error"]["hint"]
        assert (await net.public.post(WEBHOOK, content=b"{}")).status_code == 404


async def test_secrets_are_in_no_answer_metric_or_setting(shop: Shop) -> None:
    deposit = await shop.deposit()
    texts = [json.dumps(deposit), (await shop.net.public.get("/metrics")).text]
    settings = shop.net.coordinator.settings
    texts += [shown(value_of(settings, row.name)) for row in settings_table()] + [repr(settings)]
    for text in texts:
        assert SECRET not in text
        assert shop.stripe.api_key not in text


async def test_the_command_prints_the_page_and_waits_until_it_is_credited(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deposit_command, "POLL_S", 0.02)
    running = asyncio.create_task(shop.hush("deposit", "card", "20"))
    sessions = shop.stripe.world.objects["sessions"]
    for _ in range(6000):
        if sessions:
            break
        await asyncio.sleep(0.01)
    (session,) = sessions
    shop.stripe.pay(session)
    await shop.deliver()
    result = await running
    assert result.exit_code == 0, (result.output, result.exception)
    assert sessions[session]["url"] in result.output
    assert "$20.00 credited" in result.output
    listed = await shop.hush("deposit", "list")
    assert "paid" in listed.output


async def test_the_command_says_when_a_deposit_ended_unpaid(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deposit_command, "POLL_S", 0.02)
    made = await shop.hush("deposit", "card", "20", "--no-wait", "--id", "mine", "--json")
    assert json.loads(made.output)["state"] == "open"
    (session,) = shop.stripe.world.objects["sessions"]
    shop.stripe.expire(session)
    await shop.deliver()
    ended = await shop.hush("deposit", "card", "20", "--id", "mine")
    assert ended.exit_code == 1
    assert "expired" in ended.output


async def test_the_command_sets_shows_and_stops_top_ups(shop: Shop) -> None:
    assert "no card" in (await shop.hush("deposit", "auto")).output
    await shop.pay(await shop.deposit(save_card=True))
    assert "$20.00" in (await shop.hush("deposit", "auto", "--below", "5", "--amount", "20")).output
    assert (await shop.hush("deposit", "auto", "--off")).output.startswith("off")
    assert (await shop.hush("deposit", "auto", "--below", "5")).exit_code == 1


async def test_a_database_that_is_gone_has_stripe_deliver_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    deposit = await shop.deposit()
    shop.stripe.pay(deposit["url"].rpartition("/")[2])

    async def gone(*_: object, **__: object) -> bool:
        raise StorageError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(Inbox, "receive", gone)
        assert set(await shop.deliver()) == {503}
    assert set(await shop.deliver()) == {200}
    await shop.until(deposit["id"], "paid")
