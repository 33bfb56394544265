"""A whole coordinator in this process: real sockets, a real SQLite file, an operator's key, providers on demand."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hushnet.coordinator.accounts import Scope
from hushnet.coordinator.accounts.rules import parse_key
from hushnet.coordinator.accounts.service import OPERATOR_ACCOUNT
from hushnet.coordinator.app import Coordinator, build
from hushnet.coordinator.settings import load_settings
from hushnet.foundation.clock import Clock, SystemClock
from hushnet.foundation.ids import ModelId
from hushnet.foundation.redaction import Secret
from hushnet.identity.keys import IdentityKey
from hushnet.provider.daemon import Provider
from hushnet.provider.engines.base import Engine, ModelSpec
from hushnet.provider.link.locate import Place
from hushnet.provider.settings import ProviderSettings
from support.scripted_engine import ScriptedEngine
from support.sqlite import migrated_database

MODEL = ModelId("org/scripted:1")


@dataclass
class Account:
    """An account with a key of each kind that it needs, and clients that send them."""

    id: int
    key: str
    key_id: str
    http: httpx.AsyncClient


class Network:
    """A running coordinator and its operator."""

    def __init__(self, coordinator: Coordinator, operator_key: str) -> None:
        self.coordinator = coordinator
        self.operator_key = operator_key
        self._clients: list[httpx.AsyncClient] = []
        self.public = self.client("")
        self.operator = self.client(operator_key)

    def client(self, key: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        client = httpx.AsyncClient(base_url=self.coordinator.base_url, headers=headers, timeout=60)
        self._clients.append(client)
        return client

    async def second_operator(self) -> httpx.AsyncClient:
        """Make another operator's key, as `hush coordinator keys create` does, and a client that sends it."""
        owner, _ = await self.coordinator.accounts.create_account(OPERATOR_ACCOUNT)
        made = await self.coordinator.accounts.create_key(owner.id, Scope.OPERATOR, "second")
        return self.client(made.text.reveal())

    async def account(self, name: str, *, credit_usd: str = "", scope: str = "user") -> Account:
        """Make an account through the admin interface."""
        made = await self.operator.post("/v1/admin/accounts", json={"name": name})
        account_id = made.json()["account_id"]
        if credit_usd:
            grant = {"amount_usd": credit_usd, "grant_id": f"credit-{name}"}
            assert (await self.operator.post(f"/v1/admin/accounts/{account_id}/grants", json=grant)).status_code == 201
        key = await self.operator.post(f"/v1/admin/accounts/{account_id}/keys", json={"scope": scope, "name": "test"})
        return Account(account_id, key.json()["key"], key.json()["id"], self.client(key.json()["key"]))

    @asynccontextmanager
    async def provider(
        self,
        home: Path,
        token: str,
        *,
        make_engine: Callable[[], Engine] = ScriptedEngine,
        model: ModelId = MODEL,
        specs: Sequence[ModelSpec] = (),
        engine_of: Callable[[ModelSpec], Engine] | None = None,
        **settings: Any,
    ) -> AsyncIterator[str]:
        """Run a provider of ours against this coordinator; yields its id."""
        identity = IdentityKey.generate()
        provider = Provider(
            ProviderSettings(home=home, token=Secret(token), **settings),
            identity=identity,
            specs=specs or [ModelSpec(model=model, engine="scripted")],
            place=Place(self.coordinator.link_url, self.coordinator.settings.network),
            make_engine=engine_of or (lambda _: make_engine()),
        )
        task = asyncio.create_task(provider.run())
        try:
            yield identity.provider_id
        finally:
            provider.stop()
            provider.stop()
            await asyncio.wait((task,), timeout=60)
            if task.done() and not task.cancelled():
                task.exception()

    async def until(self, path: str, status: int = 200, *, tries: int = 4000) -> httpx.Response:
        """Ask until the answer has that status."""
        for _ in range(tries):
            answer = await self.public.get(path)
            if answer.status_code == status:
                return answer
            await asyncio.sleep(0.01)
        raise AssertionError(f"{path} never answered {status}, last {answer.status_code}: {answer.text}")

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def network(
    home: Path, *, clock: Clock | None = None, is_fresh: bool = True, **settings: Any
) -> AsyncIterator[Network]:
    """Start a coordinator in `home` on free ports; `settings` are names with `__` for dots."""
    if is_fresh:
        shutil.copy(await asyncio.to_thread(migrated_database), home / "coordinator.db")
    flags = {"home": home, "http.port": 0, "link.port": 0, "http.drain_s_max": 0.5}
    flags |= {name.replace("__", "."): value for name, value in settings.items()}
    coordinator = await build(load_settings(flags=flags), clock or SystemClock())
    try:
        await coordinator.start()
        owner, _ = await coordinator.accounts.create_account(OPERATOR_ACCOUNT)
        made = await coordinator.accounts.create_key(owner.id, Scope.OPERATOR, "test")
        found = Network(coordinator, made.text.reveal())
        try:
            yield found
        finally:
            await found.aclose()
    finally:
        await coordinator.aclose()


def secret_of(key: str) -> str:
    """Return the secret part of a key's text, which may itself contain what separates the parts."""
    parsed = parse_key(key)
    assert parsed is not None
    return parsed.secret.reveal()
