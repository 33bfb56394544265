"""The mesh over real Unix sockets: order, bounds, and what becomes of a peer that dies, hangs or talks nonsense."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.bus.frames import (
    MESH_VERSION,
    Beat,
    Cancel,
    ClaimEnvelopes,
    Dispatch,
    Grant,
    Hello,
    Records,
    Scrape,
)
from hushnet.coordinator.bus.framing import LENGTH
from support.mesh import NETWORK, QUICK, RawPeer, folder, until, worker


@pytest.fixture
def path() -> Iterator[Path]:
    with folder() as made:
        yield made


async def test_frames_arrive_in_order_and_what_is_sent_in_one_pass_leaves_as_one_write(path: Path) -> None:
    async with worker(path, 1) as (first, heard), worker(path, 2) as (second, _):
        assert await second.complete(timeout_s=60)
        assert await first.complete(timeout_s=60)
        peer = second.peer(1)
        assert peer is not None
        writes: list[int] = []
        transport = peer._transport
        assert transport is not None

        class Counting:
            def __getattr__(self, name: str) -> object:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                writes.append(len(data))
                transport.write(data)

        peer._transport = Counting()  # type: ignore[assignment]
        sent = [Grant(number, number * 2) for number in range(1, 101)]
        for frame in sent:
            peer.send(frame)
        await until(lambda: len(heard.frames) == 100)
        assert heard.frames == sent
        assert len(writes) == 1


async def test_what_leaves_now_takes_along_what_waits_before_it(path: Path) -> None:
    async with worker(path, 1) as (_, heard), worker(path, 2) as (second, _):
        assert await second.complete(timeout_s=60)
        peer = second.peer(1)
        assert peer is not None
        peer.send(Grant(1, 1))
        peer.send_now(Cancel(1, 207))
        assert peer._waiting_bytes == 0
        await until(lambda: len(heard.frames) == 2)
        assert heard.frames == [Grant(1, 1), Cancel(1, 207)]


async def test_every_pair_of_three_workers_is_connected_once(path: Path) -> None:
    async with (
        worker(path, 1, count=3) as (first, _),
        worker(path, 3, count=3) as (third, _),
        worker(path, 2, count=3) as (second, _),
    ):
        for mesh in (first, second, third):
            assert await mesh.complete(timeout_s=60)
            assert sorted(peer.worker for peer in mesh.peers) == sorted({1, 2, 3} - {mesh.worker})


async def test_a_dead_peer_is_told_once_and_its_open_questions_are_answered_with_nothing(path: Path) -> None:
    async with worker(path, 1) as (first, heard):
        raw = await RawPeer.dial(path, 1, as_worker=2)
        await until(lambda: len(heard.joined) == 1)
        peer = heard.joined[0]
        asked = asyncio.create_task(peer.ask(Scrape))
        await until(lambda: bool(peer._asks))
        raw.close()
        assert await asked is None
        assert heard.lost == [peer]
        assert not list(first.peers)
        peer.send(Grant(1, 1))
        peer.drop("again")
        assert await peer.ask(Scrape) is None
        assert heard.lost == [peer]


async def test_a_worker_that_comes_back_is_dialled_again(path: Path) -> None:
    async with worker(path, 2) as (second, heard):
        async with worker(path, 1):
            assert await second.complete(timeout_s=60)
        await until(lambda: len(heard.lost) == 1)
        async with worker(path, 1):
            assert await second.complete(timeout_s=60)
            assert len(heard.joined) == 2


async def test_a_worker_is_joined_also_after_many_dials_that_failed(path: Path) -> None:
    async with worker(path, 2, limits=replace(QUICK, strangers_max=4)) as (second, _):
        dialled, path_of = itertools.count(1), second._path_of

        def counted(number: int) -> Path:
            next(dialled)
            return path_of(number)

        second._path_of = counted  # type: ignore[method-assign]
        await until(lambda: next(dialled) > 100)
        assert len(second._strangers) <= 1
        async with worker(path, 1):
            assert await second.complete(timeout_s=60)


async def test_a_worker_that_says_hello_again_takes_the_place_of_its_old_connection(path: Path) -> None:
    async with worker(path, 1) as (first, heard):
        old = await RawPeer.dial(path, 1, as_worker=2)
        await until(lambda: len(heard.joined) == 1)
        new = await RawPeer.dial(path, 1, as_worker=2)
        await until(lambda: len(heard.joined) == 2)
        assert await old.is_hung_up()
        assert heard.lost == heard.joined[:1]
        assert list(first.peers) == heard.joined[1:]
        new.close()
        old.close()


async def test_a_peer_that_reads_nothing_is_dropped_and_the_bytes_that_waited_are_let_go(path: Path) -> None:
    limits = replace(QUICK, stall_s=0.05, high_bytes=4096)
    async with worker(path, 1, limits=limits) as (first, heard):
        raw = await RawPeer.dial(path, 1, as_worker=2)
        await until(lambda: len(heard.joined) == 1)
        raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
        peer = heard.joined[0]
        for _ in range(64):
            peer.send(Records(1, bytes(65536)))
        await until(lambda: heard.lost == [peer])
        assert peer.queued == 0
        assert not list(first.peers)
        raw.close()


async def test_more_bytes_than_may_wait_for_a_worker_drop_it_at_once(path: Path) -> None:
    limits = replace(QUICK, queue_bytes_max=1024 * 1024)
    async with worker(path, 1, limits=limits) as (_, heard):
        raw = await RawPeer.dial(path, 1, as_worker=2)
        await until(lambda: len(heard.joined) == 1)
        peer = heard.joined[0]
        for _ in range(4096):
            peer.send_now(Records(1, bytes(65536)))
            assert peer.queued <= limits.queue_bytes_max + 65536 + 64
            if heard.lost:
                break
        assert heard.lost == [peer]
        raw.close()


async def test_a_peer_whose_loop_hangs_is_dropped_though_its_socket_lives(path: Path) -> None:
    limits = replace(QUICK, beat_s=0.005, silent_beats_max=3)
    async with worker(path, 1, limits=limits) as (_, heard):
        raw = await RawPeer.dial(path, 1, as_worker=2)
        await until(lambda: len(heard.lost) == 1)
        assert await raw.is_hung_up()
        raw.close()


async def test_a_peer_that_beats_stays(path: Path) -> None:
    limits = replace(QUICK, beat_s=0.02, silent_beats_max=3)
    async with worker(path, 1, limits=limits) as (_, heard):
        raw = await RawPeer.dial(path, 1, as_worker=2)
        beats = 0
        while beats < 8:
            if isinstance(await raw.hear(), Beat):
                beats += 1
                raw.say(Beat())
        assert not heard.lost
        raw.close()


@pytest.mark.parametrize(
    "hello",
    [
        Hello(MESH_VERSION, 2, "another-network"),
        Hello(MESH_VERSION + 1, 2, NETWORK),
        Hello(MESH_VERSION, 1, NETWORK),
        Hello(MESH_VERSION, 3, NETWORK),
        Hello(MESH_VERSION, 0, NETWORK),
    ],
    ids=["network", "version", "itself", "nobody", "zero"],
)
async def test_whoever_does_not_belong_here_is_hung_up_on(path: Path, hello: Hello) -> None:
    async with worker(path, 1) as (_, heard):
        raw = await RawPeer.dial(path, 1)
        raw.say(hello)
        assert await raw.is_hung_up()
        assert not heard.joined
        assert not heard.lost
        raw.close()


@pytest.mark.parametrize(
    "nonsense",
    [LENGTH.pack(0), LENGTH.pack(2**31), LENGTH.pack(3) + b"\xff\xff\xff", LENGTH.pack(2) + b"\x91\x63"],
    ids=["empty", "too long", "no msgpack", "no such frame"],
)
async def test_nonsense_ends_a_connection(path: Path, nonsense: bytes) -> None:
    async with worker(path, 1) as (_, heard):
        raw = await RawPeer.dial(path, 1, as_worker=2)
        await until(lambda: len(heard.joined) == 1)
        raw.writer.write(nonsense)
        assert await raw.is_hung_up()
        await until(lambda: len(heard.lost) == 1)
        raw.close()


async def test_a_frame_before_hello_ends_a_connection_unheard(path: Path) -> None:
    async with worker(path, 1) as (_, heard):
        raw = await RawPeer.dial(path, 1)
        raw.say(Grant(1, 1))
        assert await raw.is_hung_up()
        assert not heard.frames
        raw.close()


async def test_a_stranger_that_says_nothing_is_hung_up_on(path: Path) -> None:
    async with worker(path, 1, limits=replace(QUICK, hello_s=0.02)) as (_, heard):
        raw = await RawPeer.dial(path, 1)
        assert await raw.is_hung_up()
        assert not heard.joined
        raw.close()


async def test_the_largest_envelope_crosses_whole(path: Path) -> None:
    async with worker(path, 1) as (_, heard), worker(path, 2) as (second, _):
        assert await second.complete(timeout_s=60)
        peer = second.peer(1)
        assert peer is not None
        envelope = bytes(16 * 1024 * 1024)
        peer.send(Dispatch(1, "p" * 64, 1, 1000, 1000, envelope))
        await until(lambda: len(heard.frames) == 1)
        assert heard.frames[0] == Dispatch(1, "p" * 64, 1, 1000, 1000, envelope)


async def test_a_question_that_nobody_answers_ends_in_time(path: Path) -> None:
    async with worker(path, 1, limits=replace(QUICK, ask_s=0.01)) as (_, heard):
        raw = await RawPeer.dial(path, 1, as_worker=2)
        await until(lambda: len(heard.joined) == 1)
        peer = heard.joined[0]
        assert await peer.ask(lambda number: ClaimEnvelopes(number, ())) is None
        assert not peer._asks
        raw.close()
