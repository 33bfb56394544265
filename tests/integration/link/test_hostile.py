"""Peers that obey no rule: each gets the documented end, and everybody else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from picows import WSHandshakeError, WSMsgType

from hushnet.coordinator.api.provider_socket import ProviderListener, network_of
from hushnet.coordinator.fleet.link import ProviderLink
from hushnet.foundation.clock import ManualClock
from hushnet.wire.codec import DataType, pack_header
from hushnet.wire.limits import LINK_PATH, MESSAGE_BYTES_MAX
from support.links import (
    CONTENT,
    END,
    ENVELOPE,
    HEAD,
    QUICK,
    RawPeer,
    ScriptedGate,
    ScriptedSink,
    eventually,
    identity,
    listening,
    raw_peer,
    record,
    register_frame,
)


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[tuple[RawPeer, ProviderLink, ProviderListener]]:
    """A raw peer that registered like an honest provider, with two attempts to come."""
    gate = ScriptedGate()
    async with listening(gate, limits=replace(QUICK, **limits)) as (listener, url), raw_peer(url) as peer:
        await peer.register()
        yield peer, await gate.link(), listener


def dispatch(link: ProviderLink, *, credit: int = 1 << 20) -> ScriptedSink:
    sink = ScriptedSink()
    link.dispatch(ENVELOPE, deadline_ms=1000, credit_bytes=credit, sink=sink)
    return sink


def sent(*records: bytes, attempt: int = 1) -> bytes:
    return b"".join(pack_header(DataType.RECORD, attempt, len(each)) + each for each in records)


# Before registration.


@pytest.mark.parametrize(
    ("message", "code", "close_code"),
    [
        ({"type": "heartbeat", "capacity": {"slots": 1, "active": 0}}, "not_registered", 1008),
        ({"type": "finished", "attempt": 1}, "not_registered", 1008),
        ({"type": "draining"}, "not_registered", 1008),
        (sent(HEAD), "not_registered", 1008),
        ({"type": "cancel", "attempt": 1, "code": 207}, "unknown_frame", 1002),
        ("{" * 1000, "bad_message", 1002),
        ("", "bad_message", 1002),
        ({"type": "register"}, "bad_message", 1002),
        (" " * 100_000, "message_too_big", 1009),
        ({"type": "register", "token": 5}, "bad_message", 1002),
    ],
    ids=["heartbeat", "finished", "draining", "record", "cancel", "braces", "empty", "bare", "blanks", "token"],
)
async def test_a_hostile_frame_before_registration_ends_its_connection_only(
    message: Any, code: str, close_code: int
) -> None:
    gate = ScriptedGate()
    async with listening(gate) as (listener, url), raw_peer(url) as honest:
        await honest.register()
        link = await gate.link()
        async with raw_peer(url) as peer:
            await peer.said("hello")
            peer.send(message)
            assert (await peer.said("bye"))["code"] == code
            assert await peer.saw("closed") == ("closed", close_code, code)
            await peer.saw("gone")
        sink = dispatch(link)
        await honest.saw("binary")
        honest.send(sent(HEAD))
        await sink.saw("records")
        assert listener.strangers == 0


async def test_a_message_that_exceeds_the_bound_is_not_taken_in() -> None:
    gate = ScriptedGate()
    async with listening(gate) as (_, url), raw_peer(url) as peer:
        await peer.said("hello")
        peer.send(bytes(MESSAGE_BYTES_MAX + 1))
        assert (await peer.saw("closed"))[1] == 1009
        await peer.saw("gone")


async def test_a_message_that_claims_too_much_takes_no_memory_while_it_is_refused() -> None:
    async with listening(ScriptedGate()) as (_, url):
        reader, writer = await _connect(url)
        writer.write(
            b"GET /v1/provider/link HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        tracemalloc.start()
        try:
            writer.write(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4))
            with contextlib.suppress(ConnectionError):
                for _ in range(2000):
                    writer.write(bytes(32 * 1024))
                    await writer.drain()
            assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
        finally:
            tracemalloc.stop()
        writer.close()
        await _end_of(reader)


async def test_the_time_limit_of_the_header_ends_with_the_header() -> None:
    gate = ScriptedGate()
    async with (
        listening(gate, handshake_s=0.1, limits=replace(QUICK, heartbeat_missing_s=0.25)) as (_, url),
        raw_peer(url) as peer,
    ):
        await peer.register()
        await peer.saw("gone")
        assert (await peer.said("bye"))["code"] == "heartbeat_missing"


async def test_fragments_are_refused() -> None:
    gate = ScriptedGate()
    async with listening(gate) as (_, url), raw_peer(url) as peer:
        await peer.said("hello")
        assert peer.transport is not None
        peer.transport.send(WSMsgType.TEXT, b'{"type":', fin=False)
        assert (await peer.said("bye"))["code"] == "bad_message"


async def test_a_stream_of_pings_ends_the_link_and_a_few_are_answered() -> None:
    async with serving(control_frames_burst=20, control_frames_per_s=0.0) as (peer, _, _):
        assert peer.transport is not None
        assert len(await peer.transport.measure_roundtrip_time(3)) == 3
        for _ in range(20):
            peer.transport.send_ping()
        assert (await peer.said("bye"))["code"] == "too_many_frames"


async def test_a_stream_of_control_frames_ends_the_link() -> None:
    async with serving(control_frames_burst=20, control_frames_per_s=0.0) as (peer, link, _):
        sink = dispatch(link)
        for _ in range(21):
            peer.send({"type": "heartbeat", "capacity": {"slots": 1, "active": 0}})
        assert (await peer.said("bye"))["code"] == "too_many_frames"
        assert sink.endings == ["lost"]


HEARTBEAT = {"type": "heartbeat", "capacity": {"slots": 1, "active": 0}}


async def test_a_storm_of_heartbeats_is_cut_to_a_few_and_ends_its_own_link_only() -> None:
    gate, faults = ScriptedGate(), list[str]()
    async with (
        listening(gate, on_fault=faults.append) as (listener, url),
        raw_peer(url) as honest,
        raw_peer(url) as storming,
    ):
        await honest.register()
        await storming.register(identity(1))
        await gate.saw("admitted", times=2)
        for _ in range(1000):
            storming.send(HEARTBEAT)
        await gate.saw("lost")
        honest.send(HEARTBEAT)
        await gate.until(lambda: any(entry[1] == identity().provider_id for entry in gate.all("heartbeat")))
        taken = [entry for entry in gate.all("heartbeat") if entry[1] == identity(1).provider_id]
        assert len(taken) <= 2 * QUICK.reports_burst
        assert faults == ["too_many_reports"]
        assert listener.links == 1


async def test_a_heartbeat_too_many_changes_nothing_and_is_no_fault() -> None:
    gate, faults = ScriptedGate(), list[str]()
    limits = replace(QUICK, reports_burst=2, reports_per_beat=0.0)
    async with listening(gate, limits=limits, on_fault=faults.append) as (listener, url), raw_peer(url) as peer:
        await peer.register()
        for active in range(3):
            peer.send({"type": "heartbeat", "capacity": {"slots": 8, "active": active}})
        assert peer.transport is not None
        await peer.transport.measure_roundtrip_time(1)  # whatever came before it was taken
        assert [entry[2].active for entry in gate.all("heartbeat")] == [0, 1]
        assert faults == []
        assert listener.links == 1


async def test_models_beyond_the_pace_are_told_when_it_has_room_without_another_word() -> None:
    gate = ScriptedGate()
    limits = replace(QUICK, reports_burst=2, reports_per_beat=QUICK.heartbeat_s * 10)
    async with listening(gate, limits=limits) as (_, url), raw_peer(url) as peer:
        await peer.register()
        names = [f"m{number}" for number in range(20)]
        for name in names:
            peer.send({"type": "models", "models": [{"model": name, "context_tokens": 1, "slots": 1}]})
        await gate.until(lambda: [offer.model for entry in gate.all("models")[-1:] for offer in entry[2]] == names[-1:])


async def test_an_agent_that_announces_now_and_then_is_not_paced() -> None:
    async with serving() as (peer, link, listener):
        for _ in range(6):
            peer.send({"type": "models", "models": []})
            peer.send(HEARTBEAT)
        link.challenge(bytes(32))
        await peer.said("challenge")
        assert peer._of("fault") == []
        assert listener.links == 1


async def test_the_round_trip_of_a_link_is_measured_and_told_with_the_next_report() -> None:
    clock = ManualClock()
    gate = ScriptedGate()
    async with listening(gate, clock=clock) as (_, url), raw_peer(url) as peer:
        await peer.register()
        connection = await gate.link()
        peer.send(HEARTBEAT)
        await gate.saw("heartbeat")
        trip = connection._round_trip  # type: ignore[attr-defined]
        await eventually(lambda: not trip._token)  # the peer's echo has come
        trip.ask(b"held", clock.monotonic_s())
        clock.advance(0.25)
        assert peer.transport is not None
        peer.transport.send_pong(b"guess")
        peer.transport.send_pong(b"held")
        await eventually(lambda: not trip._token)
        peer.send(HEARTBEAT)
        await gate.saw("heartbeat", times=2)
        assert gate.link_ms == round(250 / 8)


# After registration: the other attempts go on.


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (register_frame(identity()), {"code": "second_register", "attempt": None}),
        ({"type": "finished", "attempt": 99}, {"code": "unknown_attempt", "attempt": 99}),
        ({"type": "refused", "attempt": 99, "code": 201}, {"code": "unknown_attempt", "attempt": 99}),
        (sent(CONTENT, attempt=99), {"code": "unknown_attempt", "attempt": 99}),
        (sent(HEAD, END, CONTENT), {"code": "record_after_final", "attempt": 1}),
        (sent(HEAD, b"\x00" * 50), {"code": "bad_record", "attempt": 1}),
        (sent(HEAD, record(size=60_000), CONTENT), {"code": "credit_overrun", "attempt": 1}),
        ({"type": "finished", "attempt": 1}, {"code": "finished_early", "attempt": 1}),
    ],
    ids=["register", "finished", "refused", "record", "after-final", "bad-record", "overrun", "early"],
)
async def test_a_breached_rule_is_named_and_the_other_attempt_goes_on(message: Any, fault: dict[str, Any]) -> None:
    async with serving() as (peer, link, listener):
        first, other = dispatch(link, credit=60_000), dispatch(link)
        await peer.said("attempt", times=2)
        peer.send(message)
        assert await peer.said("fault") == {"type": "fault", **fault}
        peer.send(sent(HEAD, CONTENT, END, attempt=2))
        peer.send({"type": "finished", "attempt": 2})
        await other.saw("finished")
        assert [each.raw for each in other.records] == [HEAD, CONTENT, END]
        assert listener.links == 1
        if fault["code"] in {"bad_record", "credit_overrun"}:
            assert (await peer.said("cancel"))["attempt"] == 1
            code = 208 if fault["code"] == "credit_overrun" else 204
            assert [entry for entry in first.entries if entry[0] != "records"] == [("refused", code)]
        if fault["code"] == "record_after_final":
            assert [each.raw for each in first.records] == [HEAD, END]


async def test_a_provider_that_keeps_breaking_rules_loses_its_link() -> None:
    async with serving(faults_max=3) as (peer, link, _):
        sink = dispatch(link)
        for _ in range(4):
            peer.send({"type": "finished", "attempt": 99})
        assert (await peer.said("bye"))["code"] == "too_many_faults"
        assert sink.endings == ["lost"]


@pytest.mark.parametrize(
    "message",
    [b"\x03\x00", b"\x09" + bytes(8) + b"x", "[]", {"type": "telepathy"}],
    ids=["short", "type", "array", "unknown"],
)
async def test_what_cannot_be_read_ends_the_link(message: Any) -> None:
    async with serving() as (peer, link, listener):
        sink = dispatch(link)
        peer.send(message)
        await peer.said("bye")
        await peer.saw("gone")
        assert sink.endings == ["lost"]
        assert listener.links == 0


async def test_nothing_is_read_after_the_end() -> None:
    async with serving() as (peer, _, _):
        peer.send("{")
        for _ in range(50):
            peer.send(bytes(MESSAGE_BYTES_MAX - 10))
        await peer.saw("gone")
        assert len(peer.all("closed")) <= 1


# The door.


async def test_only_the_path_of_the_link_is_answered() -> None:
    async with listening(ScriptedGate()) as (listener, url):
        for path in ("/", "/v1/provider/link/", "/v1/provider/link?x=1", "/healthz"):
            with pytest.raises(WSHandshakeError) as caught:
                async with raw_peer(url.replace(LINK_PATH, path)):
                    pass
            assert caught.value.response is not None
            assert caught.value.response.status == 404
        await eventually(lambda: not listener.strangers)


async def test_a_browser_is_refused() -> None:
    async with listening(ScriptedGate()) as (_, url):
        with pytest.raises(WSHandshakeError) as caught:
            async with raw_peer(url, extra_headers={"Origin": "https://page.example"}):
                pass
        assert caught.value.response is not None
        assert caught.value.response.status == 403


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /v1/provider/link HTTP/1.1\r\n\r\n",
        b"GET /v1/provider/link HTTP/1.1\r\n\r\n",
        b"GET /v1/provider/link HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"\x16\x03\x01\x00\xa5" + b"\r\n\r\n",
    ],
    ids=["post", "no-upgrade", "no-key", "tls-hello"],
)
async def test_a_request_that_is_no_upgrade_is_refused_and_forgotten(request_text: bytes) -> None:
    async with listening(ScriptedGate()) as (listener, url):
        reader, writer = await _connect(url)
        writer.write(request_text)
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
        await eventually(lambda: not listener.strangers)
        assert not listener._connections


async def test_a_header_that_is_too_long_or_too_slow_ends_the_connection() -> None:
    async with listening(ScriptedGate(), handshake_s=0.05) as (listener, url):
        reader, writer = await _connect(url)
        writer.write(b"GET /v1/provider/link HTTP/1.1\r\nX: " + b"x" * 40_000)
        assert await _end_of(reader) == b""
        writer.close()
        reader, writer = await _connect(url)
        writer.write(b"GET /v1/provider/link HTTP/1.1\r\n")
        assert await _end_of(reader) == b""
        writer.close()
        await eventually(lambda: not listener.strangers)


async def test_one_address_opens_so_many_connections_before_they_register() -> None:
    gate = ScriptedGate()
    async with listening(gate, unregistered_per_address_max=2) as (listener, url):
        silent = await _connect(url)
        async with raw_peer(url) as peer:
            await peer.said("hello")
            reader, writer = await _connect(url)
            assert await _end_of(reader) == b""
            writer.close()
            await peer.register()
            assert listener.strangers == 1
            async with raw_peer(url) as next_peer:
                await next_peer.said("hello")
        silent[1].close()
        await eventually(lambda: not listener.strangers)


@pytest.mark.parametrize("bound", ["unregistered_max", "links_max"])
async def test_the_listener_as_a_whole_is_bounded(bound: str) -> None:
    async with listening(ScriptedGate(), **{bound: 1}) as (listener, url), raw_peer(url) as peer:
        if bound == "links_max":
            await peer.register()
        reader, writer = await _connect(url)
        assert await _end_of(reader) == b""
        writer.close()
        assert listener.strangers + listener.links == 1


def test_an_ipv6_peer_is_its_network_and_an_ipv4_peer_its_address() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::9%eth0") == "2001:db8:1:2::/64"
    assert network_of("") == ""


async def test_small_messages_leave_at_once_and_the_kernel_keeps_little() -> None:
    async with serving() as (_, link, _):
        connection = link._transport.underlying_transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        assert option is None or connection.getsockopt(socket.IPPROTO_TCP, option) == MESSAGE_BYTES_MAX


async def test_the_listener_closes_with_peers_in_every_state() -> None:
    gate = ScriptedGate()
    gate.may_answer.clear()
    async with listening(gate) as (listener, url):
        silent = await _connect(url)
        async with raw_peer(url) as greeted, raw_peer(url) as judged, raw_peer(url) as deaf:
            await greeted.said("hello")
            await judged.said("hello")
            judged.send(register_frame(identity()))
            await gate.saw("asked")
            assert deaf.transport is not None
            deaf.transport.underlying_transport.pause_reading()  # type: ignore[attr-defined]
            silent[1].close()
            await listener.aclose()
            await greeted.saw("gone")
            await judged.saw("gone")
            await eventually(lambda: not listener.strangers)
            assert listener.links == 0


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.split("/")[2].split(":")
    return await asyncio.open_connection(host, int(port))


async def _end_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
