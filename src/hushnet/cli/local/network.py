"""The processes and the demo account behind `hush up`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from hushnet.cli import console
from hushnet.cli.local.accounts import State, renew_refused_keys
from hushnet.cli.local.processes import Child
from hushnet.foundation.errors import AccessError, ConfigurationError, StorageError
from hushnet.foundation.redaction import Secret
from hushnet.sdk import settings as consumer

COORDINATOR_READY_S_MAX: Final = 60.0
PROVIDER_READY_S_MAX: Final = 3600.0
RESTARTS_MAX: Final = 5
HEALTHY_S_MIN: Final = 60.0
"""A network that ran for this long since its last restart has recovered: its restarts are forgotten."""
DRAIN_S: Final = 8
"""Running requests may finish for this long: less than what `processes.Child.stop` waits before it kills."""


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
class Restarts:
    """The restarts since the network was last healthy for `HEALTHY_S_MIN`."""

    count: int = 0
    healthy_since_s: float = 0.0

    def delay_s(self, now_s: float) -> float | None:
        """Count a process that ended at `now_s` (monotonic); return how long to wait, or None when to give up."""
        if now_s - self.healthy_since_s >= HEALTHY_S_MIN:
            self.count = 0
        if self.count == RESTARTS_MAX:
            return None
        self.count += 1
        return min(0.2 * (1 << (self.count - 1)), 3.0)


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
        try:
            await self._check_accounts()
        except AccessError:
            await self._replace_operator_key()
            await self._check_accounts()
        provider = await self._start_provider()
        return await self._ready(provider["provider_id"], provider["model"])

    async def watch(self) -> None:
        """Restart what dies; raises `ConfigurationError` when `RESTARTS_MAX` restarts in a row did not help."""
        restarts = Restarts()
        while True:
            died = await self._first_death()
            delay_s = restarts.delay_s(time.monotonic())
            if delay_s is None:
                break
            self._say(f"the {died} ended unexpectedly; starting it again")
            await asyncio.sleep(delay_s)
            await (self._start_coordinator() if died == "coordinator" else self._start_provider())
            restarts.healthy_since_s = time.monotonic()
        raise ConfigurationError(
            f"the {died} ended again after {RESTARTS_MAX} restarts",
            code="child_failed",
            hint=f"its log is {self._log(died)}",
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
        """Make the database and the operator's key; a home whose operator's key is lost gets a new one."""
        key = await self._init()
        if not key:
            self._say("the operator's key of this home is not here: revoking it and making a new one")
            key = await self._init("--new-key")
        if not key:
            raise StorageError("`hush coordinator init` made no operator's key", code="operator_key_missing")
        self._state.operator_key = key
        self._state.save(self.plan.home)

    async def _init(self, *options: str) -> str | None:
        arguments = ("coordinator", "init", "--home", str(self.plan.home), "--json", *options)
        child = await Child.start("coordinator", arguments, log=self._log("init"))
        made = await child.ready(timeout_s=COORDINATOR_READY_S_MAX)
        await child.wait()
        key: str | None = made.get("operator_key")
        return key

    async def _replace_operator_key(self) -> None:
        self._say("the coordinator refuses the operator's key of this home: making a new one")
        if self._coordinator is not None:
            await self._coordinator.stop()
        self._state.operator_key = await self._init("--new-key") or ""
        self._state.save(self.plan.home)
        await self._start_coordinator()

    async def _check_accounts(self) -> None:
        async with httpx.AsyncClient(base_url=self._base_url, timeout=30) as http:
            made = await renew_refused_keys(self._state, http)
        for what in made:
            self._say(f"made {what}")
        if made:
            self._state.save(self.plan.home)
        consumer.store(self._consumer())

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
        return Ready(self._base_url, self._state.api_key, model, provider_id, str(found.get("trust", "none")))

    def _consumer(self) -> consumer.ConsumerSettings:
        return consumer.ConsumerSettings(
            self._base_url, Secret(self._state.api_key), consumer.LOCAL_NETWORK, self.plan.home
        )

    def _log(self, name: str) -> Path:
        return self.plan.home / "logs" / f"{name}.log"

    def _say(self, text: str) -> None:
        if not self.plan.is_quiet:
            console.err().print(f"[dim]up:[/] {text}")
