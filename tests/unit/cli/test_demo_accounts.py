"""The keys of `hush up`: kept when the coordinator knows them, made again when it does not."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from hushnet.cli.local.accounts import STATE_FILE, State, renew_refused_keys
from hushnet.foundation.errors import AccessError, ConfigurationError

ACCOUNTS = {"demo": 1, "demo-provider": 2}


class Coordinator:
    """The admin interface as `hush up` uses it: it knows keys, finds accounts by name, and grants once an id."""

    def __init__(self, *known: str, operator_key: str = "operator") -> None:
        self.known = set(known)
        self.operator_key = operator_key
        self.grants: set[str] = set()

    def answer(self, request: httpx.Request) -> httpx.Response:
        key = request.headers["authorization"].removeprefix("Bearer ")
        if request.url.path == "/v1/balance":
            return httpx.Response(200 if key in self.known else 401, json={})
        if key != self.operator_key:
            return httpx.Response(401, json={"error": {"code": "invalid_api_key", "message": "refused"}})
        document = json.loads(request.content)
        match request.url.path.rsplit("/", 1)[1]:
            case "accounts":
                return httpx.Response(201, json={"account_id": ACCOUNTS[document["name"]]})
            case "grants":
                self.grants.add(document["grant_id"])
                return httpx.Response(201, json={})
            case _:
                made = f"new-{document['scope']}-{request.url.path.split('/')[4]}"
                self.known.add(made)
                return httpx.Response(201, json={"key": made})

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url="http://coordinator", transport=httpx.MockTransport(self.answer))


async def test_keys_that_the_coordinator_knows_are_kept() -> None:
    state = State("operator", "user", "provider")
    async with Coordinator("user", "provider").client() as http:
        assert await renew_refused_keys(state, http) == []
    assert state == State("operator", "user", "provider")


async def test_a_revoked_key_is_replaced_by_one_of_the_same_account() -> None:
    state = State("operator", "revoked", "provider")
    coordinator = Coordinator("provider")
    async with coordinator.client() as http:
        assert len(await renew_refused_keys(state, http)) == 1
    assert state == State("operator", "new-user-1", "provider")
    assert len(coordinator.grants) == 1


async def test_a_missing_provider_token_is_made_again_and_the_user_key_stays() -> None:
    state = State("operator", "user", "")
    async with Coordinator("user").client() as http:
        await renew_refused_keys(state, http)
    assert state == State("operator", "user", "new-provider-2")


async def test_a_refused_operator_key_is_an_access_error() -> None:
    async with Coordinator(operator_key="another").client() as http:
        with pytest.raises(AccessError):
            await renew_refused_keys(State("operator"), http)


def test_the_keys_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    State("operator", "user", "provider").save(tmp_path)
    assert State.load(tmp_path) == State("operator", "user", "provider")
    assert (tmp_path / STATE_FILE).stat().st_mode & 0o077 == 0


def test_a_damaged_file_of_keys_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text("{")
    with pytest.raises(ConfigurationError):
        State.load(tmp_path)
