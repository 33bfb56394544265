"""The mesh: a Unix socket between every two workers of a coordinator.

Each worker listens at a socket of its own in a folder that only its user may enter, and dials every worker with a smaller
number; a connection that ends is dialled again for ever. Whoever says hello as a worker that is connected already takes
its place: it was started again, and the end of the old connection is still on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

from hushnet.coordinator.bus.frames import AnyFrame
from hushnet.coordinator.bus.limits import MeshLimits
from hushnet.coordinator.bus.peer import Peer
from hushnet.foundation.tasks import TaskSet

_LOG = logging.getLogger(__name__)


class MeshListener(Protocol):
    """Who hears what the mesh brings, in order, on the event loop."""

    def peer_joined(self, peer: Peer) -> None: ...

    def peer_lost(self, peer: Peer) -> None:
        """The peer is gone; nothing comes from it any more. Once for every `peer_joined`."""
        ...

    def frame_arrived(self, peer: Peer, frame: AnyFrame) -> None: ...


class Mesh:
    """This worker's connections; `start` once, `aclose` once."""

    def __init__(
        self,
        folder: Path,
        *,
        worker: int,
        count: int,
        network: str,
        listener: MeshListener,
        limits: MeshLimits | None = None,
    ) -> None:
        self.worker = worker
        self.count = count
        self.network = network
        self.limits = limits or MeshLimits()
        self._folder = folder
        self._listener = listener
        self._peers: dict[int, Peer] = {}
        self._strangers: set[Peer] = set()
        self._server: asyncio.Server | None = None
        self._tasks = TaskSet()
        self._changed = asyncio.Event()
        self._is_closing = False

    @property
    def peers(self) -> Iterable[Peer]:
        """The workers that are connected now."""
        return tuple(self._peers.values())

    def peer(self, worker: int) -> Peer | None:
        return self._peers.get(worker)

    def send(self, frame: AnyFrame) -> None:
        """Send to every worker that is connected."""
        for peer in self._peers.values():
            peer.send(frame)

    async def start(self) -> None:
        """Listen, and begin to dial."""
        path = self._path_of(self.worker)
        path.unlink(missing_ok=True)
        self._server = await asyncio.get_running_loop().create_unix_server(self._accepted, str(path))
        for number in range(1, self.worker):
            self._tasks.spawn(self._dial(number), name=f"mesh-dial-{number}")
        self._tasks.spawn(self._beat(), name="mesh-beat")

    async def complete(self, *, timeout_s: float) -> bool:
        """Wait until every worker is connected, at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(self._peers) < self.count - 1:
                    self._changed.clear()
                    await self._changed.wait()
        return len(self._peers) == self.count - 1

    async def changed(self) -> None:
        """Wait until a worker came, went, or said that it has drained."""
        self._changed.clear()
        await self._changed.wait()

    async def aclose(self) -> None:
        """Stop listening and end every connection."""
        self._is_closing = True
        await self._tasks.aclose()
        if self._server is not None:
            self._server.close()
        for peer in (*self._peers.values(), *self._strangers):
            peer.drop("")
        if self._server is not None:
            await self._server.wait_closed()

    # What peers say.

    def greeted(self, peer: Peer) -> None:
        self._strangers.discard(peer)
        old = self._peers.get(peer.worker)
        if old is not None:
            old.drop("replaced")
        self._peers[peer.worker] = peer
        _LOG.info("worker joined", extra={"peer": peer.worker})
        self._listener.peer_joined(peer)
        self._changed.set()

    def arrived(self, peer: Peer, frame: AnyFrame) -> None:
        try:
            self._listener.frame_arrived(peer, frame)
        except Exception as error:
            _LOG.error("a frame of the mesh was not understood", extra={"error": type(error).__name__})
            peer.drop("bad_frame")

    def lost(self, peer: Peer) -> None:
        self._strangers.discard(peer)
        if self._peers.get(peer.worker) is not peer:
            return
        del self._peers[peer.worker]
        if not self._is_closing:
            _LOG.warning("worker lost", extra={"peer": peer.worker})
        self._listener.peer_lost(peer)
        self._changed.set()

    def note_drained(self, peer: Peer) -> None:
        peer.is_drained = True
        self._changed.set()

    # Connecting.

    def _accepted(self) -> Peer:
        peer = Peer(self, self.limits)
        self._strangers.add(peer)
        if len(self._strangers) > self.limits.strangers_max:
            asyncio.get_running_loop().call_soon(peer.drop, "too_many")
        return peer

    async def _dial(self, number: int) -> None:
        loop, wait_s = asyncio.get_running_loop(), self.limits.redial_s_min
        while True:
            peer = self._accepted()
            try:
                await loop.create_unix_connection(partial(_same, peer), str(self._path_of(number)))
                began_s = loop.time()
                await peer.gone.wait()
                is_steady = loop.time() - began_s > self.limits.redial_s_max
            except OSError:
                peer.drop("")  # it never hears of a connection that was not made
                is_steady = False
            wait_s = self.limits.redial_s_min if is_steady else min(wait_s * 2, self.limits.redial_s_max)
            await asyncio.sleep(wait_s)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.limits.beat_s)
            for peer in self.peers:
                peer.beat()

    def _path_of(self, number: int) -> Path:
        return self._folder / f"{number}.sock"


def _same(peer: Peer) -> Peer:
    return peer
