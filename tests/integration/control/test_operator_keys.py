"""Operators' keys: made on the coordinator's own machine, by no request, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from hushnet.cli.main import build
from hushnet.coordinator.accounts import Scope
from hushnet.foundation.errors import ConfigurationError, HushnetError
from support.control import Network, network
from support.ledger import database_url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, tmp_path) as found:
        yield found


def tried(home: Path, url: str, *words: str) -> Result:
    given = ["coordinator", *words, "--home", str(home), "--database", url]
    return CliRunner().invoke(build(given), given)


def said(home: Path, url: str, *words: str) -> Result:
    result = tried(home, url, *words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def made(home: Path, url: str, *words: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(said(home, url, *words, "--json").stdout)
    return found


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def keys_of(net: Network, name: str) -> list[Scope]:
    account, _ = await net.coordinator.accounts.create_account(name)
    return [key.scope for key in await net.coordinator.accounts.keys_of(account.id)]


async def test_no_request_makes_an_operators_key(tmp_path: Path, url: str) -> None:
    async with network(tmp_path, database=url) as net:
        ann = await net.account("ann")
        operator, _ = await net.coordinator.accounts.create_account("operator")
        wish = {"scope": "operator", "name": "another"}
        for account_id in (operator.id, ann.id):
            answer = await net.operator.post(f"/v1/admin/accounts/{account_id}/keys", json=wish)
            assert code_of(answer) == (403, "operator_key")
            assert "hush coordinator keys create" in answer.json()["error"]["hint"]
        assert code_of(await ann.http.post("/v1/keys", json={"scope": "operator"})) == (403, "operator_key")
        assert await keys_of(net, "ann") == [Scope.USER]
        assert await keys_of(net, "operator") == [Scope.OPERATOR]


async def test_a_key_made_on_the_machine_works_and_ends_when_it_is_revoked(tmp_path: Path, url: str) -> None:
    first = (await asyncio.to_thread(made, tmp_path, url, "init"))["operator_key"]
    second = await asyncio.to_thread(made, tmp_path, url, "keys", "create", "bea")
    async with network(tmp_path, database=url, is_fresh=False) as net:
        for key in (first, second["key"]):
            assert (await net.client(key).get("/v1/admin/providers")).status_code == 200
        listed = json.loads((await asyncio.to_thread(said, tmp_path, url, "keys", "list", "--json")).stdout)
        assert [key["name"] for key in listed] == ["init", "bea", "test"]
        assert second["key"].rpartition("_")[2] not in str(listed)
    await asyncio.to_thread(said, tmp_path, url, "keys", "revoke", second["id"])
    async with network(tmp_path, database=url, is_fresh=False) as net:
        assert (await net.client(first).get("/v1/admin/providers")).status_code == 200
        assert code_of(await net.client(second["key"]).get("/v1/admin/providers")) == (401, "invalid_api_key")


def test_a_new_key_replaces_every_operators_key(tmp_path: Path, url: str) -> None:
    made(tmp_path, url, "init")
    made(tmp_path, url, "keys", "create", "bea")
    new = made(tmp_path, url, "init", "--new-key")["operator_key"]
    listed = json.loads(said(tmp_path, url, "keys", "list", "--json").stdout)
    assert [key["revoked_ms"] is None for key in listed] == [False, False, True]
    assert new.split("_")[2] == listed[2]["id"]
    assert "active" in said(tmp_path, url, "keys", "list").output


@pytest.mark.parametrize(
    ("words", "code"),
    [(("keys", "revoke", "zz"), "key_not_found"), (("keys", "revoke", "-1"), ""), (("keys", "create", " "), "out_of_range")],
)  # fmt: skip
def test_a_key_that_is_none_is_neither_made_nor_revoked(
    tmp_path: Path, url: str, words: tuple[str, ...], code: str
) -> None:
    made(tmp_path, url, "init")
    result = tried(tmp_path, url, *words)
    assert result.exit_code != 0
    if code:
        assert isinstance(result.exception, HushnetError)
        assert result.exception.error_code == code
    assert len(json.loads(said(tmp_path, url, "keys", "list", "--json").stdout)) == 1


async def test_beside_a_live_coordinator_sqlite_lists_keys_and_makes_none(tmp_path: Path) -> None:
    with database_url("sqlite", tmp_path) as url:
        async with network(tmp_path, database=url):
            assert await asyncio.to_thread(said, tmp_path, url, "keys", "list")
            refused = await asyncio.to_thread(tried, tmp_path, url, "keys", "create", "bea")
    assert isinstance(refused.exception, ConfigurationError)
