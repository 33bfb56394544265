"""What a provider reports beyond the pace: heartbeats are dropped, no state is lost, and a flood ends the link."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest

from hushnet.foundation.ids import ModelId
from hushnet.wire import events as ev
from hushnet.wire import frames as fr
from hushnet.wire.codec import decode_provider_frame, encode_control
from hushnet.wire.coordinator_session import CoordinatorSession
from hushnet.wire.errors import LinkFault
from hushnet.wire.limits import LinkLimits
from support.links import NETWORK, identity, register_frame
from support.playbook import At, Playbook, Text

LIMITS = LinkLimits()
CAPACITY = fr.Capacity(slots=4, active=1)
REGISTER = msgspec.json.encode(register_frame(identity()))


def statement() -> fr.StatementDocument:
    frame = decode_provider_frame(REGISTER)
    assert isinstance(frame, fr.Register)
    return frame.statement


def registered(limits: LinkLimits = LIMITS) -> Playbook:
    session = CoordinatorSession(network=NETWORK, nonce=bytes(32), limits=limits, now_s=0.0)
    book = Playbook(session) << fr.Hello
    book >> Text(REGISTER) << ev.RegisterArrived
    return book >> partial(session.admit, identity().provider_id, 0.0) << fr.Registered


def paced(**changes: Any) -> Playbook:
    """A registered link whose pace of reports is used up by one heartbeat, and comes back at 1 a second."""
    book = registered(replace(LIMITS, heartbeat_s=10.0, reports_per_beat=10.0, reports_burst=1, **changes))
    return book >> fr.Heartbeat(capacity=CAPACITY) << ev.CapacityReported


def offering(model: str) -> fr.Models:
    return fr.Models(models=(fr.ModelOffer(model=ModelId(model), context_tokens=1, slots=1),))


def test_a_heartbeat_beyond_the_pace_is_dropped_and_no_fault() -> None:
    book = paced()
    for _ in range(50):
        book >> fr.Heartbeat(capacity=CAPACITY)
    book >> At(1.0)
    book >> fr.Heartbeat(capacity=CAPACITY) << ev.CapacityReported


def test_the_latest_models_and_statement_beyond_the_pace_wait_for_their_turn() -> None:
    document = statement()
    book = paced()
    for name in ("first", "second", "last"):
        book >> offering(name)
    book >> fr.StatementUpdate(statement=document)
    assert book.session.deadline_s == 1.0
    book >> At(0.9)
    book >> At(1.0) << ev.ModelsReplaced(offering("last").models)
    book >> At(2.0) << ev.StatementReplaced(document)
    assert book.session.deadline_s == 15.0


def test_models_that_waited_are_never_told_after_newer_ones() -> None:
    book = paced() >> offering("old")
    book >> partial(setattr, book, "now_s", 5.0)
    book >> offering("new") << ev.ModelsReplaced(offering("new").models)
    book >> At(14.0)
    book.done()


def test_a_heartbeat_comes_after_the_models_that_waited() -> None:
    book = paced() >> offering("kept")
    book >> partial(setattr, book, "now_s", 1.0)
    book >> fr.Heartbeat(capacity=CAPACITY) << ev.ModelsReplaced(offering("kept").models)


def test_the_answer_to_a_challenge_waits_behind_the_statement_that_it_is_bound_to() -> None:
    document = statement()
    book = paced() >> fr.StatementUpdate(statement=document)
    book >> fr.ChallengeReply(nonce=b"n" * 32, signature=b"s" * 64)
    book >> At(1.0) << ev.StatementReplaced(document)
    book >> At(2.0) << ev.ChallengeAnswered(b"n" * 32, b"s" * 64)


@pytest.mark.parametrize("frame", [fr.Heartbeat(capacity=CAPACITY), offering("m")], ids=["heartbeat", "models"])
def test_a_flood_of_reports_ends_the_link(frame: fr.Frame) -> None:
    book = paced(reports_excess_max=5)
    for _ in range(5):
        book >> frame
    (
        book
        >> frame
        << ev.LinkEnded(LinkFault.TOO_MANY_REPORTS.value, is_fault_of_peer=True)
        << fr.Bye(code="too_many_reports")
    )
    book >> At(100.0)
    book.done()


def test_a_provider_whose_64_models_change_at_once_keeps_its_link_and_its_last_word() -> None:
    session = registered().session
    assert isinstance(session, CoordinatorSession)
    heard: list[object] = []
    for number in range(64):
        for frame in (offering(str(number)), fr.Heartbeat(capacity=CAPACITY)):
            heard += session.receive_text(encode_control(frame), 0.0)
    heard += session.tick(session.deadline_s)
    assert not session.is_closed
    assert [event for event in heard if isinstance(event, ev.ModelsReplaced)][-1].models[0].model == "63"
    assert not [event for event in heard if isinstance(event, ev.FaultFound)]


def test_a_load_that_failed_is_heard_once_for_every_wish() -> None:
    book = registered()
    session = book.session
    assert isinstance(session, CoordinatorSession)
    failed = fr.LoadFailed(model=ModelId("m"), code="memory")
    book >> failed
    for _ in range(2):
        book >> partial(session.load_model, ModelId("m")) << fr.LoadModel(model=ModelId("m"))
        book >> failed << ev.LoadRefused(ModelId("m"), "memory")
        book >> failed
    book >> fr.LoadFailed(model=ModelId("other"), code="memory")
    book.done()


def test_wishes_beyond_what_a_provider_offers_are_forgotten_oldest_first() -> None:
    book = registered()
    session = book.session
    assert isinstance(session, CoordinatorSession)
    for number in range(65):
        book >> partial(session.load_model, ModelId(str(number))) << fr.LoadModel
    book >> fr.LoadFailed(model=ModelId("0"), code="memory")
    book >> fr.LoadFailed(model=ModelId("1"), code="memory") << ev.LoadRefused


def test_a_flood_of_loads_that_failed_unasked_ends_the_link() -> None:
    book = paced(reports_excess_max=5)
    failed = fr.LoadFailed(model=ModelId("m"), code="memory")
    for _ in range(5):
        book >> failed
    book >> failed << ev.LinkEnded(LinkFault.TOO_MANY_REPORTS.value, is_fault_of_peer=True) << fr.Bye
