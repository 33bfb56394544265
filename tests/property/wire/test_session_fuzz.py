"""No sequence of messages makes a session raise, speak after its end, or end twice."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.foundation.errors import LocalProtocolError
from hushnet.foundation.ids import AttemptId
from hushnet.foundation.redaction import Secret
from hushnet.provider.link.introduction import document_of
from hushnet.wire import events as ev
from hushnet.wire.codec import pack_header
from hushnet.wire.coordinator_session import CoordinatorSession
from hushnet.wire.errors import LinkFault
from hushnet.wire.frames import Capacity
from hushnet.wire.limits import LinkLimits
from hushnet.wire.provider_session import ProviderSession
from hushnet.wire.transitions import LinkState
from support.links import CONTENT, END, ENVELOPE, HEAD, NETWORK, identity, register_frame

LIMITS = LinkLimits(control_frames_burst=30, attempts_open_max=3, assembly_bytes_max=100)
DOCUMENT = document_of(identity().statement())
REGISTER = register_frame(identity(), statement=msgspec.to_builtins(DOCUMENT))
CAPACITY = {"slots": 1, "active": 0}
SIGNATURE = "A" * 86 + "=="
NONCE = "A" * 43 + "="

attempts = st.integers(0, 4) | st.just(2**32 - 1)
codes = st.sampled_from([104, 201, 207])


def frame(kind: str, **members: Any) -> st.SearchStrategy[bytes]:
    return st.fixed_dictionaries(
        {
            "type": st.just(kind),
            **{k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in members.items()},
        }
    ).map(msgspec.json.encode)


text_of_provider = st.one_of(
    frame("register", **{name: value for name, value in REGISTER.items() if name != "type"}),
    frame("heartbeat", capacity=CAPACITY),
    frame("challenge_reply", nonce=NONCE, signature=SIGNATURE),
    frame("statement", statement=REGISTER["statement"]),
    frame("models", models=[]),
    frame("load_failed", model="m", code="memory"),
    frame("refused", attempt=attempts, code=codes),
    frame("finished", attempt=attempts),
    frame("draining"),
    frame("bye"),
    st.binary(max_size=20),
)
text_of_coordinator = st.one_of(
    frame("hello", versions=[1], network=NETWORK, nonce=NONCE, register_within_s=1),
    frame("registered", version=1, heartbeat_s=5, provider_id="0" * 64),
    frame("rejected", code="busy"),
    frame(
        "attempt", attempt=attempts, deadline_ms=5, credit_bytes=st.integers(1, 200), envelope_bytes=st.integers(1, 60)
    ),
    frame("cancel", attempt=attempts, code=codes),
    frame("credit", attempt=attempts, bytes=st.integers(1, 200)),
    frame("challenge", nonce=NONCE),
    frame("load_model", model="m"),
    frame("unload_model", model="m"),
    frame("drain", reason="shutdown"),
    frame("fault", code="bad_record", attempt=attempts),
    frame("bye", code="closing"),
    st.binary(max_size=20),
)
payloads = st.sampled_from([HEAD, CONTENT, END]) | st.binary(min_size=1, max_size=60)
data = st.lists(st.tuples(st.sampled_from([1, 2, 3, 3, 3, 9]), attempts, payloads), max_size=5).map(
    lambda records: b"".join(pack_header(kind, number, len(payload)) + payload for kind, number, payload in records)
)
commands = st.sampled_from(
    ["dispatch", "cancel", "grant", "settle", "drain", "write", "finish", "refuse", "flush", "tick"]
)


def script(texts: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[tuple[str, Any]]]:
    step = st.one_of(
        st.tuples(st.just("text"), texts),
        st.tuples(st.just("binary"), data),
        st.tuples(commands, attempts),
    )
    return st.lists(step, max_size=30)


@settings(deadline=None, max_examples=150)
@given(steps=script(text_of_provider), is_registered=st.booleans(), is_dispatched=st.booleans())
def test_a_coordinator_session_bears_anything(
    steps: list[tuple[str, Any]], is_registered: bool, is_dispatched: bool
) -> None:
    session = CoordinatorSession(network=NETWORK, nonce=bytes(32), limits=LIMITS, now_s=0.0)
    events: list[Any] = []
    if is_registered:
        events += session.receive_text(msgspec.json.encode(REGISTER), 0.0)
    for now_s, (what, value) in enumerate(steps):
        if session.state is LinkState.REGISTERING:
            session.admit(identity().provider_id, float(now_s))
        if is_dispatched and session.state is LinkState.SERVING and len(session.attempts) < 3:
            session.dispatch(ENVELOPE, deadline_ms=1, credit_bytes=200)
        match what:
            case "text":
                events += session.receive_text(value, float(now_s))
            case "binary":
                events += session.receive_binary(value, float(now_s))
            case "tick":
                events += session.tick(float(now_s))
            case _:
                _command_coordinator(session, what, value)
    _check_events(session, events)
    over = [event.attempt for event in events if isinstance(event, ev.AttemptFinished | ev.AttemptRefused)]
    assert len(over) == len(set(over))


@settings(deadline=None, max_examples=150)
@given(steps=script(text_of_coordinator), is_registered=st.booleans())
def test_a_provider_session_bears_anything(steps: list[tuple[str, Any]], is_registered: bool) -> None:
    session = ProviderSession(limits=LIMITS, now_s=0.0)
    events: list[Any] = []
    if is_registered:
        events += session.receive_text(
            msgspec.json.encode(
                {"type": "hello", "versions": [1], "network": NETWORK, "nonce": NONCE, "register_within_s": 1}
            )
        )
    for now_s, (what, value) in enumerate(steps):
        if session.state is LinkState.GREETED:
            _register(session)
            if is_registered:
                events += session.receive_text(
                    msgspec.json.encode({"type": "registered", "version": 1, "heartbeat_s": 5, "provider_id": "0" * 64})
                )
        match what:
            case "text":
                events += session.receive_text(value)
            case "binary":
                events += session.receive_binary(value)
            case "tick":
                events += session.tick(float(now_s))
            case _:
                _command_provider(session, what, value)
    _check_events(session, events)
    arrived = [event.attempt for event in events if isinstance(event, ev.AttemptArrived)]
    assert len(arrived) == len(set(arrived))


def _command_coordinator(session: CoordinatorSession, what: str, number: int) -> None:
    match what:
        case "cancel":
            session.attempts.cancel(number, 207)
        case "grant":
            session.attempts.grant(number, 100)
        case "settle":
            session.attempts.settle_grants()
        case "drain":
            session.drain("shutdown")
        case "flush":
            _flush(session)
        case _:
            pass


def _command_provider(session: ProviderSession, what: str, number: int) -> None:
    attempt = AttemptId(number)
    with contextlib.suppress(LocalProtocolError):  # the script is no honest handler; what it may not do, it is told
        match what:
            case "write":
                session.attempts.write(attempt, CONTENT)
            case "finish":
                session.attempts.finish(attempt)
            case "refuse":
                session.attempts.refuse(attempt, 201)
            case "drain":
                session.start_draining()
            case "flush":
                _flush(session)
            case _:
                assert session.attempts.is_ready(attempt) in {True, False}


def _flush(session: CoordinatorSession | ProviderSession) -> None:
    while session.lanes.next_control() is not None or session.lanes.next_message() is not None:
        pass


def _register(session: ProviderSession) -> None:
    session.register(
        token=Secret("t"),
        agent_version="1",
        statement=DOCUMENT,
        models=(),
        capacity=Capacity(slots=1, active=0),
        challenge_signature=bytes(64),
    )


def _check_events(session: CoordinatorSession | ProviderSession, events: list[Any]) -> None:
    endings = [index for index, event in enumerate(events) if isinstance(event, ev.LinkEnded)]
    assert endings in ([], [len(events) - 1])
    assert bool(endings) == (session.state is LinkState.CLOSED)
    if endings and events[-1].is_fault_of_peer:
        assert LinkFault(events[-1].code)
    if session.is_closed:
        assert session.lanes.data_bytes == 0
        assert len(session.attempts) == 0
