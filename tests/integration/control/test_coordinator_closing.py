"""Closing accounts over HTTP and from the command line: by their owner, by the operator, and only barring them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
from click.testing import Result
from typer.testing import CliRunner

from hushnet.cli.main import build
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg, Posted
from support.control import Account, Network, network

USD = 1_000_000


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def give(net: Network, account: Account, amount: int) -> None:
    """Let an account have earned."""
    leg = Leg(operator_account(Kind.REWARD_EXPENSE), user_account(account.id, Kind.EARNINGS), amount)
    fact = Fact(f"test:{account.id}", Code.REWARD, (leg,), actor="test", owner=account.id)
    assert await net.coordinator.ledger.fact(fact) == Posted()


async def hush(net: Network, home: Path, key: str, *arguments: str, says: str = "") -> Result:
    given = [*arguments, "--home", str(home), "--base-url", net.coordinator.base_url, "--api-key", key]
    return await asyncio.to_thread(CliRunner().invoke, build(given), given, says)


async def test_an_owner_takes_its_money_out_or_gives_it_up_and_closes(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann", credit_usd="2.50")
        await give(net, ann, 3 * USD)

        refused = await ann.http.post("/v1/account/close")
        assert code_of(refused) == (409, "account_not_empty")
        assert "hush payout request" in refused.json()["error"]["hint"]
        assert code_of(await ann.http.post("/v1/account/close", json={"gives_up_micro_usd": 3 * USD - 1}))[0] == 409
        closed = await ann.http.post("/v1/account/close", json={"gives_up_micro_usd": 3 * USD})

        assert closed.json() == {
            "account_id": ann.id,
            "closed": True,
            "promo_taken_back_micro_usd": 2_500_000,
            "paid_given_up_micro_usd": 0,
            "earnings_given_up_micro_usd": 3 * USD,
        }
        assert code_of(await ann.http.get("/v1/balance")) == (403, "account_closed")
        shown = (await net.operator.get(f"/v1/admin/accounts/{ann.id}")).json()
        assert (shown["balance"]["spendable_micro_usd"], shown["closed_ms"] > 0) == (0, True)
        checked = ["ledger", "check", "--home", str(tmp_path)]
        proof = await asyncio.to_thread(CliRunner().invoke, build(checked), checked)
        assert (proof.exit_code, "the books balance" in proof.output) == (0, True), proof.output


async def test_an_operator_closes_once_and_cannot_reopen(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, bob = await net.account("ann", credit_usd="1.00"), await net.account("bob", credit_usd="1.00")
        path = f"/v1/admin/accounts/{ann.id}"

        answers = [(await net.operator.post(f"{path}/close")).json()["promo_taken_back_micro_usd"] for _ in range(2)]

        assert answers == [USD, 0]
        assert code_of(await ann.http.get("/v1/balance")) == (403, "account_closed")
        assert code_of(await net.operator.post(f"{path}/reopen")) == (403, "account_closed")
        assert code_of(await ann.http.post("/v1/account/close")) == (403, "account_closed")
        assert code_of(await bob.http.post(f"{path}/close")) == (403, "wrong_scope")
        assert (await bob.http.get("/v1/balance")).json()["spendable_micro_usd"] == USD


async def test_who_may_not_close_an_account(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann = await net.account("ann")
        bounded = {"budgets": [{"period": "day", "amount_usd": "1.00"}]}
        made = await ann.http.post("/v1/keys", json=bounded)
        assert made.status_code == 201, made.text
        own = (await net.operator.post("/v1/admin/accounts", json={"name": "operator"})).json()["account_id"]
        for word in ("close", "bar"):
            assert code_of(await net.operator.post(f"/v1/admin/accounts/{own}/{word}")) == (409, "account_not_closable")
            for nobody in ("99999999", "x", "9" * 19):
                missing = await net.operator.post(f"/v1/admin/accounts/{nobody}/{word}")
                assert code_of(missing) == (404, "account_not_found")
        assert code_of(await net.client(made.json()["key"]).post("/v1/account/close")) == (403, "budgeted_key")
        for wrong in ({"gives_up_micro_usd": -1}, {"gives_up_micro_usd": 0.5}, {"all": True}):
            assert (await ann.http.post("/v1/account/close", json=wrong)).status_code == 400
        assert (await ann.http.get("/v1/balance")).status_code == 200


async def test_no_key_closes_the_account_of_the_operators(tmp_path: Path) -> None:
    """Whatever its scope: every operator's key would be dead, and so would each that is made on the machine."""
    async with network(tmp_path) as net:
        own = (await net.operator.post("/v1/admin/accounts", json={"name": "operator"})).json()["account_id"]
        made = await net.operator.post(f"/v1/admin/accounts/{own}/keys", json={"scope": "user", "name": "try it out"})
        assert code_of(await net.client(made.json()["key"]).post("/v1/account/close")) == (409, "account_not_closable")
        assert (await net.operator.get(f"/v1/admin/accounts/{own}")).json()["closed_ms"] is None


async def test_the_command_closes_after_asking(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        ann, bob = await net.account("ann"), await net.account("bob", credit_usd="1.00")
        await give(net, ann, 3 * USD)

        kept = await hush(net, tmp_path, ann.key, "account", "close", "--yes")
        assert (kept.exit_code, type(kept.exception).__name__) == (1, "RequestError")
        unsure = await hush(net, tmp_path, ann.key, "account", "close", "--give-up", says="n\n")
        assert (unsure.exit_code, "$3.00 of deposits and earnings" in unsure.output) == (1, True)
        assert (await ann.http.get("/v1/balance")).status_code == 200
        closed = await hush(net, tmp_path, ann.key, "account", "close", "--give-up", says="y\n")
        assert (closed.exit_code, f"account {ann.id} is closed; $3.00 was given up" in closed.output) == (0, True)

        operator = net.operator_key
        barred = await hush(net, tmp_path, operator, "account", "bar", str(bob.id))
        assert barred.output == f"account {bob.id} is barred\n"
        assert code_of(await bob.http.get("/v1/balance")) == (403, "account_closed")
        opened = await hush(net, tmp_path, operator, "account", "reopen", str(bob.id))
        assert opened.output == f"account {bob.id} is open\n"
        done = await hush(net, tmp_path, operator, "account", "close", str(bob.id), "--give-up", "--yes", "--json")
        assert '"promo_taken_back_micro_usd":1000000' in done.output.replace(" ", "")


async def test_the_operator_makes_an_account_that_can_spend_what_it_was_given(tmp_path: Path) -> None:
    async with network(tmp_path) as net:

        async def operator(*arguments: str) -> Result:
            return await hush(net, tmp_path, net.operator_key, *arguments)

        made = await operator("account", "create", "carol", "--json")
        account = str(json.loads(made.stdout)["account_id"])
        assert (await operator("account", "create", "carol")).stdout == f"{account}\n"
        for told in ("was given", "had been given before"):
            given = await operator("account", "grant", account, "2.50", "--id", "welcome")
            assert given.stdout == f"$2.50 {told} to account {account}\n"
        key = json.loads((await operator("account", "key", account, "laptop", "--json")).stdout)["key"]
        own = await net.client(key).get("/v1/balance")
        assert own.json()["promo_micro_usd"] == 2_500_000
        shown = await operator("account", "show", account)
        assert (shown.exit_code, f"account {account}, carol" in shown.stdout, "$2.50" in shown.stdout) == (
            0,
            True,
            True,
        )
        refused = await hush(net, tmp_path, key, "account", "grant", account, "2.50")
        assert (refused.exit_code, type(refused.exception).__name__) == (1, "AccessError")


async def test_the_operator_prices_a_model(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        price = ("--input", "0.10", "--output", "0.4", "--minimum", "0.000002")
        told = await hush(net, tmp_path, net.operator_key, "pricing", "set", "some/model", *price)
        assert told.exit_code == 0, told.output
        shown = (await net.public.get("/v1/pricing")).json()["data"]
        assert [(entry["model"], entry["price"]) for entry in shown if entry["model"] == "some/model"] == [
            ("some/model", {"input": 100_000, "cached": 100_000, "output": 400_000, "minimum": 2})
        ]
        wrong = await hush(net, tmp_path, net.operator_key, "pricing", "set", "m", "--input", "-1", "--output", "nan")
        assert (wrong.exit_code, type(wrong.exception).__name__) == (1, "RequestError")
