"""Meshes for tests: a listener that writes down what it hears, and a peer that obeys no rule."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from hushnet.coordinator.bus.frames import MESH_VERSION, AnyFrame, Hello, decode, encode
from hushnet.coordinator.bus.framing import framed
from hushnet.coordinator.bus.limits import MeshLimits
from hushnet.coordinator.bus.mesh import Mesh
from hushnet.coordinator.bus.peer import Peer

NETWORK = "hushnet-test"
QUICK = MeshLimits(redial_s_min=0.001, redial_s_max=0.002)
SECONDS_MAX = 60.0


@contextmanager
def folder() -> Iterator[Path]:
    """A private folder with a short name: a socket's path has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="hush-bus-") as name:
        yield Path(name)


class Listener:
    """Writes down what a mesh brings."""

    def __init__(self) -> None:
        self.joined: list[Peer] = []
        self.lost: list[Peer] = []
        self.frames: list[AnyFrame] = []
        self.react: Callable[[Peer, AnyFrame], None] | None = None

    def peer_joined(self, peer: Peer) -> None:
        self.joined.append(peer)

    def peer_lost(self, peer: Peer) -> None:
        self.lost.append(peer)

    def frame_arrived(self, peer: Peer, frame: AnyFrame) -> None:
        self.frames.append(frame)
        if self.react is not None:
            self.react(peer, frame)


@asynccontextmanager
async def worker(
    path: Path, number: int, *, count: int = 2, limits: MeshLimits = QUICK, network: str = NETWORK
) -> AsyncIterator[tuple[Mesh, Listener]]:
    """Run the mesh of one worker."""
    listener = Listener()
    mesh = Mesh(path, worker=number, count=count, network=network, listener=listener, limits=limits)
    await mesh.start()
    try:
        yield mesh, listener
    finally:
        await mesh.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is true."""
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.001)


class RawPeer:
    """A connection to a worker that says what a test tells it to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def dial(cls, path: Path, to: int, *, as_worker: int | None = None) -> RawPeer:
        reader, writer = await asyncio.open_unix_connection(str(path / f"{to}.sock"), limit=2**26)
        peer = cls(reader, writer)
        if as_worker is not None:
            peer.say(Hello(MESH_VERSION, as_worker, NETWORK))
        return peer

    def say(self, *frames: msgspec.Struct) -> None:
        self.writer.write(b"".join(framed(encode(frame)) for frame in frames))

    async def hear(self) -> AnyFrame:
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        return decode(await self.reader.readexactly(size))

    async def is_hung_up(self) -> bool:
        """Read on until the other end closes."""
        async with asyncio.timeout(SECONDS_MAX):
            try:
                while await self.reader.read(2**16):
                    pass
            except ConnectionError:
                return True
        return True

    def close(self) -> None:
        self.writer.transport.abort()
