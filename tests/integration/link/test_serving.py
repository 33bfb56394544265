"""One registered link over a real socket: envelopes down, records up, credit, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest

from hushnet.foundation.ids import AttemptId
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Kind, Record
from hushnet.wire.codec import FROM_COORDINATOR, FROM_PROVIDER, DataType, pack_header, split_data
from hushnet.wire.errors import LinkLost
from support.links import (
    CONTENT,
    END,
    ENVELOPE,
    HEAD,
    QUICK,
    ScriptedGate,
    ScriptedHandler,
    ScriptedSink,
    eventually,
    hello_frame,
    identity,
    linked,
    listening,
    pair,
    raw_coordinator,
    raw_peer,
    record,
    registered_frame,
)
from support.waiting import best_s


async def test_an_attempt_travels_down_and_its_answer_comes_back() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch()
        writer = await both.handler.writer(attempt)
        assert both.handler.all("arrived") == [("arrived", attempt, ENVELOPE, 60_000)]
        for each in (HEAD, CONTENT, END):
            await writer.ready()
            writer.write(each)
        writer.finish()
        await sink.saw("finished")
        assert [each.raw for each in sink.records] == [HEAD, CONTENT, END]
        assert sink.endings == ["finished"]


async def test_a_long_envelope_and_a_long_answer_arrive_whole() -> None:
    envelope = bytes(range(256)) * 8000
    records = [HEAD, *(record(size=65_000, seq=number) for number in range(1, 40)), END]
    async with pair() as both:
        attempt, sink = both.dispatch(envelope, credit=1 << 30)
        writer = await both.handler.writer(attempt)
        assert both.handler.all("arrived")[0][2] == envelope
        for each in records:
            await writer.ready()
            writer.write(each)
        writer.finish()
        await sink.saw("finished")
        assert [each.raw for each in sink.records] == records


async def test_many_attempts_at_once_keep_their_answers_apart() -> None:
    async with pair() as both:
        attempts = [both.dispatch(b"%d" % number) for number in range(50)]
        for number, (attempt, _) in enumerate(attempts):
            writer = await both.handler.writer(attempt)
            writer.write(HEAD)
            writer.write(record(size=32 + number))
            writer.write(END)
            writer.finish()
        for number, (_, sink) in enumerate(attempts):
            await sink.saw("finished")
            assert [len(each.raw) for each in sink.records][1] == 12 + 32 + number
            assert sink.endings == ["finished"]


async def test_a_refusal_reaches_the_sink() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch()
        (await both.handler.writer(attempt)).refuse(WireCode.UNKNOWN_KEY)
        assert await sink.saw("refused") == ("refused", WireCode.UNKNOWN_KEY)
        assert sink.endings == ["refused"]


async def test_records_of_one_loop_pass_leave_in_one_message() -> None:
    async with raw_coordinator() as (peers, chronicle, url), linked(url, handler := ScriptedHandler()):
        peer = (await chronicle.saw("connected"))[1]
        peer.send(hello_frame())
        await peer.said("register")
        peer.send(registered_frame())
        for number in (1, 2):
            peer.send(
                {"type": "attempt", "attempt": number, "deadline_ms": 9, "credit_bytes": 9999, "envelope_bytes": 1}
            )
            peer.send(pack_header(DataType.ENVELOPE_LAST, number, 1) + b"e")
        writers = [await handler.writer(AttemptId(number)) for number in (1, 2)]
        for each in (HEAD, CONTENT, END):
            for writer in writers:
                writer.write(each)
        writers[0].finish()
        await peer.said("finished")
        assert len(peers) == 1
        [(_, message)] = peer.all("binary")
        pieces = split_data(message, FROM_PROVIDER)
        assert [(number, raw) for _, number, raw in pieces] == [
            (number, each) for each in (HEAD, CONTENT, END) for number in (1, 2)
        ]
        words = [entry[0] if entry[0] == "binary" else entry[1]["type"] for entry in peer.entries]
        assert words == ["register", "binary", "finished"]


async def test_envelopes_of_one_loop_pass_leave_in_one_message() -> None:
    gate = ScriptedGate()
    async with listening(gate) as (_, url), raw_peer(url) as peer:
        await peer.register()
        link = await gate.link()
        for number in range(3):
            link.dispatch(b"%d" % number, deadline_ms=1, credit_bytes=1, sink=ScriptedSink())
        [(_, message)] = [await peer.saw("binary")]
        assert [payload for _, _, payload in split_data(message, FROM_COORDINATOR)] == [b"0", b"1", b"2"]


# Credit.


async def test_a_writer_waits_while_the_credit_is_used_up() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch(credit=1)
        writer = await both.handler.writer(attempt)
        await writer.ready()
        writer.write(HEAD)
        writer.write(CONTENT)
        waiting = asyncio.create_task(writer.ready())
        await sink.saw("records")
        assert not waiting.done()
        both.link.grant(attempt, len(HEAD) + len(CONTENT))
        await waiting
        await sink.saw("records", times=2)
        assert [each.raw for each in sink.records] == [HEAD, CONTENT]


async def test_a_granted_credit_keeps_an_answer_flowing_and_nothing_overruns_it() -> None:
    window = 4096
    records = [HEAD, *(record(size=200, seq=number) for number in range(1, 500)), END]

    class Granting(ScriptedSink):
        def records_arrived(self, records: Sequence[Record]) -> None:
            super().records_arrived(records)
            size = sum(len(each.raw) for each in records)
            assert size <= window + 300
            both.link.grant(attempt, size)

    async with pair() as both:
        sink = Granting()
        attempt = both.link.dispatch(ENVELOPE, deadline_ms=1000, credit_bytes=window, sink=sink)
        writer = await both.handler.writer(attempt)
        for each in records:
            await writer.ready()
            writer.write(each)
        writer.finish()
        await sink.saw("finished")
        assert [each.raw for each in sink.records] == records


async def test_one_attempt_without_credit_does_not_hold_up_another() -> None:
    async with pair() as both:
        stuck, stuck_sink = both.dispatch(credit=1)
        free, sink = both.dispatch()
        stuck_writer = await both.handler.writer(stuck)
        stuck_writer.write(HEAD)
        stuck_writer.write(CONTENT)
        writer = await both.handler.writer(free)
        for each in (HEAD, CONTENT, END):
            await writer.ready()
            writer.write(each)
        writer.finish()
        await sink.saw("finished")
        assert [each.raw for each in stuck_sink.records] == [HEAD]


# Cancel.


async def test_a_cancel_leaves_within_the_call_and_its_last_word_comes_back() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch()
        writer = await both.handler.writer(attempt)
        writer.write(HEAD)
        await sink.saw("records")
        both.link.cancel(attempt, WireCode.CANCELLED)
        assert both.link._session.lanes.control_bytes == 0  # type: ignore[attr-defined]
        both.link.cancel(attempt, WireCode.CANCELLED)
        assert await both.handler.saw("cancelled") == ("cancelled", attempt, WireCode.CANCELLED)
        writer.write(record(Kind.ERROR))
        writer.finish()
        await sink.saw("finished")
        assert [each.kind for each in sink.records] == [Kind.HEAD, Kind.ERROR]
        assert len(both.handler.all("cancelled")) == 1


async def test_a_cancel_reaches_the_handler_well_within_a_tenth_of_a_second() -> None:
    loop = asyncio.get_running_loop()
    times = count(1)
    async with pair() as both:

        async def cancelled() -> float:
            attempt, _ = both.dispatch()
            await both.handler.writer(attempt)
            began_s = loop.time()
            both.link.cancel(attempt, WireCode.CANCELLED)
            await both.handler.saw("cancelled", times=next(times))
            return loop.time() - began_s

        assert await best_s(cancelled, wanted_s=0.05) < 0.05


async def test_a_cancel_overtakes_envelopes_that_wait_to_be_sent() -> None:
    async with pair() as both:
        running, _ = both.dispatch()
        await both.handler.writer(running)
        for _ in range(3):
            both.dispatch(bytes(8 << 20))
        both.link.cancel(running, WireCode.CANCELLED)
        await both.handler.saw("cancelled")
        assert len(both.handler.all("arrived")) == 1
        await both.handler.saw("arrived", times=4)


async def test_a_cancel_while_the_envelope_is_on_its_way_frees_the_slot() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch(bytes(16 << 20))
        both.link.cancel(attempt, WireCode.CANCELLED)
        await sink.saw("finished")
        assert both.handler.all("arrived") == []


async def test_a_cancel_wakes_a_writer_that_waits_for_credit() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch(credit=1)
        writer = await both.handler.writer(attempt)
        writer.write(HEAD)
        waiting = asyncio.create_task(writer.ready())
        await sink.saw("records")
        both.link.cancel(attempt, WireCode.CANCELLED)
        await waiting
        writer.finish()
        await sink.saw("finished")


async def test_a_cancel_lets_an_end_leave_that_waits_for_credit() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch(credit=1)
        writer = await both.handler.writer(attempt)
        for each in (HEAD, END):
            writer.write(each)
        writer.finish()
        await sink.saw("records")
        assert sink.endings == []
        both.link.cancel(attempt, WireCode.CANCELLED)
        await sink.saw("finished")
        assert [each.raw for each in sink.records] == [HEAD, END]


# What breaks around the link.


async def test_a_sink_that_fails_costs_its_attempt_and_no_other() -> None:
    class Broken(ScriptedSink):
        def records_arrived(self, records: Sequence[Record]) -> None:
            raise RuntimeError("a prompt, perhaps")

    async with pair() as both:
        broken = both.link.dispatch(ENVELOPE, deadline_ms=1, credit_bytes=9999, sink=Broken())
        good, sink = both.dispatch()
        (await both.handler.writer(broken)).write(HEAD)
        assert await both.handler.saw("cancelled") == ("cancelled", broken, WireCode.INTERNAL)
        writer = await both.handler.writer(good)
        for each in (HEAD, END):
            writer.write(each)
        writer.finish()
        await sink.saw("finished")
        assert [each.raw for each in sink.records] == [HEAD, END]


async def test_a_handler_that_fails_refuses_its_attempt(caplog: pytest.LogCaptureFixture) -> None:
    async with pair() as both:

        def fail(*_: object) -> None:
            raise RuntimeError("a prompt, perhaps")

        both.handler.attempt_arrived = fail  # type: ignore[method-assign]
        _, sink = both.dispatch()
        assert await sink.saw("refused") == ("refused", WireCode.INTERNAL)
        assert "perhaps" not in caplog.text


async def test_a_gate_that_fails_leaves_the_link_alone() -> None:
    async with pair() as both:

        def fail(*_: object, **__: object) -> None:
            both.gate.note("failed")
            raise RuntimeError("broken")

        both.gate.heartbeat = fail  # type: ignore[method-assign]
        both.provider.announce()
        await both.gate.saw("failed")
        attempt, sink = both.dispatch()
        (await both.handler.writer(attempt)).refuse(201)
        await sink.saw("refused")


# The end of a link.


async def test_a_lost_link_is_told_once_to_every_sink_to_gate_handler_and_writers() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch(credit=1)
        ended_attempt, ended_sink = both.dispatch()
        writer = await both.handler.writer(attempt)
        (await both.handler.writer(ended_attempt)).refuse(201)
        await ended_sink.saw("refused")
        writer.write(HEAD)
        waiting = asyncio.create_task(writer.ready())
        await sink.saw("records")
        both.link.close("closing")
        both.link.close("closing")
        assert sink.endings == ["lost"]
        assert ended_sink.endings == ["refused"]
        assert both.gate.all("lost") == [("lost", identity().provider_id, both.link)]
        await both.handler.saw("lost")
        with pytest.raises(LinkLost):
            await waiting
        with pytest.raises(LinkLost):
            await writer.ready()
        writer.write(CONTENT)
        writer.finish()
        with pytest.raises(LinkLost):
            both.dispatch()
        both.link.cancel(attempt, 207)
        both.link.grant(attempt, 100)
        both.link.challenge(bytes(32))
        assert sink.endings == ["lost"]


async def test_a_provider_that_vanishes_is_noticed_at_once() -> None:
    gate, sink = ScriptedGate(), ScriptedSink()
    async with listening(gate) as (_, url):
        async with raw_peer(url) as peer:
            await peer.register()
            (await gate.link()).dispatch(ENVELOPE, deadline_ms=1, credit_bytes=1, sink=sink)
        await sink.saw("lost")
        await gate.saw("lost")
        assert sink.endings == ["lost"]


async def test_a_silent_provider_is_given_up() -> None:
    gate = ScriptedGate()
    async with listening(gate, limits=replace(QUICK, heartbeat_missing_s=0.05)) as (_, url), raw_peer(url) as peer:
        await peer.register()
        assert (await peer.said("bye"))["code"] == "heartbeat_missing"
        await gate.saw("lost")


async def test_a_silent_coordinator_is_given_up_and_dialled_again() -> None:
    limits = replace(QUICK, ping_idle_s=0.2, ping_reply_s=0.05)
    async with raw_coordinator() as (peers, chronicle, url), linked(url, handler := ScriptedHandler(), limits=limits):
        first = (await chronicle.saw("connected"))[1]
        first.send(hello_frame())
        await first.said("register")
        first.send(registered_frame())
        first.transport.underlying_transport.pause_reading()
        await chronicle.saw("connected", times=2)
        await handler.saw("lost")
        assert len(peers) == 2


async def test_a_socket_that_takes_nothing_is_given_up_and_others_go_on() -> None:
    limits = replace(QUICK, stall_s=0.05)
    gate = ScriptedGate()
    async with listening(gate, limits=limits) as (listener, url), raw_peer(url) as stalled:
        await stalled.register(identity(1))
        link = await gate.link()
        assert stalled.transport is not None
        stalled.transport.underlying_transport.pause_reading()  # type: ignore[attr-defined]
        sinks = [ScriptedSink() for _ in range(4)]
        for sink in sinks:
            link.dispatch(bytes(8 << 20), deadline_ms=1, credit_bytes=1, sink=sink)
        async with raw_peer(url) as other:
            await other.register(identity(2))
            sink = ScriptedSink()
            (await gate.link(times=2)).dispatch(ENVELOPE, deadline_ms=1, credit_bytes=1, sink=sink)
            await other.saw("binary")
            await gate.saw("lost")
            assert [each.endings for each in sinks] == [["lost"]] * 4
            other.send({"type": "refused", "attempt": 1, "code": 201})
            await sink.saw("refused")
            assert listener.links == 1


async def test_a_listener_closes_although_a_socket_takes_nothing() -> None:
    gate = ScriptedGate()
    async with listening(gate) as (listener, url), raw_peer(url) as stalled:
        await stalled.register()
        assert stalled.transport is not None
        stalled.transport.underlying_transport.pause_reading()  # type: ignore[attr-defined]
        (await gate.link()).dispatch(bytes(16 << 20), deadline_ms=1, credit_bytes=1, sink=(sink := ScriptedSink()))
        await eventually(lambda: next(iter(listener._connections))._outflow.is_paused)
        await listener.aclose()
        assert sink.endings == ["lost"]


async def test_control_that_cannot_leave_ends_the_link() -> None:
    limits = replace(QUICK, control_queue_bytes_max=10_000)
    gate = ScriptedGate()
    async with listening(gate, limits=limits) as (_, url), raw_peer(url) as stalled:
        await stalled.register()
        link = await gate.link()
        assert stalled.transport is not None
        stalled.transport.underlying_transport.pause_reading()  # type: ignore[attr-defined]
        link.dispatch(bytes(16 << 20), deadline_ms=1, credit_bytes=1, sink=(sink := ScriptedSink()))

        def challenge_until_lost() -> bool:
            link.challenge(bytes(32))
            return bool(sink.endings)

        await eventually(challenge_until_lost)
        assert sink.endings == ["lost"]
