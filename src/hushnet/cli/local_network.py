"""The processes and the demo account behind `hush up`."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from hushnet.cli import console
from hushnet.cli.processes import Child
from hushnet.foundation.errors import AccessError, ConfigurationError, StorageError
from hushnet.foundation.home import write_private_file
from hushnet.foundation.redaction import Secret
from hushnet.sdk import settings as consumer
from hushnet.sdk.errors import error_of

COORDINATOR_READY_S_MAX: Final = 60.0
PROVIDER_READY_S_MAX: Final = 3600.0
RESTARTS_MAX: Final = 5
DRAIN_S: Final = 8
"""Running requests may finish for this long: less than what `processes.Child.stop` waits before it kills."""
DEMO_CREDIT_USD: Final = "5.00"
STATE_FILE: Final = "up.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    home: Path
    port: int
    model: str | None
    slots: int
    is_quiet: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """A network that serves: what a person or a script needs to use it."""

    base_url: str
    api_key: str
    model: str
    provider_id: str
    trust: str

    def to_json_object(self) -> dict[str, str]:
        return asdict(self)


@dataclass(slots=True)
class State:
    """The keys of the demo network, kept 0600 in the home so that a restart finds the same accounts."""

    operator_key: str = ""
    api_key: str = ""
    provider_token: str = ""

    @classmethod
    def load(cls, home: Path) -> State:
        try:
            return cls(**json.loads((home / STATE_FILE).read_text()))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError):
            raise ConfigurationError(
                f"{home / STATE_FILE} can't be read", hint="mend it, or use another --home"
            ) from None

    def save(self, home: Path) -> None:
        write_private_file(home / STATE_FILE, json.dumps(asdict(self)).encode())


@dataclass(slots=True)
class LocalNetwork:
    """A coordinator and a provider as child processes; leaving the context stops them in order."""

    plan: Plan
    _state: State = field(default_factory=State)
    _coordinator: Child | None = None
    _provider: Child | None = None
    _base_url: str = ""
    _ports: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        port = self.plan.port
        self._ports = (port, port + 1 if port else 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for child in (self._provider, self._coordinator):
            if child is not None:
                await child.stop()

    async def start(self) -> Ready:
        """Start everything and return when the model answers for the demo account."""
        self._state = State.load(self.plan.home)
        await self._start_coordinator()
        await self._make_accounts()
        provider = await self._start_provider()
        return await self._ready(provider["provider_id"], provider["model"])

    async def watch(self) -> None:
        """Restart what dies, at most `RESTARTS_MAX` times; raises `ConfigurationError` when that does not help."""
        for restarts in range(RESTARTS_MAX):
            died = await self._first_death()
            self._say(f"the {died} ended unexpectedly; starting it again")
            await asyncio.sleep(min(0.2 * 2**restarts, 3.0))
            await (self._start_coordinator() if died == "coordinator" else self._start_provider())
        raise ConfigurationError(
            f"the network stopped {RESTARTS_MAX} times",
            code="child_failed",
            hint=f"its logs are in {self.plan.home / 'logs'}",
        )

    async def _first_death(self) -> str:
        children = [child for child in (self._coordinator, self._provider) if child is not None]
        waits = {asyncio.ensure_future(child.wait()): child.name for child in children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return waits[done.pop()]
        finally:
            for wait in waits:
                wait.cancel()

    async def _start_coordinator(self) -> None:
        started = time.perf_counter()
        if not self._state.operator_key:
            self._say("making the database")
            await self._initialise()
        self._say("starting the coordinator")
        port, link_port = self._ports
        arguments = ["coordinator", "serve", "--home", str(self.plan.home), "--json"]
        arguments += ["--port", str(port), "--link-port", str(link_port), "--set", f"http.drain_s_max={DRAIN_S}"]
        self._coordinator = await Child.start("coordinator", arguments, log=self._log("coordinator"))
        ready = await self._coordinator.ready(timeout_s=COORDINATOR_READY_S_MAX)
        self._base_url = ready["base_url"]
        self._ports = (urlsplit(ready["base_url"]).port or 0, urlsplit(ready["link_url"]).port or 0)
        self._say(f"coordinator at {self._base_url} ({time.perf_counter() - started:.1f} s)")

    async def _initialise(self) -> None:
        child = await Child.start(
            "coordinator", ("coordinator", "init", "--home", str(self.plan.home), "--json"), log=self._log("init")
        )
        made = await child.ready(timeout_s=COORDINATOR_READY_S_MAX)
        await child.wait()
        if not made.get("operator_key"):
            raise StorageError(
                "this home has a coordinator whose operator key is not here",
                code="operator_key_missing",
                hint="use another --home, or run `hush coordinator serve` with it",
            )
        self._state.operator_key = made["operator_key"]
        self._state.save(self.plan.home)

    async def _make_accounts(self) -> None:
        if self._state.api_key and self._state.provider_token:
            consumer.store(self._consumer())
            return
        self._say(f"making the demo account with ${DEMO_CREDIT_USD} of credit")
        headers = {"Authorization": f"Bearer {self._state.operator_key}"}
        async with httpx.AsyncClient(base_url=self._base_url, headers=headers, timeout=30) as http:
            demo = await self._post(http, "/v1/admin/accounts", {"name": "demo"})
            earner = await self._post(http, "/v1/admin/accounts", {"name": "demo-provider"})
            grants = f"/v1/admin/accounts/{demo['account_id']}/grants"
            await self._post(http, grants, {"amount_usd": DEMO_CREDIT_USD, "grant_id": "hush-up-demo"})
            self._state.api_key = await self._key(http, demo["account_id"], "user")
            self._state.provider_token = await self._key(http, earner["account_id"], "provider")
        self._state.save(self.plan.home)
        consumer.store(self._consumer())

    async def _key(self, http: httpx.AsyncClient, account_id: int, scope: str) -> str:
        made = await self._post(http, f"/v1/admin/accounts/{account_id}/keys", {"scope": scope, "name": "hush up"})
        return str(made["key"])

    async def _start_provider(self) -> dict[str, Any]:
        started = time.perf_counter()
        self._say(f"starting the provider with {self.plan.model or 'the built-in model'}")
        arguments = ["provider", "start", "--home", str(self.plan.home), "--coordinator", self._base_url, "--json"]
        arguments += ["--slots", str(self.plan.slots), "--drain-s", str(DRAIN_S)]
        if self.plan.model:
            arguments += ["--model", self.plan.model]
        token = {"HUSH_PROVIDER_TOKEN": self._state.provider_token}
        shows_progress = (self.plan.model or "").startswith("hf:") and not self.plan.is_quiet
        log = None if shows_progress else self._log("provider")
        self._provider = await Child.start("provider", arguments, log=log, env=token)
        ready = await self._provider.ready(timeout_s=PROVIDER_READY_S_MAX)
        self._say(
            f"provider {ready['provider_id'][:16]} serves {ready['model']} ({time.perf_counter() - started:.1f} s)"
        )
        return ready

    async def _ready(self, provider_id: str, model: str) -> Ready:
        headers = {"Authorization": f"Bearer {self._state.api_key}"}
        async with httpx.AsyncClient(base_url=self._base_url, headers=headers, timeout=30) as http:
            found = (await http.get(f"/v1/models/{model}")).json()
            balance = await http.get("/v1/balance")
        if balance.status_code == 401:
            raise AccessError(
                "the demo key of this home is revoked",
                code="invalid_api_key",
                hint=f"remove {self.plan.home / STATE_FILE}",
            )
        return Ready(self._base_url, self._state.api_key, model, provider_id, str(found.get("trust", "none")))

    async def _post(self, http: httpx.AsyncClient, path: str, document: dict[str, str]) -> dict[str, Any]:
        response = await http.post(path, json=document)
        if not response.is_success:
            raise error_of(response.status_code, response.content)
        made: dict[str, Any] = response.json()
        return made

    def _consumer(self) -> consumer.ConsumerSettings:
        return consumer.ConsumerSettings(
            self._base_url, Secret(self._state.api_key), consumer.LOCAL_NETWORK, self.plan.home
        )

    def _log(self, name: str) -> Path:
        return self.plan.home / "logs" / f"{name}.log"

    def _say(self, text: str) -> None:
        if not self.plan.is_quiet:
            console.err().print(f"[dim]up:[/] {text}")
