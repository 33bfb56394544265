"""Two coordinators' serving sides in one process, joined by a real mesh of Unix sockets."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hushnet.coordinator.bus import MeshLimits, WorkerBus
from hushnet.foundation.ids import AccountId, ApiKeyId, ProviderId
from support.fleet import NETWORK, Network, ScriptedProvider
from support.mesh import QUICK, folder, until


@dataclass
class Heard:
    """`bus.News` that writes down what it hears."""

    keys: list[tuple[AccountId, ApiKeyId | None, bool]] = field(default_factory=list)
    suspensions: list[tuple[ProviderId, str | None]] = field(default_factory=list)
    prices: int = 0

    def keys_changed(self, account_id: AccountId, key_id: ApiKeyId | None, *, is_barred: bool) -> None:
        self.keys.append((account_id, key_id, is_barred))

    def provider_barred(self, provider_id: ProviderId, reason: str | None) -> None:
        self.suspensions.append((provider_id, reason))

    async def prices_changed(self) -> None:
        self.prices += 1


@dataclass
class Worker:
    """One of them."""

    network: Network
    bus: WorkerBus
    news: Heard

    async def knows(self, provider: ScriptedProvider, *, is_elsewhere: bool = True) -> None:
        """Wait until this worker's fleet has the provider."""

        def is_there() -> bool:
            live = self.network.serving.fleet.get(provider.provider_id)
            return live is not None and live.is_elsewhere is is_elsewhere

        await until(is_there)

    async def misses(self, provider: ScriptedProvider) -> None:
        """Wait until this worker's fleet has the provider no more."""
        await until(lambda: self.network.serving.fleet.get(provider.provider_id) is None)


@asynccontextmanager
async def worker_of(
    network: Network, path: Path, number: int, *, limits: MeshLimits = QUICK, count: int = 2
) -> AsyncIterator[Worker]:
    """Join a network's serving side to the mesh in `path`."""
    serving, news = network.serving, Heard()
    bus = WorkerBus(
        path,
        worker=number,
        count=count,
        network=NETWORK,
        fleet=serving.fleet,
        trust=serving.trust,
        serials=serving.gate.serials,
        clock=network.clock,
        render=lambda: b"# HELP a b\n# TYPE a gauge\na %d\n" % number,
        news=news,
        limits=limits,
    )
    serving.service.claims = bus.claims
    await bus.mesh.start()
    try:
        yield Worker(network, bus, news)
    finally:
        await bus.aclose()


@asynccontextmanager
async def pair(template: Path, tmp_path: Path, *, limits: MeshLimits = QUICK) -> AsyncIterator[tuple[Worker, Worker]]:
    """Run two workers, each with books of its own, which must balance in the end."""
    async with AsyncExitStack() as stack:
        path = stack.enter_context(folder())
        workers = []
        for number in (1, 2):
            database = tmp_path / f"{number}.db"
            shutil.copyfile(template, database)
            network = await stack.enter_async_context(Network.open(database))
            workers.append(await stack.enter_async_context(worker_of(network, path, number, limits=limits)))
        for worker in workers:
            assert await worker.bus.mesh.complete(timeout_s=60)
        yield workers[0], workers[1]
        for worker in workers:
            await worker.network.settled()  # while the other still is there
