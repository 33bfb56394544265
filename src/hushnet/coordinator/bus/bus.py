"""The bus: what a coordinator process needs of the others, if there are any.

`Alone` is the whole of it for one process: nothing is sent, nothing is asked, nothing is on the path of a request.
`WorkerBus` joins presence, attempts, claims and news over the mesh.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final, Protocol

from hushnet.coordinator.bus import frames as fr
from hushnet.coordinator.bus.claims import EnvelopeClaims
from hushnet.coordinator.bus.crossing import Crossing
from hushnet.coordinator.bus.hosting import Host
from hushnet.coordinator.bus.limits import MeshLimits
from hushnet.coordinator.bus.mesh import Mesh
from hushnet.coordinator.bus.peer import Peer
from hushnet.coordinator.bus.presence import Announcer, Neighbours
from hushnet.coordinator.bus.scrape import merged
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.trust.challenges import ChallengeBook
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, ApiKeyId, ProviderId
from hushnet.foundation.tasks import TaskSet
from hushnet.sealing.statements import SerialMemory

_LOG = logging.getLogger(__name__)

JOIN_S_MAX: Final = 10.0
"""How long a worker waits for the others before it serves without them; they join whenever they come."""
TICK_S: Final = 1.0


class News(Protocol):
    """Who hears what an operator or owner has changed on another worker."""

    def keys_changed(self, account_id: AccountId, key_id: ApiKeyId | None, *, is_barred: bool) -> None: ...

    def provider_barred(self, provider_id: ProviderId, reason: str | None) -> None: ...

    async def prices_changed(self) -> None: ...

    def budgets_changed(self, account_id: AccountId) -> None: ...


class Bus(Protocol):
    """The other workers, as the rest of the coordinator sees them; `start` once, `aclose` once."""

    @property
    def worker(self) -> int:
        """This worker's number from 1, 0 where there is only one process."""
        ...

    async def start(self) -> None:
        """Join the others; raises `OSError` when the socket can't be had."""
        ...

    async def tell(self, make: Callable[[int], fr.Question]) -> None:
        """Tell every worker, and wait until each has acted on it, is gone, or is too slow to be waited for."""
        ...

    async def metrics(self, page: bytes) -> bytes:
        """Return this worker's page of metrics joined with those of the others."""
        ...

    async def drain(self, seconds: float) -> None:
        """Wait, once this worker has no requests left, until the others need its providers no more."""
        ...

    async def aclose(self) -> None: ...


class Alone:
    """The bus of a coordinator that is one process."""

    worker = 0

    async def start(self) -> None: ...

    async def tell(self, make: Callable[[int], fr.Question]) -> None: ...

    async def metrics(self, page: bytes) -> bytes:
        return page

    async def drain(self, seconds: float) -> None: ...

    async def aclose(self) -> None: ...


class WorkerBus:
    """The bus of one worker among several; the mesh's listener."""

    def __init__(
        self,
        folder: Path,
        *,
        worker: int,
        count: int,
        network: str,
        fleet: Fleet,
        trust: ChallengeBook,
        serials: SerialMemory,
        clock: Clock,
        render: Callable[[], bytes],
        news: News,
        limits: MeshLimits | None = None,
    ) -> None:
        self.mesh = Mesh(folder, worker=worker, count=count, network=network, listener=self, limits=limits)
        self.claims = EnvelopeClaims(self.mesh, clock)
        self._limits = self.mesh.limits
        self._fleet = fleet
        self._clock = clock
        self._render = render
        self._news = news
        self._hosts: dict[int, Host] = {}
        self._orphans: list[Host] = []
        """Attempts of workers that are gone, until their providers have freed the slots."""
        self._crossings: dict[int, Crossing] = {}
        self._announcer = Announcer(fleet, trust, self._hosts, lambda: self.mesh.peers)
        self._neighbours = Neighbours(fleet, trust, serials=serials, network=network, clock=clock, worker=worker)
        self._tasks = TaskSet()
        self._is_closing = False

    @property
    def worker(self) -> int:
        return self.mesh.worker

    @property
    def hosted(self) -> int:
        """Attempts of other workers that run at providers of this one."""
        return sum(len(host) for host in (*self._hosts.values(), *self._orphans))

    @property
    def crossing(self) -> int:
        """Attempts of this worker that run at providers of others."""
        return sum(len(crossing) for crossing in self._crossings.values())

    @property
    def connected(self) -> int:
        """Workers that are reached now."""
        return len(tuple(self.mesh.peers))

    async def start(self) -> None:
        await self.mesh.start()
        self._tasks.spawn(self._tick(), name="bus-tick")
        if not await self.mesh.complete(timeout_s=JOIN_S_MAX):
            _LOG.warning("serving before every worker has joined")

    async def tell(self, make: Callable[[int], fr.Question]) -> None:
        await asyncio.gather(*(peer.ask(make) for peer in self.mesh.peers))

    async def metrics(self, page: bytes) -> bytes:
        peers = tuple(self.mesh.peers)
        answers = await asyncio.gather(*(peer.ask(fr.Scrape) for peer in peers))
        others = {peer.worker: answer.text for peer, answer in zip(peers, answers, strict=True) if answer is not None}
        return merged({self.worker: page, **others})

    async def drain(self, seconds: float) -> None:
        self.mesh.send(fr.Drained())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not all(peer.is_drained for peer in self.mesh.peers):
                    await self.mesh.changed()

    async def aclose(self) -> None:
        self._is_closing = True
        await self._tasks.aclose()
        await self.mesh.aclose()

    # The mesh's listener.

    def peer_joined(self, peer: Peer) -> None:
        self._hosts[peer.worker] = Host(peer, self._fleet, self._clock, self._limits)
        self._crossings[peer.worker] = Crossing(peer, self._limits)
        self._announcer.greet(peer)
        self._hand_over()

    def peer_lost(self, peer: Peer) -> None:
        host, crossing = self._hosts.pop(peer.worker), self._crossings.pop(peer.worker)
        # First no request may be routed there any more; then those that are there look for another place.
        self._neighbours.lose(peer.worker)
        crossing.lose()
        host.lose()
        if len(host):
            self._orphans.append(host)
        self._hand_over()

    def _hand_over(self) -> None:
        if not self._is_closing:
            self._tasks.spawn(self.claims.hand_over(), name="bus-claims")

    def frame_arrived(self, peer: Peer, frame: fr.AnyFrame) -> None:
        match frame:
            case fr.Records():
                self._crossings[peer.worker].records(frame)
            case fr.Refused():
                self._crossings[peer.worker].refused(frame.number, frame.code)
            case fr.Finished():
                self._crossings[peer.worker].finished(frame.number)
            case fr.Lost():
                self._crossings[peer.worker].link_lost(frame.number)
            case fr.Dispatch() | fr.Cancel() | fr.Grant() | fr.CloseLink():
                self._hosted(self._hosts[peer.worker], frame)
            case fr.Present():
                self._neighbours.present(self._crossings[peer.worker], frame)
            case fr.Told():
                self._neighbours.told(peer.worker, frame)
            case fr.Left():
                self._neighbours.left(peer.worker, frame)
            case fr.Drained():
                self.mesh.note_drained(peer)
            case _:
                self._asked(peer, frame)

    def _hosted(self, host: Host, frame: fr.Dispatch | fr.Cancel | fr.Grant | fr.CloseLink) -> None:
        match frame:
            case fr.Dispatch():
                host.dispatch(frame)
            case fr.Cancel():
                host.cancel(frame.number, frame.code)
            case fr.Grant():
                host.grant(frame.number, frame.bytes_)
            case fr.CloseLink():
                host.close_link(frame)

    def _asked(self, peer: Peer, frame: fr.AnyFrame) -> None:
        match frame:
            case fr.ClaimEnvelopes():
                peer.send_now(fr.Answer(frame.ask, self.claims.take(frame.claims)))
            case fr.KeysChanged():
                key_id = None if frame.key_id is None else ApiKeyId(frame.key_id)
                self._news.keys_changed(AccountId(frame.account_id), key_id, is_barred=frame.is_barred)
                peer.send_now(fr.Answer(frame.ask, is_yes=True))
            case fr.ProviderBarred():
                self._news.provider_barred(ProviderId(frame.provider_id), frame.reason)
                peer.send_now(fr.Answer(frame.ask, is_yes=True))
            case fr.BudgetsChanged():
                self._news.budgets_changed(AccountId(frame.account_id))
                peer.send_now(fr.Answer(frame.ask, is_yes=True))
            case fr.PricesChanged() if not self._is_closing:
                self._tasks.spawn(self._answer_after(peer, frame.ask, self._news.prices_changed()), name="bus-prices")
            case fr.Scrape():
                peer.send_now(fr.Answer(frame.ask, is_yes=True, text=self._render()))

    async def _answer_after(self, peer: Peer, ask: int, work: Coroutine[None, None, None]) -> None:
        await work
        peer.send_now(fr.Answer(ask, is_yes=True))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for host in (*self._hosts.values(), *self._orphans):
                host.tick()
            self._orphans = [host for host in self._orphans if len(host)]
