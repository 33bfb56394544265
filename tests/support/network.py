"""Whole networks of real processes for end-to-end tests: what `hush up` starts, and its pieces one by one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

HUSH = (sys.executable, "-m", "hushnet")
READY_S_MAX = 60.0


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without any HUSH_ setting but the home."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HUSH_")}
    return {**plain, "HUSH_HOME": str(home), **(extra or {})}


def hush(
    home: Path, *arguments: str, stdin: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one `hush` command to its end."""
    return subprocess.run(
        [*HUSH, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(home, env),
        check=False,
    )


class Process:
    """A long-running `hush` command that printed its ready line."""

    def __init__(self, home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.log = home / f"{'-'.join(arguments[:2])}.{id(self)}.log"
        with self.log.open("wb") as sink:
            self._process = subprocess.Popen(
                [*HUSH, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                env=environment(home, env),
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise AssertionError(f"{arguments} ended before it was ready: {self.log.read_text()[-2000:]}")
        self.ready: dict[str, Any] = json.loads(line)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.kill()
        self.wait()

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait until it has ended by itself; return the exit status."""
        status = self._process.wait(timeout_s)
        if self._process.stdout:
            self._process.stdout.close()
        return status

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            if self._process.poll() is None:
                self.kill()


@dataclass
class Network:
    """A coordinator with accounts, and as many providers as a test starts."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    operator_key: str = ""
    account_id: int = 0
    api_key: str = ""
    provider_account_id: int = 0
    provider_token: str = ""
    coordinator: Process | None = None
    providers: list[Process] = field(default_factory=list)
    _ports: tuple[int, int] = (0, 0)

    @property
    def base_url(self) -> str:
        assert self.coordinator
        url: str = self.coordinator.ready["base_url"]
        return url

    def start_coordinator(self, *, env: Mapping[str, str] | None = None) -> Process:
        """Start (again) the coordinator on this home; a restart takes the same ports."""
        if not self.operator_key:
            made = hush(self.home, "coordinator", "init", "--json", env=self.env)
            assert made.returncode == 0, made.stderr
            self.operator_key = json.loads(made.stdout)["operator_key"]
        port, link_port = self._ports
        arguments = ("coordinator", "serve", "--json", "--port", str(port), "--link-port", str(link_port))
        self.coordinator = Process(self.home, *arguments, env={**self.env, **(env or {})})
        ready = self.coordinator.ready
        self._ports = (httpx.URL(ready["base_url"]).port or 0, httpx.URL(ready["link_url"]).port or 0)
        return self.coordinator

    def make_accounts(self, credit_usd: str = "5.00") -> None:
        """Make a consumer with credit and an account that earns."""
        self.account_id = self.admin("POST", "/v1/admin/accounts", {"name": "consumer"})["account_id"]
        self.provider_account_id = self.admin("POST", "/v1/admin/accounts", {"name": "earner"})["account_id"]
        if credit_usd != "0":
            grants = f"/v1/admin/accounts/{self.account_id}/grants"
            self.admin("POST", grants, {"amount_usd": credit_usd, "grant_id": "test"})
        self.api_key = self.make_key(self.account_id, "user")
        self.provider_token = self.make_key(self.provider_account_id, "provider")

    def make_key(self, account_id: int, scope: str) -> str:
        key: str = self.admin("POST", f"/v1/admin/accounts/{account_id}/keys", {"scope": scope, "name": "test"})["key"]
        return key

    def admin(self, method: str, path: str, document: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.operator_key}"}
        response = httpx.request(method, self.base_url + path, json=document, headers=headers, timeout=60)
        assert response.is_success, response.text
        return response.json()

    def start_provider(
        self, model: str = "hush-tiny", *, name: str = "one", slots: int = 4, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start a provider with an identity of its own, in its own folder of the home."""
        home = self.home / f"provider-{name}"
        home.mkdir(exist_ok=True)
        arguments = (
            "provider",
            "start",
            "--json",
            "--coordinator",
            self.base_url,
            "--model",
            model,
            "--slots",
            str(slots),
        )
        token = {"HUSH_PROVIDER_TOKEN": self.provider_token}
        provider = Process(home, *arguments, env={**self.env, **token, **(env or {})})
        self.providers.append(provider)
        return provider

    def client(self, **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60, **options)

    def balance(self) -> dict[str, int]:
        with self.client() as http:
            balance: dict[str, int] = http.get("/v1/balance").raise_for_status().json()
        return balance

    def check_books(self) -> list[Any]:
        """Run `hush ledger check` beside whatever runs; return its findings."""
        checked = hush(self.home, "ledger", "check", "--json", env=self.env)
        findings: list[Any] = json.loads(checked.stdout)["findings"]
        assert (checked.returncode == 0) == (not findings), checked.stderr
        return findings

    def stop(self) -> None:
        for process in (*self.providers, self.coordinator):
            if process is not None:
                process.stop()


@contextmanager
def network(home: Path, *, credit_usd: str = "5.00", env: Mapping[str, str] | None = None) -> Iterator[Network]:
    """Run a coordinator with two accounts for the duration of the block."""
    made = Network(home, dict(env or {}))
    try:
        made.start_coordinator()
        made.make_accounts(credit_usd)
        yield made
    finally:
        made.stop()
