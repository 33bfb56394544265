"""A coordinator of several workers in real processes on a real Postgres, and connections to a worker of one's choice."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from support.network import Network, network
from support.waiting import eventually

WORKER = "hushnet-worker"
TRIES_MAX = 200


@contextmanager
def workers(home: Path, database: str, *, count: int = 2) -> Iterator[Network]:
    """Run a coordinator of `count` workers, with a consumer and an account that earns."""
    with network(home, env={"HUSH_DATABASE": database, "HUSH_WORKERS": str(count)}) as made:
        yield made


@contextmanager
def connected_to(running: Network, worker: int, *, key: str | None = None) -> Iterator[httpx.Client]:
    """Open a client whose one connection has landed on that worker."""
    for _ in range(TRIES_MAX):
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        headers = {"authorization": f"Bearer {key or running.api_key}"}
        with httpx.Client(base_url=running.base_url, timeout=60, limits=limits, headers=headers) as client:
            if client.get("/readyz").headers.get(WORKER) == str(worker):
                yield client
                return
    raise AssertionError(f"no connection landed on worker {worker}")


def metric(running: Network, name: str) -> dict[int, float]:
    """Return a gauge of every worker, as any worker shows it."""
    page = httpx.get(f"{running.base_url}/metrics").text
    found = re.findall(rf'^{name}{{worker="(\d+)"}} (\S+)$', page, re.MULTILINE)
    return {int(worker): float(value) for worker, value in found}


def worker_of_provider(running: Network) -> int:
    """Wait until exactly one worker has a provider's socket and every worker knows of the provider; return its number."""

    def found() -> int | None:
        holders = [worker for worker, links in metric(running, "hush_providers_connected").items() if links]
        return holders[0] if len(holders) == 1 else None

    holder = eventually(found, what="a provider on one worker")
    for worker in metric(running, "hush_providers_connected"):
        with connected_to(running, worker) as client:
            eventually(
                lambda client=client: len(client.get("/v1/sealing/providers").json()["providers"]) == 1 or None,
                what="the news of a provider",
            )
    return holder


def other(worker: int) -> int:
    """Return the other one of two."""
    return 3 - worker


def pids(running: Network) -> dict[int, int]:
    """Return the processes of the workers by number."""
    assert running.coordinator
    children = Path(f"/proc/{running.coordinator.pid}/task/{running.coordinator.pid}/children").read_text().split()
    found = {}
    for pid in children:
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command[-3:-2] == [b"worker"]:
                found[int(command[-2])] = int(pid)
    return found


def kill(running: Network, worker: int) -> None:
    """kill -9 a worker."""
    os.kill(pids(running)[worker], signal.SIGKILL)


def both_serve(running: Network, *, but: int = 0) -> bool:
    """Say whether two workers are there, none of them the process `but`, and know each other."""
    found = pids(running)
    if len(found) != 2 or but in found.values():
        return False
    return list(metric(running, "hush_workers_connected").values()) == [1.0, 1.0]
