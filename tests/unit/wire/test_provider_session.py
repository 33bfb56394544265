"""The provider's end of a link, rule by rule, as scripts without I/O."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from hushnet.foundation.errors import LocalProtocolError
from hushnet.foundation.ids import AttemptId
from hushnet.foundation.redaction import Secret
from hushnet.provider.link.introduction import document_of
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Kind
from hushnet.wire import events as ev
from hushnet.wire import frames as fr
from hushnet.wire.codec import DataType, pack_header
from hushnet.wire.errors import LinkFault
from hushnet.wire.limits import CANCEL_CREDIT_BYTES, WAITING_BYTES_MAX, LinkLimits
from hushnet.wire.provider_session import ProviderSession
from support.links import CONTENT, END, HEAD, NETWORK, TOKEN, identity, record
from support.playbook import At, Data, Playbook, Text

LIMITS = LinkLimits()
ME = identity().provider_id
CAPACITY = fr.Capacity(slots=4, active=1)
HELLO = fr.Hello(versions=(1,), network=NETWORK, nonce=bytes(32), register_within_s=10.0)
REGISTERED = fr.Registered(version=1, heartbeat_s=5.0, provider_id=ME)
ONE = AttemptId(1)


def register(session: ProviderSession, **changes: Any) -> None:
    values: dict[str, Any] = {
        "token": Secret(TOKEN),
        "agent_version": "1.0",
        "statement": document_of(identity().statement()),
        "models": (),
        "capacity": CAPACITY,
        "challenge_signature": bytes(64),
        **changes,
    }
    session.register(**values)


def dialled(limits: LinkLimits = LIMITS) -> Playbook:
    return Playbook(ProviderSession(limits=limits, now_s=0.0))


def serving(limits: LinkLimits = LIMITS) -> Playbook:
    book = dialled(limits) >> HELLO << ev.HelloArrived(HELLO)
    book >> partial(register, book.session) << fr.Register
    return book >> REGISTERED << ev.RegistrationAccepted(ME, 5.0)


def announced(size: int = 1, *, credit: int = 10_000, attempt: AttemptId = ONE) -> fr.Attempt:
    return fr.Attempt(attempt=attempt, deadline_ms=1000, credit_bytes=credit, envelope_bytes=size)


def part(payload: bytes, *, attempt: int = 1, is_last: bool = True) -> bytes:
    kind = DataType.ENVELOPE_LAST if is_last else DataType.ENVELOPE_PART
    return pack_header(kind, attempt, len(payload)) + payload


def running(*, credit: int = 10_000, limits: LinkLimits = LIMITS) -> Playbook:
    book = serving(limits) >> announced(credit=credit)
    return book >> part(b"e") << ev.AttemptArrived(ONE, b"e", 1000)


def sends(book: Playbook, *records: bytes) -> Playbook:
    for each in records:
        book >> partial(book.session.attempts.write, ONE, each) << Data(DataType.RECORD, 1, each)
    return book


def ended(fault: LinkFault) -> ev.LinkEnded:
    return ev.LinkEnded(fault.value, is_fault_of_peer=True)


# Registration.


def test_the_hello_comes_first() -> None:
    for frame in (REGISTERED, announced(), fr.Drain(reason="x"), fr.Rejected(code="x")):
        dialled() >> frame << ended(LinkFault.FRAME_OUT_OF_STATE) << fr.Bye(code="frame_out_of_state")


def test_data_before_registration_ends_the_link() -> None:
    dialled() >> part(b"e") << ended(LinkFault.FRAME_OUT_OF_STATE) << fr.Bye


def test_the_best_common_version_is_offered_back() -> None:
    book = dialled() >> fr.Hello(versions=(7, 1), network=NETWORK, nonce=bytes(32), register_within_s=1.0)
    book << ev.HelloArrived
    assert book.session.version == 1


def test_a_coordinator_without_a_common_version_is_left() -> None:
    (
        dialled()
        >> fr.Hello(versions=(9,), network=NETWORK, nonce=bytes(32), register_within_s=1.0)
        << ended(LinkFault.UNSUPPORTED_VERSION)
        << fr.Bye(code="unsupported_version")
    )


def test_a_rejection_is_reported_before_the_end() -> None:
    book = dialled() >> HELLO << ev.HelloArrived
    book >> partial(register, book.session) << fr.Register
    book >> fr.Rejected(code="wrong_scope", hint="a hint") << ev.RegistrationRejected("wrong_scope", "a hint")
    book << ev.LinkEnded("rejected", is_fault_of_peer=False)
    book.done()


def test_registration_must_be_over_in_time() -> None:
    book = dialled() >> HELLO << ev.HelloArrived
    book >> At(9.9)
    book >> At(10.0) << ended(LinkFault.REGISTER_LATE) << fr.Bye


def test_a_registered_link_has_no_deadline() -> None:
    book = serving() >> At(10_000.0)
    book.done()


@pytest.mark.parametrize(
    "changes",
    [
        {"capacity": fr.Capacity(slots=1, active=0, decode_tokens_s=float("nan"))},
        {"capacity": fr.Capacity(slots=1, active=0, load=float("inf"))},
        {"capacity": fr.Capacity(slots=-1, active=0)},
        {"agent_version": "has spaces"},
        {"token": Secret("x" * 300)},
        {"models": (fr.ModelOffer(model="bad model", context_tokens=1, slots=1),)},
        {"challenge_signature": b"short"},
    ],
)
def test_a_register_that_the_coordinator_would_refuse_is_a_bug_here(changes: dict[str, Any]) -> None:
    book = dialled() >> HELLO << ev.HelloArrived
    with pytest.raises(LocalProtocolError) as caught:
        register(book.session, **changes)
    assert TOKEN not in str(caught.value)
    book.done()


def test_a_session_does_not_say_what_its_state_forbids() -> None:
    book = dialled()
    for command in (
        partial(register, book.session),
        partial(book.session.report, CAPACITY),
        book.session.start_draining,
    ):
        with pytest.raises(LocalProtocolError):
            command()


def test_reports_leave_as_frames() -> None:
    document = document_of(identity().statement())
    book = serving()
    book >> partial(book.session.report, CAPACITY) << fr.Heartbeat(capacity=CAPACITY)
    book >> partial(book.session.reply, b"n" * 32, b"s" * 64)
    book << fr.ChallengeReply(nonce=b"n" * 32, signature=b"s" * 64)
    book >> partial(book.session.replace_statement, document) << fr.StatementUpdate(statement=document)
    book >> partial(book.session.replace_models, []) << fr.Models(models=())
    book >> partial(book.session.refuse_load, "m", "memory") << fr.LoadFailed(model="m", code="memory")
    book >> partial(book.session.close, "drained") << ev.LinkEnded("drained", is_fault_of_peer=False)
    book << fr.Bye(code="drained")


def test_wishes_and_challenges_are_reported() -> None:
    book = serving()
    book >> fr.Challenge(nonce=b"n" * 32) << ev.ChallengeArrived(b"n" * 32)
    book >> fr.LoadModel(model="m") << ev.LoadModelAsked("m")
    book >> fr.UnloadModel(model="m") << ev.UnloadModelAsked("m")
    book >> fr.Fault(code="second_register") << ev.FaultReported("second_register", None)
    book >> fr.Drain(reason="shutdown") << ev.DrainAsked("shutdown")
    book >> fr.Bye(code="closing") << ev.LinkEnded("closing", is_fault_of_peer=False)
    book >> fr.Challenge(nonce=b"n" * 32)
    book.done()


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"nonsense", LinkFault.BAD_MESSAGE),
        (b'{"type":"cancel","attempt":1}', LinkFault.BAD_MESSAGE),
        (b'{"type":"register"}', LinkFault.UNKNOWN_FRAME),
        (b'{"type":"hello","versions":[],"network":"n","nonce":"","register_within_s":1}', LinkFault.BAD_MESSAGE),
    ],
)
def test_a_text_that_is_no_frame_ends_the_link(raw: bytes, fault: LinkFault) -> None:
    serving() >> Text(raw) << ended(fault) << fr.Bye


def test_an_unknown_frame_that_says_it_is_optional_is_ignored() -> None:
    book = serving() >> Text(b'{"optional":true,"type":"weather"}')
    book.done()


# Envelopes.


def test_an_envelope_arrives_in_parts_between_those_of_others() -> None:
    book = serving() >> announced(6)
    book >> announced(1, attempt=AttemptId(2))
    book >> part(b"ab", is_last=False) + part(b"x", attempt=2) << ev.AttemptArrived(AttemptId(2), b"x", 1000)
    book >> part(b"cd", is_last=False) + part(b"ef") << ev.AttemptArrived(ONE, b"abcdef", 1000)


@pytest.mark.parametrize(
    "message",
    [
        part(b"abcd"),
        part(b"ab"),
        part(b"abc", is_last=False),
        part(b"ab", is_last=False) + part(b"cd"),
        part(b"abc") + part(b"d"),
    ],
    ids=["too-long", "too-short", "last-missing", "overrun", "after-last"],
)
def test_parts_that_do_not_make_the_envelope_end_the_link(message: bytes) -> None:
    book = serving() >> announced(3)
    book >> message
    while not isinstance(book._answers[0], ev.LinkEnded):
        book << ev.AttemptArrived
    book << ended(LinkFault.BAD_ENVELOPE_PARTS) << fr.Bye


@pytest.mark.parametrize("frame", [fr.Cancel(attempt=ONE, code=207), fr.Credit(attempt=ONE, bytes=1)])
def test_a_frame_for_an_attempt_that_never_was_ends_the_link(frame: fr.Frame) -> None:
    serving() >> frame << ended(LinkFault.UNKNOWN_ATTEMPT) << fr.Bye


@pytest.mark.parametrize("number", [0, 1])
def test_a_part_for_an_attempt_that_never_was_ends_the_link(number: int) -> None:
    serving() >> part(b"e", attempt=number) << ended(LinkFault.UNKNOWN_ATTEMPT) << fr.Bye


def test_attempt_numbers_only_rise() -> None:
    book = serving() >> announced(attempt=AttemptId(5))
    book >> announced(attempt=AttemptId(5)) << ended(LinkFault.FRAME_OUT_OF_STATE) << fr.Bye


@pytest.mark.parametrize("limits", [replace(LIMITS, attempts_open_max=1), replace(LIMITS, assembly_bytes_max=1)])
def test_an_attempt_without_room_is_refused_and_its_parts_ignored(limits: LinkLimits) -> None:
    book = serving(limits) >> announced()
    book >> announced(attempt=AttemptId(2)) << fr.Refused(attempt=AttemptId(2), code=WireCode.CAPACITY)
    book >> part(b"e", attempt=2) + part(b"e") << ev.AttemptArrived(ONE, b"e", 1000)
    book >> fr.Cancel(attempt=AttemptId(2), code=207)
    book.done()


def test_the_room_of_an_envelope_comes_back() -> None:
    book = serving(replace(LIMITS, assembly_bytes_max=1))
    for number in range(1, 10):
        book >> announced(attempt=AttemptId(number))
        if number % 2:
            book >> part(b"e", attempt=number) << ev.AttemptArrived
        else:
            book >> fr.Cancel(attempt=AttemptId(number), code=207) << fr.Finished(attempt=AttemptId(number))


def test_a_draining_provider_refuses_what_still_comes_and_finishes_what_runs() -> None:
    book = running()
    book >> book.session.start_draining << fr.Draining()
    book >> announced(attempt=AttemptId(2)) << fr.Refused(attempt=AttemptId(2), code=WireCode.DRAINING)
    sends(book, HEAD, END)
    assert not book.session.is_quiet
    book >> partial(book.session.attempts.finish, ONE) << fr.Finished(attempt=ONE)
    assert book.session.is_quiet


# Answers.


def test_finished_leaves_behind_the_records_and_before_later_ones() -> None:
    session = running().session
    attempts = session.attempts
    assert isinstance(session, ProviderSession)
    for each in (HEAD, END):
        attempts.write(ONE, each)
    attempts.finish(ONE)
    attempts.finish(ONE)
    assert session.lanes.next_control() is None
    assert session.lanes.next_message() is not None
    assert session.lanes.next_control() is not None
    assert session.lanes.next_control() is None


def test_a_refusal_leaves_at_once_and_nothing_follows() -> None:
    book = running()
    book >> partial(book.session.attempts.refuse, ONE, 104) << fr.Refused(attempt=ONE, code=104)
    book >> partial(book.session.attempts.write, ONE, HEAD)
    book >> partial(book.session.attempts.refuse, ONE, 104)
    book >> partial(book.session.attempts.finish, ONE)
    book.done()


def test_a_refusal_after_a_record_and_a_record_after_the_end_are_bugs_here() -> None:
    book = sends(running(), HEAD)
    with pytest.raises(LocalProtocolError):
        book.session.attempts.refuse(ONE, 104)
    sends(book, END)
    for each in (CONTENT, END):
        with pytest.raises(LocalProtocolError):
            book.session.attempts.write(ONE, each)


# Credit.


def test_a_record_beyond_the_credit_waits_for_more() -> None:
    book = running(credit=1)
    attempts = book.session.attempts
    assert attempts.is_ready(ONE)
    sends(book, HEAD)
    assert not attempts.is_ready(ONE)
    book >> partial(attempts.write, ONE, CONTENT)
    book >> partial(attempts.write, ONE, END)
    book >> partial(attempts.finish, ONE)
    book >> fr.Credit(attempt=ONE, bytes=len(HEAD)) << ev.CreditArrived(ONE) << Data(DataType.RECORD, 1, CONTENT)
    book >> fr.Credit(attempt=ONE, bytes=len(CONTENT)) << ev.CreditArrived(ONE)
    book << Data(DataType.RECORD, 1, END) << fr.Finished(attempt=ONE)


def test_writing_without_waiting_is_bounded() -> None:
    attempts = sends(running(credit=1), HEAD).session.attempts
    big = record(size=60_000)
    for _ in range(WAITING_BYTES_MAX // len(big)):
        attempts.write(ONE, big)
    with pytest.raises(LocalProtocolError):
        attempts.write(ONE, big)


def test_a_congested_link_makes_writers_wait() -> None:
    session = running(credit=1 << 20, limits=replace(LIMITS, data_high_bytes=100)).session
    assert isinstance(session, ProviderSession)
    session.attempts.write(ONE, HEAD)
    assert session.is_congested
    assert not session.attempts.is_ready(ONE)
    session.lanes.next_message()
    assert session.attempts.is_ready(ONE)


def test_credit_for_an_attempt_that_is_over_is_ignored() -> None:
    book = running()
    book >> partial(book.session.attempts.refuse, ONE, 104) << fr.Refused
    book >> fr.Credit(attempt=ONE, bytes=5)
    book >> fr.Cancel(attempt=ONE, code=207)
    book.done()


# Cancel.


def test_a_cancel_stops_an_attempt_once_and_lets_its_end_leave() -> None:
    book = sends(running(credit=1), HEAD)
    book >> partial(book.session.attempts.write, ONE, CONTENT)
    book >> fr.Cancel(attempt=ONE, code=207) << ev.AttemptCancelled(ONE, 207) << Data(DataType.RECORD, 1, CONTENT)
    book >> fr.Cancel(attempt=ONE, code=207)
    assert book.session.attempts.is_ready(ONE)
    sends(book, record(Kind.ERROR))
    book >> partial(book.session.attempts.finish, ONE) << fr.Finished(attempt=ONE)


def test_a_cancel_of_an_answer_that_waits_to_end_lets_it_end() -> None:
    book = sends(running(credit=1), HEAD)
    book >> partial(book.session.attempts.write, ONE, END)
    book >> partial(book.session.attempts.finish, ONE)
    book >> fr.Cancel(attempt=ONE, code=207) << Data(DataType.RECORD, 1, END) << fr.Finished(attempt=ONE)
    book.done()


def test_a_cancel_lets_everything_leave_that_may_wait() -> None:
    book = running(credit=1)
    book.session.attempts.write(ONE, record(size=65_552))
    big = record(size=60_000)
    for _ in range(WAITING_BYTES_MAX // len(big)):
        book.session.attempts.write(ONE, big)
    book >> fr.Cancel(attempt=ONE, code=207)
    book << ev.AttemptCancelled << Data << Data << Data
    assert CANCEL_CREDIT_BYTES > WAITING_BYTES_MAX + 65_820
    sends(book, record(size=60_000), record(size=60_000), record(Kind.ERROR, size=60_000))


def test_a_cancel_before_the_envelope_is_whole_is_answered_without_the_handler() -> None:
    book = serving() >> announced(4)
    book >> part(b"ab", is_last=False)
    book >> fr.Cancel(attempt=ONE, code=207) << fr.Finished(attempt=ONE)
    book >> part(b"cd")
    book.done()


def test_a_cancelled_attempt_may_be_refused() -> None:
    book = running() >> fr.Cancel(attempt=ONE, code=207) << ev.AttemptCancelled(ONE, 207)
    book >> partial(book.session.attempts.refuse, ONE, 207) << fr.Refused(attempt=ONE, code=207)


# The end.


def test_after_the_end_everything_falls_silent() -> None:
    book = running()
    book >> book.session.lose << ev.LinkEnded("connection_lost", is_fault_of_peer=False)
    book >> partial(book.session.attempts.write, ONE, HEAD)
    book >> partial(book.session.attempts.finish, ONE)
    book >> HELLO
    book >> part(b"e")
    book >> book.session.lose
    book >> partial(book.session.close, "closing")
    book >> partial(book.session.receive_foul, LinkFault.BAD_MESSAGE)
    book >> At(1e9)
    book.done()


def test_the_repr_tells_the_state_and_no_content() -> None:
    assert repr(running().session) == "<ProviderSession serving 1 attempts, <Lanes control=0 data=0 bytes>>"
