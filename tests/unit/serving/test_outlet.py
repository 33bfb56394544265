"""The consumer's buffer: what counts as relayed, and when its window is full."""

from __future__ import annotations

import asyncio

from hushnet.coordinator.serving.failures import Failure
from hushnet.coordinator.serving.outlet import Outlet, ReplyHead
from hushnet.coordinator.serving.rules.reading import Mark
from hushnet.foundation.ids import ProviderId

HEAD = ReplyHead(200, "text/event-stream", ProviderId("a" * 64), "self_signed")
ONE, TWO = Mark(1, 10), Mark(2, 20)


def outlet(drained: list[int] | None = None) -> Outlet:
    return Outlet(high_water=100, on_drained=(drained if drained is not None else []).append)


async def test_everything_that_waits_is_taken_in_one_piece() -> None:
    out = outlet()
    out.push(b"a", ONE, credit=1)
    out.push(b"b", TWO, credit=1)

    assert await out.take() == b"ab"


async def test_only_what_was_written_is_relayed_and_gives_credit_back() -> None:
    drained: list[int] = []
    out = outlet(drained)
    out.push(b"a", ONE, credit=40)
    await out.take()
    out.push(b"b", TWO, credit=40)
    assert (out.relayed, drained) == (Mark(), [])

    out.sent()

    assert (out.relayed, drained) == (ONE, [40])


async def test_a_window_is_full_until_it_drains() -> None:
    out = outlet()
    out.push(b"a", ONE, credit=60)
    await out.take()
    out.push(b"b", TWO, credit=60)
    assert out.is_saturated

    out.sent()

    assert not out.is_saturated


async def test_a_reader_that_waits_is_woken() -> None:
    out = outlet()
    reader = asyncio.create_task(out.take())
    await asyncio.sleep(0)

    out.push(b"a", ONE, credit=1)

    assert await reader == b"a"


async def test_what_was_pushed_leaves_before_a_failure_is_seen() -> None:
    out = outlet()
    out.open(HEAD)
    out.push(b"a", ONE, credit=1)
    out.fail(Failure("link_lost"))

    assert await out.opened() == HEAD
    assert await out.take() == b"a"
    assert await out.take() is None
    assert out.failure == Failure("link_lost")


async def test_a_failure_without_a_head_takes_its_place() -> None:
    out = outlet()
    out.fail(Failure("capacity"))
    out.fail(Failure("internal"))

    assert await out.opened() == Failure("capacity")


async def test_a_cut_drops_what_waits_and_keeps_what_was_relayed() -> None:
    out = outlet()
    out.push(b"a", ONE, credit=1)
    await out.take()
    out.sent()
    out.push(b"b", TWO, credit=1)

    out.fail(Failure("backpressure"), is_cut=True)

    assert await out.take() is None
    out.sent()
    assert out.relayed == ONE


async def test_a_consumer_that_is_gone_relays_nothing_more() -> None:
    drained: list[int] = []
    out = outlet(drained)
    out.push(b"a", ONE, credit=1)
    await out.take()

    out.abandon()
    out.sent()
    out.push(b"b", TWO, credit=5)

    assert out.relayed == Mark()
    assert await out.opened() is None
    assert await out.take() is None
    await out.emptied()


async def test_emptied_waits_for_the_last_write() -> None:
    out = outlet()
    out.push(b"a", ONE, credit=1)
    out.finish()
    waiting = asyncio.create_task(out.emptied())
    await asyncio.sleep(0)
    assert not waiting.done()

    assert await out.take() == b"a"
    out.sent()

    await waiting
    assert out.relayed == ONE
