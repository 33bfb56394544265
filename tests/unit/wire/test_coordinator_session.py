"""The coordinator's end of a link, rule by rule, as scripts without I/O."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest

from hushnet.foundation.errors import CapacityError, LocalProtocolError
from hushnet.foundation.ids import AttemptId
from hushnet.foundation.redaction import Secret
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import Kind, parse_record
from hushnet.wire import events as ev
from hushnet.wire import frames as fr
from hushnet.wire.codec import DataType, decode_provider_frame, pack_header
from hushnet.wire.coordinator_session import CoordinatorSession
from hushnet.wire.errors import LinkFault, LinkLost
from hushnet.wire.limits import CANCEL_CREDIT_BYTES, ENVELOPE_PART_BYTES, LinkLimits
from hushnet.wire.transitions import LinkState
from support.links import CONTENT, END, HEAD, NETWORK, TOKEN, identity, record, register_frame
from support.playbook import At, Data, Playbook, Text

LIMITS = LinkLimits()
ME = identity().provider_id
CAPACITY = fr.Capacity(slots=4, active=1)
ONE = AttemptId(1)


def registration(**changes: Any) -> fr.Register:
    frame = decode_provider_frame(msgspec.json.encode(register_frame(identity())))
    assert isinstance(frame, fr.Register)
    return msgspec.structs.replace(frame, token=Secret(TOKEN), **changes)


def greeted(limits: LinkLimits = LIMITS) -> Playbook:
    session = CoordinatorSession(network=NETWORK, nonce=bytes(32), limits=limits, now_s=0.0)
    return Playbook(session) << fr.Hello(versions=(1,), network=NETWORK, nonce=bytes(32), register_within_s=10.0)


def serving(limits: LinkLimits = LIMITS) -> Playbook:
    book = greeted(limits) >> registration() << ev.RegisterArrived
    book >> partial(book.session.admit, ME, 0.0)
    return book << fr.Registered(version=1, heartbeat_s=5.0, provider_id=ME)


def dispatched(*, envelope: bytes = b"e", credit: int = 10_000, limits: LinkLimits = LIMITS) -> Playbook:
    book = serving(limits)
    book >> (lambda: book.session.dispatch(envelope, deadline_ms=1000, credit_bytes=credit))
    book << fr.Attempt(attempt=ONE, deadline_ms=1000, credit_bytes=credit, envelope_bytes=len(envelope))
    return book << Data(DataType.ENVELOPE_LAST, 1, envelope)


def sent(*records: bytes, attempt: int = 1) -> bytes:
    return b"".join(pack_header(DataType.RECORD, attempt, len(each)) + each for each in records)


def arrived(*records: bytes, attempt: int = 1) -> ev.RecordsArrived:
    return ev.RecordsArrived(AttemptId(attempt), [parse_record(each) for each in records])


def ended(fault: LinkFault) -> ev.LinkEnded:
    return ev.LinkEnded(fault.value, is_fault_of_peer=True)


# Before registration.


@pytest.mark.parametrize(
    "frame",
    [
        fr.Heartbeat(capacity=CAPACITY),
        fr.Finished(attempt=ONE),
        fr.Refused(attempt=ONE, code=201),
        fr.Draining(),
        fr.ChallengeReply(nonce=bytes(32), signature=bytes(64)),
        fr.Models(models=()),
    ],
    ids=lambda frame: type(frame).__name__,
)
@pytest.mark.parametrize("is_register_sent", [False, True])
def test_nothing_but_register_is_taken_before_registration(frame: fr.Frame, is_register_sent: bool) -> None:
    book = greeted()
    if is_register_sent:
        book >> registration() << ev.RegisterArrived
    book >> frame << ended(LinkFault.NOT_REGISTERED) << fr.Bye(code="not_registered")
    book >> registration()
    book.done()


def test_a_record_before_registration_ends_the_link() -> None:
    greeted() >> sent(HEAD) << ended(LinkFault.NOT_REGISTERED) << fr.Bye(code="not_registered")


def test_a_second_register_while_the_first_is_judged_ends_the_link() -> None:
    book = greeted() >> registration() << ev.RegisterArrived
    book >> registration() << ended(LinkFault.NOT_REGISTERED) << fr.Bye(code="not_registered")


def test_register_must_come_in_time() -> None:
    book = greeted() >> At(9.9)
    book >> At(10.0) << ended(LinkFault.REGISTER_LATE) << fr.Bye(code="register_late")


def test_a_slow_verdict_sends_the_provider_away_to_come_back() -> None:
    book = greeted() >> At(9.0) >> registration() << ev.RegisterArrived
    book >> At(18.9)
    book >> At(19.0) << ev.LinkEnded("admission_late", is_fault_of_peer=False)
    book << fr.Rejected(code="try_later", hint="the coordinator is busy; the provider tries again by itself")
    book << fr.Bye(code="admission_late")


def test_a_rejected_provider_hears_code_and_hint() -> None:
    book = greeted() >> registration() << ev.RegisterArrived
    book >> partial(book.session.reject, "wrong_scope", "h" * 600)
    book << ev.LinkEnded("rejected", is_fault_of_peer=False) << fr.Rejected(code="wrong_scope", hint="h" * 512)
    book.done()


@pytest.mark.parametrize(("version", "versions"), [(2, (2,)), (1, (2,)), (2, (1, 2))])
def test_the_version_must_be_the_best_that_both_speak(version: int, versions: tuple[int, ...]) -> None:
    book = greeted() >> registration(version=version, versions=versions)
    book << ev.LinkEnded("rejected", is_fault_of_peer=False) << fr.Rejected
    book.done()


def test_the_best_common_version_is_taken() -> None:
    session = CoordinatorSession(network=NETWORK, nonce=bytes(32), limits=LIMITS, now_s=0.0, versions=(3, 2, 1))
    Playbook(session) << fr.Hello >> registration(version=2, versions=(1, 2)) << ev.RegisterArrived
    assert session.version == 2


def test_only_a_registering_link_is_admitted_or_rejected() -> None:
    session = greeted().session
    assert isinstance(session, CoordinatorSession)
    for command in (lambda: session.admit(ME, 0.0), lambda: session.reject("busy")):
        with pytest.raises(LocalProtocolError):
            command()


# Frames that are wrong at any time.


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", LinkFault.BAD_MESSAGE),
        (b"[]", LinkFault.BAD_MESSAGE),
        (b"{", LinkFault.BAD_MESSAGE),
        (b"\xff\xfe", LinkFault.BAD_MESSAGE),
        (b'{"type":"finished"}', LinkFault.BAD_MESSAGE),
        (b'{"type":"finished","attempt":-1}', LinkFault.BAD_MESSAGE),
        (b'{"type":"heartbeat","capacity":{"slots":1,"active":0,"load":1e400}}', LinkFault.BAD_MESSAGE),
        (b'{"type":"finished","attempt":1,"deep":' + b"[" * 20_000 + b"}", LinkFault.BAD_MESSAGE),
        (b'{"type":"cancel","attempt":1,"code":207}', LinkFault.UNKNOWN_FRAME),
        (b'{"type":"telepathy"}', LinkFault.UNKNOWN_FRAME),
        (b'{"type":"telepathy","optional":false}', LinkFault.UNKNOWN_FRAME),
        (b" " * 70_000, LinkFault.MESSAGE_TOO_BIG),
    ],
)
def test_a_text_that_is_no_frame_ends_the_link(raw: bytes, fault: LinkFault) -> None:
    serving() >> Text(raw) << ended(fault) << fr.Bye(code=fault.value)


def test_an_unknown_frame_that_says_it_is_optional_is_ignored() -> None:
    book = serving() >> Text(b'{"type":"telepathy","optional":true,"thought":{"deep":[1]}}')
    book.done()


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", LinkFault.BAD_DATA),
        (b"\x03", LinkFault.BAD_DATA),
        (sent(HEAD)[:-1], LinkFault.BAD_DATA),
        (sent(HEAD) + b"\x03\x00", LinkFault.BAD_DATA),
        (pack_header(3, 1, 0), LinkFault.BAD_DATA),
        (pack_header(3, 1, 2**32 - 1) + HEAD, LinkFault.BAD_DATA),
        (pack_header(1, 1, 3) + b"abc", LinkFault.UNKNOWN_DATA_TYPE),
        (pack_header(9, 1, 3) + b"abc", LinkFault.UNKNOWN_DATA_TYPE),
        (bytes(140_000), LinkFault.MESSAGE_TOO_BIG),
    ],
)
def test_a_binary_message_that_is_not_whole_records_ends_the_link(raw: bytes, fault: LinkFault) -> None:
    dispatched() >> raw << ended(fault) << fr.Bye(code=fault.value)


def test_too_many_control_frames_end_the_link() -> None:
    book = serving(replace(LIMITS, control_frames_burst=3, control_frames_per_s=1.0))
    for _ in range(2):  # the register was the first
        book >> fr.Heartbeat(capacity=CAPACITY) << ev.CapacityReported
    book >> fr.Heartbeat(capacity=CAPACITY) << ended(LinkFault.TOO_MANY_FRAMES) << fr.Bye


def test_the_pace_of_control_frames_recovers_with_time() -> None:
    book = serving(replace(LIMITS, control_frames_burst=2, control_frames_per_s=1.0))
    for second in range(1, 10):
        book >> At(float(second))
        book >> fr.Heartbeat(capacity=CAPACITY) << ev.CapacityReported


def test_frames_that_end_attempts_are_not_paced() -> None:
    book = serving(replace(LIMITS, control_frames_burst=2, control_frames_per_s=0.001))
    for number in range(1, 50):
        book >> (lambda: book.session.dispatch(b"e", deadline_ms=1, credit_bytes=1)) << fr.Attempt << Data
        book >> fr.Refused(attempt=AttemptId(number), code=201) << ev.AttemptRefused(AttemptId(number), 201)


def test_pings_count_as_control_frames() -> None:
    session = serving(replace(LIMITS, control_frames_burst=2, control_frames_per_s=0.0)).session
    assert isinstance(session, CoordinatorSession)
    assert session.receive_ping(0.0) == []
    assert session.receive_ping(0.0) == [ended(LinkFault.TOO_MANY_FRAMES)]


# A registered link.


def test_reports_are_passed_on() -> None:
    document = registration().statement
    book = serving()
    book >> fr.Heartbeat(capacity=CAPACITY) << ev.CapacityReported(CAPACITY)
    book >> fr.ChallengeReply(nonce=b"n" * 32, signature=b"s" * 64) << ev.ChallengeAnswered(b"n" * 32, b"s" * 64)
    book >> fr.StatementUpdate(statement=document) << ev.StatementReplaced(document)
    book >> fr.Models(models=()) << ev.ModelsReplaced(())
    book.done()


def test_a_missing_heartbeat_ends_the_link_and_a_heartbeat_keeps_it() -> None:
    book = serving() >> At(14.9)
    book >> fr.Heartbeat(capacity=CAPACITY) << ev.CapacityReported(CAPACITY)
    book >> At(29.8)
    book >> At(29.9) << ended(LinkFault.HEARTBEAT_MISSING) << fr.Bye(code="heartbeat_missing")


def test_a_second_register_is_a_fault_and_the_link_goes_on() -> None:
    book = dispatched()
    book >> registration() << ev.FaultFound(LinkFault.SECOND_REGISTER, None) << fr.Fault(code="second_register")
    book >> sent(HEAD, END) << arrived(HEAD, END)


def test_faults_beyond_the_budget_end_the_link() -> None:
    book = serving(replace(LIMITS, faults_max=2))
    for _ in range(2):
        book >> registration() << ev.FaultFound << fr.Fault
    book >> registration() << ev.FaultFound << ended(LinkFault.TOO_MANY_FAULTS) << fr.Bye(code="too_many_faults")


def test_a_goodbye_ends_the_link_without_a_fault() -> None:
    book = serving() >> fr.Bye(code="drained") << ev.LinkEnded("drained", is_fault_of_peer=False)
    book.done()


def test_a_lost_connection_ends_the_session_once() -> None:
    book = dispatched()
    book >> book.session.lose << ev.LinkEnded("connection_lost", is_fault_of_peer=False)
    book >> book.session.lose
    book >> sent(HEAD)
    book >> fr.Finished(attempt=ONE)
    book >> At(1000.0)
    book.done()


def test_the_end_drops_what_waits_to_be_sent() -> None:
    session = serving().session
    assert isinstance(session, CoordinatorSession)
    session.dispatch(bytes(1000), deadline_ms=1, credit_bytes=1)
    session.close("closing")
    assert session.lanes.data_bytes == len(session.attempts) == 0


def test_wishes_and_challenges_leave_as_frames() -> None:
    book = serving()
    book >> partial(book.session.challenge, b"c" * 32) << fr.Challenge(nonce=b"c" * 32)
    book >> partial(book.session.load_model, "m") << fr.LoadModel(model="m")
    book >> partial(book.session.unload_model, "m") << fr.UnloadModel(model="m")
    book >> fr.LoadFailed(model="m", code="memory") << ev.LoadRefused("m", "memory")
    book >> partial(book.session.close, "closing") << ev.LinkEnded("closing", is_fault_of_peer=False)
    book << fr.Bye(code="closing")
    book >> partial(book.session.challenge, b"c" * 32)
    book.done()


@pytest.mark.parametrize("is_asked_by_provider", [True, False])
def test_a_draining_link_finishes_its_attempts_and_takes_no_more(is_asked_by_provider: bool) -> None:
    book = dispatched()
    if is_asked_by_provider:
        book >> fr.Draining() << ev.DrainingStarted()
    else:
        book >> partial(book.session.drain, "shutdown") << fr.Drain(reason="shutdown")
    with pytest.raises(LinkLost):
        book.session.dispatch(b"e", deadline_ms=1, credit_bytes=1)
    book >> sent(HEAD, END) << arrived(HEAD, END)
    book >> fr.Finished(attempt=ONE) << ev.AttemptFinished(ONE)


# Attempts.


def test_a_long_envelope_leaves_in_parts() -> None:
    envelope = bytes(range(256)) * 513
    book = serving()
    book >> (lambda: book.session.dispatch(envelope, deadline_ms=5, credit_bytes=1)) << fr.Attempt
    book << Data(DataType.ENVELOPE_PART, 1, envelope[:ENVELOPE_PART_BYTES])
    book << Data(DataType.ENVELOPE_PART, 1, envelope[ENVELOPE_PART_BYTES : 2 * ENVELOPE_PART_BYTES])
    book << Data(DataType.ENVELOPE_LAST, 1, envelope[2 * ENVELOPE_PART_BYTES :])


def test_an_attempt_streams_ends_and_finishes() -> None:
    book = dispatched() >> sent(HEAD) << arrived(HEAD)
    book >> sent(CONTENT, CONTENT, END) << arrived(CONTENT, CONTENT, END)
    book >> fr.Finished(attempt=ONE) << ev.AttemptFinished(ONE)
    assert len(book.session.attempts) == 0


def test_records_of_several_attempts_in_one_message_are_grouped() -> None:
    book = dispatched()
    book >> (lambda: book.session.dispatch(b"e", deadline_ms=1, credit_bytes=999)) << fr.Attempt << Data
    book >> sent(HEAD) + sent(HEAD, attempt=2) + sent(CONTENT) + sent(END, attempt=2)
    book << arrived(HEAD, CONTENT) << arrived(HEAD, END, attempt=2)


def test_a_refusal_ends_an_attempt_before_its_first_record() -> None:
    book = dispatched() >> fr.Refused(attempt=ONE, code=104) << ev.AttemptRefused(ONE, 104)
    assert len(book.session.attempts) == 0


def test_late_frames_for_an_attempt_that_is_over_are_ignored() -> None:
    book = dispatched() >> fr.Refused(attempt=ONE, code=104) << ev.AttemptRefused
    book >> sent(HEAD, END)
    book >> fr.Finished(attempt=ONE)
    book >> fr.Refused(attempt=ONE, code=104)
    book.done()


def test_endless_late_records_end_the_link() -> None:
    book = dispatched(limits=replace(LIMITS, control_frames_burst=4, control_frames_per_s=0.0))
    book >> fr.Refused(attempt=ONE, code=104) << ev.AttemptRefused
    for _ in range(3):
        book >> sent(HEAD, CONTENT, END)
    book >> sent(HEAD) << ended(LinkFault.TOO_MANY_FRAMES) << fr.Bye


@pytest.mark.parametrize("frame", [fr.Finished(attempt=AttemptId(7)), fr.Refused(attempt=AttemptId(7), code=201)])
def test_a_frame_for_an_attempt_that_never_was_is_a_fault_and_the_link_goes_on(frame: fr.Frame) -> None:
    book = dispatched() >> frame << ev.FaultFound(LinkFault.UNKNOWN_ATTEMPT, AttemptId(7))
    book << fr.Fault(code="unknown_attempt", attempt=AttemptId(7))
    book >> sent(HEAD) << arrived(HEAD)


@pytest.mark.parametrize("number", [0, 2, 2**32 - 1])
def test_a_record_for_an_attempt_that_never_was_is_a_fault_and_the_others_go_on(number: int) -> None:
    book = dispatched() >> sent(HEAD) + sent(CONTENT, attempt=number) + sent(CONTENT)
    book << ev.FaultFound(LinkFault.UNKNOWN_ATTEMPT, number or None) << arrived(HEAD, CONTENT)
    book << fr.Fault(code="unknown_attempt", attempt=number or None)


def test_a_record_after_the_final_one_is_a_fault_and_is_dropped() -> None:
    book = dispatched() >> sent(HEAD, END, CONTENT) << arrived(HEAD, END)
    book << ev.FaultFound(LinkFault.RECORD_AFTER_FINAL, ONE) << fr.Fault(code="record_after_final", attempt=ONE)
    book >> fr.Finished(attempt=ONE) << ev.AttemptFinished(ONE)


@pytest.mark.parametrize(
    "bad",
    [b"\x00" * 40, HEAD[:-1], HEAD + b"\x00", b"\x63" + HEAD[1:], bytes(12), b"\x7f" + bytes(11)],
    ids=["noise", "short", "long", "unknown-kind", "keepalive", "relay-error"],
)
def test_a_record_that_no_provider_may_send_ends_its_attempt_only(bad: bytes) -> None:
    book = dispatched()
    book >> (lambda: book.session.dispatch(b"e", deadline_ms=1, credit_bytes=999)) << fr.Attempt << Data
    book >> sent(HEAD, bad, CONTENT) + sent(HEAD, attempt=2)
    book << arrived(HEAD) << ev.FaultFound(LinkFault.BAD_RECORD, ONE) << ev.AttemptRefused(ONE, WireCode.INTERNAL)
    book << arrived(HEAD, attempt=2)
    book << fr.Cancel(attempt=ONE, code=WireCode.INTERNAL) << fr.Fault(code="bad_record", attempt=ONE)
    book >> fr.Finished(attempt=ONE)
    book.done()


def test_a_refusal_after_records_ends_the_attempt_as_a_fault() -> None:
    book = dispatched() >> sent(HEAD) << arrived(HEAD)
    book >> fr.Refused(attempt=ONE, code=201)
    book << ev.FaultFound(LinkFault.REFUSED_AFTER_RECORDS, ONE) << ev.AttemptRefused(ONE, WireCode.INTERNAL)
    book << fr.Cancel(attempt=ONE, code=WireCode.INTERNAL) << fr.Fault


@pytest.mark.parametrize("records", [(), (HEAD, CONTENT)])
def test_an_attempt_that_finishes_without_an_end_is_over_and_a_fault(records: tuple[bytes, ...]) -> None:
    book = dispatched()
    if records:
        book >> sent(*records) << arrived(*records)
    book >> fr.Finished(attempt=ONE) << ev.AttemptFinished(ONE) << ev.FaultFound(LinkFault.FINISHED_EARLY, ONE)
    book << fr.Fault(code="finished_early", attempt=ONE)


# Credit.


def test_a_record_may_leave_while_the_credit_is_above_zero() -> None:
    dispatched(credit=1) >> sent(HEAD) << arrived(HEAD)


def test_records_beyond_the_credit_end_the_attempt_with_backpressure() -> None:
    book = dispatched(credit=len(HEAD)) >> sent(HEAD, CONTENT) << arrived(HEAD)
    book << ev.FaultFound(LinkFault.CREDIT_OVERRUN, ONE) << ev.AttemptRefused(ONE, WireCode.BACKPRESSURE)
    book << fr.Cancel(attempt=ONE, code=WireCode.BACKPRESSURE) << fr.Fault(code="credit_overrun", attempt=ONE)


def test_grants_of_one_pass_leave_as_one_frame() -> None:
    book = dispatched(credit=1) >> sent(HEAD) << arrived(HEAD)
    assert book.session.attempts.grant(ONE, 100)
    assert book.session.attempts.grant(ONE, 50)
    book >> book.session.attempts.settle_grants << fr.Credit(attempt=ONE, bytes=150)
    book >> book.session.attempts.settle_grants
    book >> sent(CONTENT) << arrived(CONTENT)
    book.done()


@pytest.mark.parametrize("bytes_", [0, -1])
def test_an_empty_grant_is_no_frame(bytes_: int) -> None:
    assert not dispatched().session.attempts.grant(ONE, bytes_)


def test_grants_never_add_up_beyond_what_a_frame_can_say() -> None:
    book = dispatched(credit=2**31 - 1)
    assert not book.session.attempts.grant(ONE, 2**40)


# Cancel.


def test_a_cancel_leaves_before_the_rest_of_its_envelope_and_drops_it() -> None:
    book = serving()
    session = book.session
    assert isinstance(session, CoordinatorSession)
    first = session.dispatch(bytes(3 * ENVELOPE_PART_BYTES), deadline_ms=1, credit_bytes=1)
    second = session.dispatch(b"other", deadline_ms=1, credit_bytes=1)
    book >> partial(session.attempts.cancel, first, 207) << fr.Attempt << fr.Attempt
    book << fr.Cancel(attempt=first, code=207) << Data(DataType.ENVELOPE_LAST, second, b"other")
    assert session.lanes.data_bytes == 0


def test_a_cancel_leaves_once() -> None:
    book = dispatched()
    cancel = partial(book.session.attempts.cancel, ONE, 207)
    book >> cancel << fr.Cancel(attempt=ONE, code=207)
    book >> cancel
    assert not book.session.attempts.grant(ONE, 100)
    book.done()


def test_a_cancel_takes_the_place_of_grants_that_have_not_left() -> None:
    book = dispatched()
    book.session.attempts.grant(ONE, 100)
    book >> partial(book.session.attempts.cancel, ONE, 207) << fr.Cancel(attempt=ONE, code=207)
    book >> book.session.attempts.settle_grants
    book.done()


def test_an_attempt_that_ended_is_not_cancelled() -> None:
    book = dispatched() >> sent(HEAD, END) << arrived(HEAD, END)
    book >> partial(book.session.attempts.cancel, ONE, 207)
    book >> partial(book.session.attempts.cancel, 99, 207)
    book.done()


def test_a_cancelled_attempt_may_still_send_what_it_had_and_its_end() -> None:
    book = dispatched(credit=1)
    book >> partial(book.session.attempts.cancel, ONE, 207) << fr.Cancel
    waiting = [record(size=60_000) for _ in range(2 * CANCEL_CREDIT_BYTES // 60_000)]
    for each in waiting:
        book >> sent(each) << arrived(each)
    book >> sent(record(Kind.ERROR)) << arrived(record(Kind.ERROR))
    book >> fr.Finished(attempt=ONE) << ev.AttemptFinished(ONE)


@pytest.mark.parametrize("frame", [fr.Finished(attempt=ONE), fr.Refused(attempt=ONE, code=207)])
def test_a_cancelled_attempt_may_go_without_an_end(frame: fr.Frame) -> None:
    book = dispatched()
    book >> partial(book.session.attempts.cancel, ONE, 207) << fr.Cancel
    book >> frame
    book << (ev.AttemptFinished(ONE) if isinstance(frame, fr.Finished) else ev.AttemptRefused(ONE, 207))
    book.done()


# Bounds of this side.


def test_a_link_takes_as_many_attempts_as_it_may() -> None:
    book = dispatched(limits=replace(LIMITS, attempts_open_max=1))
    with pytest.raises(CapacityError):
        book.session.dispatch(b"e", deadline_ms=1, credit_bytes=1)


def test_a_link_queues_as_many_bytes_as_it_may() -> None:
    session = serving(replace(LIMITS, outbound_bytes_max=100)).session
    assert isinstance(session, CoordinatorSession)
    session.dispatch(bytes(80), deadline_ms=1, credit_bytes=1)
    with pytest.raises(CapacityError):
        session.dispatch(bytes(80), deadline_ms=1, credit_bytes=1)


@pytest.mark.parametrize(
    ("envelope", "deadline_ms", "credit"),
    [(b"", 1, 1), (bytes(17 << 20), 1, 1), (b"e", 0, 1), (b"e", 1_763_690_000_000, 1), (b"e", 1, 0)],
)
def test_an_attempt_out_of_bounds_is_a_bug_here(envelope: bytes, deadline_ms: int, credit: int) -> None:
    session = serving().session
    assert isinstance(session, CoordinatorSession)
    with pytest.raises(LocalProtocolError):
        session.dispatch(envelope, deadline_ms=deadline_ms, credit_bytes=credit)
    assert len(session.attempts) == 0


def test_dispatch_before_registration_or_after_the_end_says_that_the_link_is_lost() -> None:
    book = greeted()
    with pytest.raises(LinkLost):
        book.session.dispatch(b"e", deadline_ms=1, credit_bytes=1)
    book >> book.session.lose << ev.LinkEnded
    with pytest.raises(LinkLost):
        book.session.dispatch(b"e", deadline_ms=1, credit_bytes=1)


def test_a_close_code_is_a_word() -> None:
    session = serving().session
    assert isinstance(session, CoordinatorSession)
    with pytest.raises(LocalProtocolError):
        session.close("Some Text!")
    assert session.state is LinkState.SERVING


def test_reprs_tell_the_state_and_no_content() -> None:
    session = dispatched(envelope=b"secret-envelope").session
    assert repr(session) == "<CoordinatorSession serving 1 attempts, <Lanes control=0 data=0 bytes>>"
    assert TOKEN not in repr(registration())
