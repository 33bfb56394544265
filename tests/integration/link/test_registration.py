"""How a provider gets onto a link, stays on it, comes back, and leaves."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from dataclasses import replace

import pytest

from hushnet.coordinator.fleet.link import Admitted, Rejected
from hushnet.foundation.clock import SystemClock
from hushnet.foundation.errors import AccessError, ConfigurationError
from hushnet.foundation.ids import ModelId
from hushnet.foundation.redaction import Secret
from hushnet.provider.link import ProviderLink
from hushnet.sealing.identities import verify_identity
from hushnet.wire.challenge import challenge_message
from hushnet.wire.errors import LinkLost
from hushnet.wire.frames import Capacity, ModelOffer, Register
from support.links import (
    END,
    ENVELOPE,
    HEAD,
    NETWORK,
    QUICK,
    TOKEN,
    ScriptedAgent,
    ScriptedGate,
    ScriptedHandler,
    SlowClock,
    eventually,
    hello_frame,
    identity,
    linked,
    listening,
    pair,
    raw_coordinator,
    raw_peer,
    register_frame,
    registered_frame,
)


async def test_a_provider_registers_with_token_statement_models_capacity_and_a_fresh_signature() -> None:
    async with pair() as both:
        _, registration, nonce, peer = both.gate.all("asked")[0]
        assert isinstance(registration, Register)
        assert registration.token.reveal() == TOKEN
        assert registration.statement.to_json_object() == both.agent.present.to_json_object()
        assert registration.models == tuple(both.agent.offers)
        assert registration.capacity == both.agent.load
        assert peer == "127.0.0.1"
        assert _is_signed(both.agent, nonce, registration.challenge_signature)
        assert both.provider.is_registered
        assert both.link.provider_id == both.agent.who.provider_id


async def test_every_connection_gets_a_nonce_of_its_own() -> None:
    gate = ScriptedGate()
    async with listening(gate) as (_, url), raw_peer(url) as one, raw_peer(url) as other:
        assert (await one.said("hello"))["nonce"] != (await other.said("hello"))["nonce"]


async def test_a_challenge_is_answered_for_the_statement_announced_last() -> None:
    async with pair() as both:
        both.agent.present = both.agent.who.statement(serial=2)
        both.agent.statement_changed.set()
        _, _, document = await both.gate.saw("statement")
        assert document.to_json_object() == both.agent.present.to_json_object()
        both.link.challenge(b"c" * 32)
        _, provider_id, nonce, signature = await both.gate.saw("replied")
        assert (provider_id, nonce) == (both.agent.who.provider_id, b"c" * 32)
        assert _is_signed(both.agent, nonce, signature)


async def test_keys_that_rotate_during_registration_are_announced_after_it() -> None:
    agent, gate = ScriptedAgent(), ScriptedGate()
    gate.may_answer.clear()
    async with listening(gate) as (_, url), linked(url, ScriptedHandler(), agent=agent) as (link, _):
        await gate.saw("asked")
        agent.present = agent.who.statement(serial=2)
        agent.offers = []
        agent.statement_changed.set()
        await eventually(lambda: not agent.statement_changed.is_set())
        gate.may_answer.set()
        await link.registered.wait()
        assert (await gate.saw("statement"))[2].to_json_object() == agent.present.to_json_object()
        assert (await gate.saw("models"))[2] == []


async def test_heartbeats_carry_capacity_and_changed_models() -> None:
    limits = replace(QUICK, heartbeat_s=0.01)
    async with pair(limits=limits) as both:
        await both.gate.saw("heartbeat")
        both.agent.load = Capacity(slots=4, active=3, load=0.75)
        both.agent.offers = [ModelOffer(model=ModelId("other"), context_tokens=8, slots=1)]
        await both.gate.until(lambda: ("heartbeat", both.link.provider_id, both.agent.load) in both.gate.entries)
        assert both.gate.all("models") == [("models", both.link.provider_id, both.agent.offers)]


async def test_capacity_is_announced_at_once_when_asked() -> None:
    async with pair() as both:
        both.agent.load = Capacity(slots=4, active=2)
        both.provider.announce()
        assert await both.gate.saw("heartbeat") == ("heartbeat", both.link.provider_id, both.agent.load)


async def test_changes_of_one_moment_are_announced_together() -> None:
    async with pair() as both:
        for number in range(20):
            both.agent.offers = [ModelOffer(model=ModelId(f"m{number}"), context_tokens=8, slots=1)]
            both.provider.announce()
        await both.gate.saw("heartbeat")
        assert both.gate.all("models") == [("models", both.link.provider_id, both.agent.offers)]
        assert len(both.gate.all("heartbeat")) == 1


async def test_a_change_soon_after_an_announcement_is_announced_as_well() -> None:
    async with pair(limits=replace(QUICK, announce_s=0.05)) as both:
        both.provider.announce()
        await both.gate.saw("heartbeat")
        both.agent.offers = [ModelOffer(model=ModelId("later"), context_tokens=8, slots=1)]
        both.provider.announce()
        assert await both.gate.saw("models") == ("models", both.link.provider_id, both.agent.offers)


async def test_an_agent_that_cannot_tell_its_capacity_skips_a_heartbeat(caplog: pytest.LogCaptureFixture) -> None:
    async with pair(limits=replace(QUICK, announce_s=0.01)) as both:
        both.agent.load = Capacity(slots=4, active=1, decode_tokens_s=float("nan"))
        both.provider.announce()
        await eventually(lambda: "a callback of the link failed" in caplog.text)
        both.agent.load = Capacity(slots=4, active=2)
        both.provider.announce()
        assert (await both.gate.saw("heartbeat"))[2].active == 2


async def test_a_wish_to_load_a_model_arrives() -> None:
    async with pair() as both:
        both.link.load_model(ModelId("big"))
        assert await both.handler.saw("load") == ("load", "big")


async def test_a_wish_to_free_a_model_arrives_and_a_load_that_fails_is_told() -> None:
    async with pair() as both:
        both.link.unload_model(ModelId("big"))
        assert await both.handler.saw("unload") == ("unload", "big")
        both.link.load_model(ModelId("big"))
        await both.handler.saw("load")
        both.provider.refuse_load(ModelId("big"), "memory")
        assert await both.gate.saw("load_failed") == ("load_failed", both.link.provider_id, "big", "memory")


# Rejections.


async def test_a_token_that_is_rejected_for_good_ends_the_link_with_the_hint() -> None:
    gate = ScriptedGate()
    gate.decide = lambda _: Rejected("invalid_api_key", "make another\x1b[31m token")
    async with listening(gate) as (_, url), linked(url, ScriptedHandler(), token="hk_wrong") as (link, task):
        with pytest.raises(AccessError) as caught:
            await task
        assert caught.value.error_code == "invalid_api_key"
        assert caught.value.hint() == "make another[31m token"
        assert not link.is_registered


async def test_a_rejection_for_now_is_tried_again() -> None:
    gate = ScriptedGate()
    answers = [Rejected("busy"), Rejected("statement_expired"), Admitted(identity().provider_id)]
    gate.decide = lambda _: answers.pop(0)
    async with listening(gate) as (_, url), linked(url, ScriptedHandler()) as (link, _):
        await link.registered.wait()
        assert len(gate.all("asked")) == 3


async def test_a_gate_that_fails_sends_the_provider_away_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    gate = ScriptedGate()
    usual = gate.decide
    failures = [RuntimeError("canary text")]

    def decide(registration: Register) -> Admitted | Rejected:
        if failures:
            raise failures.pop()
        return usual(registration)

    gate.decide = decide
    async with listening(gate) as (_, url), linked(url, ScriptedHandler()) as (link, _):
        await link.registered.wait()
    assert "canary" not in caplog.text


async def test_a_gate_that_takes_too_long_sends_the_provider_away() -> None:
    gate = ScriptedGate()
    gate.may_answer.clear()
    async with listening(gate, limits=replace(QUICK, admit_s=0.05)) as (_, url), raw_peer(url) as peer:
        await peer.said("hello")
        peer.send(register_frame(identity()))
        assert (await peer.said("rejected"))["code"] == "try_later"
        await peer.saw("gone")
        gate.may_answer.set()
        await asyncio.sleep(0)
        assert gate.all("admitted") == []


async def test_a_peer_that_leaves_while_it_is_judged_is_not_admitted() -> None:
    gate = ScriptedGate()
    gate.may_answer.clear()
    async with listening(gate) as (listener, url):
        async with raw_peer(url) as peer:
            await peer.said("hello")
            peer.send(register_frame(identity()))
            await gate.saw("asked")
        await eventually(lambda: not listener.strangers)
        gate.may_answer.set()
        await asyncio.sleep(0)
        assert gate.all("admitted") == []
        assert listener.links == 0


async def test_a_coordinator_of_another_network_is_left_for_good() -> None:
    agent = ScriptedAgent(network="hushnet-elsewhere")
    gate = ScriptedGate()
    async with listening(gate) as (_, url), linked(url, ScriptedHandler(), agent=agent) as (_, task):
        with pytest.raises(ConfigurationError) as caught:
            await task
        assert caught.value.error_code == "wrong_network"
        assert gate.all("asked") == []


@pytest.mark.parametrize("url", ["http://host/x", "ws://", "ws://user:pass@host/", "host:8471", "ws://host/#x"])
def test_an_address_that_is_no_link_address_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        _link(url)


def test_a_plain_connection_to_another_machine_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    for url in ("ws://127.0.0.1:1/", "ws://[::1]:1/", "ws://localhost:1/", "wss://example.test/"):
        _link(url)
    assert caplog.records == []
    _link("ws://example.test/")
    assert "not encrypted" in caplog.text


# Deadlines and redialling.


async def test_a_peer_that_does_not_register_in_time_is_sent_away() -> None:
    async with listening(ScriptedGate(), limits=replace(QUICK, register_s=0.05)) as (listener, url):
        async with raw_peer(url) as peer:
            assert (await peer.said("bye"))["code"] == "register_late"
            assert (await peer.saw("closed"))[1:] == (1008, "register_late")
            await peer.saw("gone")
        assert listener.strangers == 0


@pytest.mark.parametrize("has_hello", [False, True])
async def test_a_coordinator_that_falls_silent_during_registration_is_dialled_again(has_hello: bool) -> None:
    limits = replace(QUICK, register_s=0.05)
    async with raw_coordinator() as (_, chronicle, url), linked(url, ScriptedHandler(), limits=limits):
        first = (await chronicle.saw("connected"))[1]
        if has_hello:
            first.send(hello_frame())
        assert (await first.said("bye"))["code"] == "register_late"
        await chronicle.saw("connected", times=2)


async def test_deadlines_hold_although_the_timers_of_the_loop_fire_early() -> None:
    limits = replace(QUICK, register_s=0.03)
    async with listening(ScriptedGate(), limits=limits, clock=SlowClock()) as (_, url), raw_peer(url) as peer:
        assert (await peer.said("bye"))["code"] == "register_late"
    async with raw_coordinator() as (_, chronicle, url):
        link = _link(url, limits=limits, clock=SlowClock())
        task = asyncio.create_task(link.run())
        first = (await chronicle.saw("connected"))[1]
        assert (await first.said("bye"))["code"] == "register_late"
        await link.drain()
        await task


async def test_a_coordinator_that_breaks_a_rule_is_left_and_dialled_again() -> None:
    async with raw_coordinator() as (_, chronicle, url), linked(url, handler := ScriptedHandler()):
        for times, nonsense in enumerate(["{", b"\x07", {"type": "cancel", "attempt": 5, "code": 207}], start=1):
            peer = (await chronicle.saw("connected", times=times))[1]
            peer.send(hello_frame())
            await peer.said("register")
            peer.send(registered_frame())
            peer.send(nonsense)
            await peer.said("bye")
            await handler.saw("lost", times=times)


async def test_a_provider_comes_back_after_the_coordinator_restarts() -> None:
    gate, handler = ScriptedGate(), ScriptedHandler()
    async with listening(gate) as (_, url):
        port = int(url.split(":")[2].split("/")[0])
        link = _link(url, handler=handler)
        task = asyncio.create_task(link.run())
        await link.registered.wait()
    await handler.saw("lost")
    async with listening(gate, port=port):
        await gate.link(times=2)
        await link.registered.wait()
        await link.drain()
        await task


async def test_a_provider_dials_until_somebody_answers() -> None:
    async with listening(ScriptedGate()) as (_, url):
        port = int(url.split(":")[2].split("/")[0])
    link = _link(url)
    task = asyncio.create_task(link.run())
    gate = ScriptedGate()
    async with listening(gate, port=port):
        await gate.link()
        await link.drain()
        await task


def test_the_wait_before_a_redial_doubles_to_its_bound_and_half_of_it_is_chance() -> None:
    limits = replace(QUICK, backoff_s_min=0.2, backoff_s_max=30.0)
    for jitter, least in ((0.0, 0.5), (1.0, 1.0)):
        link = ProviderLink(
            url="ws://127.0.0.1:1/",
            token=Secret(TOKEN),
            agent=ScriptedAgent(),
            handler=ScriptedHandler(),
            clock=SystemClock(),
            limits=limits,
            jitter=lambda jitter=jitter: jitter,  # type: ignore[misc]
        )
        waits = [link._backoff_s(failures, is_replaced=False) for failures in (0, 1, 2, 7, 8, 1000)]
        assert waits == [pytest.approx(least * wait) for wait in (0.2, 0.4, 0.8, 25.6, 30.0, 30.0)]
        assert link._backoff_s(0, is_replaced=True) == pytest.approx(least * 30.0)


async def test_failures_add_up_until_a_registration_succeeds() -> None:
    failures: list[int] = []
    gate = ScriptedGate()
    answers = [Rejected("busy"), Rejected("busy"), Admitted(identity().provider_id), Rejected("busy")]
    gate.decide = lambda _: answers.pop(0) if answers else Rejected("invalid_api_key")
    async with listening(gate) as (_, url):
        link = _link(url)

        def note(count: int, *, is_replaced: bool) -> float:
            failures.append(count)
            return 0.0

        link._backoff_s = note  # type: ignore[method-assign]
        task = asyncio.create_task(link.run())
        (await gate.link()).close("closing")
        with pytest.raises(AccessError):
            await task
    assert failures == [1, 2, 0, 1]


async def test_a_socket_that_opens_after_the_dial_was_given_up_is_dropped() -> None:
    accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *streams: accepted.set_result(streams), "127.0.0.1", 0)
    task = asyncio.create_task(_link(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/").run())
    reader, writer = await accepted
    request = await reader.readuntil(b"\r\n\r\n")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    server.close()
    await server.wait_closed()


# One identity, two links.


async def test_a_second_link_of_an_identity_replaces_the_first_once_it_is_admitted() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch()
        await both.handler.writer(attempt)
        async with raw_peer(both.url) as impostor:
            await impostor.said("hello")
            impostor.send(register_frame(both.agent.who, token="hk_provider_1_wrong"))
            await impostor.said("rejected")
            assert sink.endings == []
        async with raw_peer(both.url) as newer:
            await newer.register(both.agent.who)
            new_link = await both.gate.link(times=2)
            await sink.saw("lost")
            await both.handler.saw("lost")
            assert [entry[0] for entry in both.gate.entries if entry[0] in {"admitted", "lost"}] == [
                "admitted",
                "admitted",
                "lost",
            ]
            assert both.gate.all("lost") == [("lost", both.agent.who.provider_id, both.link)]
            with pytest.raises(LinkLost):
                both.dispatch()
            new_link.challenge(bytes(32))
            await newer.said("challenge")


# Drain.


async def test_a_draining_provider_finishes_what_runs_and_says_goodbye() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch()
        writer = await both.handler.writer(attempt)
        both.provider._limits = replace(QUICK, drain_s=60.0)
        draining = asyncio.create_task(both.provider.drain())
        await both.gate.saw("draining")
        with pytest.raises(LinkLost):
            both.dispatch()
        assert not draining.done()
        writer.write(HEAD)
        writer.write(END)
        writer.finish()
        await draining
        await both.task
        await sink.saw("finished")
        assert [each.raw for each in sink.records] == [HEAD, END]
        await both.gate.saw("lost")
        assert both.listener.links == 0


async def test_draining_waits_for_running_attempts_only_so_long() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch()
        await both.handler.writer(attempt)
        both.provider._limits = replace(QUICK, drain_s=0.01)
        await both.provider.drain()
        await both.task
        await sink.saw("lost")
        await both.handler.saw("lost")


async def test_an_idle_provider_leaves_at_once_and_can_be_told_twice() -> None:
    async with pair() as both:
        both.provider._limits = replace(QUICK, drain_s=60.0)
        await both.provider.drain()
        await both.provider.drain()
        await both.task
        assert not both.provider.is_registered


async def test_a_provider_that_is_not_registered_leaves_at_once() -> None:
    limits = replace(QUICK, drain_s=60.0, backoff_s_min=60.0, backoff_s_max=60.0)
    async with raw_coordinator() as (_, chronicle, url):
        link = _link(url, limits=limits)
        task = asyncio.create_task(link.run())
        await chronicle.saw("connected")
        await link.drain()
        await task


@pytest.mark.parametrize("is_listening", [True, False])
async def test_a_provider_that_waits_to_redial_or_dials_in_vain_leaves_at_once(
    is_listening: bool, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(QUICK, backoff_s_min=60.0, backoff_s_max=60.0, register_s=60.0)
    silent = await asyncio.start_server(lambda reader, writer: accepted.set_result(writer), "127.0.0.1", 0)
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    port = silent.sockets[0].getsockname()[1]
    if not is_listening:
        silent.close()
        await silent.wait_closed()
    link = _link(f"ws://127.0.0.1:{port}/", limits=limits)
    task = asyncio.create_task(link.run())
    if is_listening:
        writer = await accepted
        await link.drain()
        writer.close()
    else:
        await eventually(lambda: "not reached" in caplog.text)
        await link.drain()
    await task
    silent.close()
    await silent.wait_closed()


async def test_a_coordinator_that_drains_takes_nothing_new_and_its_attempts_end() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch()
        writer = await both.handler.writer(attempt)
        both.listener.drain("shutdown")
        await both.handler.saw("drain")
        with pytest.raises(LinkLost):
            both.dispatch()
        writer.write(HEAD)
        writer.write(END)
        writer.finish()
        await sink.saw("finished")


async def test_a_stopped_provider_task_closes_its_link() -> None:
    gate = ScriptedGate()
    async with listening(gate) as (_, url):
        link = _link(url)
        task = asyncio.create_task(link.run())
        await gate.link()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gate.saw("lost")


async def test_the_token_is_logged_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with pair() as both:
        both.dispatch(ENVELOPE)
        await both.handler.saw("arrived")
        async with raw_peer(both.url) as peer:
            await peer.said("hello")
            peer.send("{" + TOKEN)
            await peer.said("bye")
    assert TOKEN not in caplog.text
    assert all(TOKEN not in str(vars(each)) for each in caplog.records)
    assert NETWORK


def _link(url: str, **changes: object) -> ProviderLink:
    values: dict[str, object] = {
        "token": Secret(TOKEN),
        "agent": ScriptedAgent(),
        "handler": ScriptedHandler(),
        "clock": SystemClock(),
        "limits": QUICK,
        **changes,
    }
    return ProviderLink(url=url, **values)  # type: ignore[arg-type]


def _is_signed(agent: ScriptedAgent, nonce: bytes, signature: bytes) -> bool:
    message = challenge_message(
        NETWORK,
        provider_id=bytes.fromhex(agent.who.provider_id),
        nonce=nonce,
        statement_digest=agent.present.digest(),
    )
    return verify_identity("ed25519", agent.who.public_key, signature=signature, message=message)
