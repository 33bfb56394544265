"""The closed list of link faults: what was breached, how far it reaches, how the socket closes.

    ProtocolError
    ├── RemoteProtocolError   raised by the codec with a `LinkFault` as its code; sessions turn it into `LinkEnded`
    ├── LocalProtocolError    a command that the session's state forbids: a bug on this side
    └── LinkLost              the link ended under a caller that still needed it

Reach: `LINK` ends the connection; `ATTEMPT` ends one attempt; `FRAME` drops the frame. What does not end the link is told
to the provider in a `fault` frame and counted: past `LinkLimits.faults_max` a minute it ends with `too_many_faults`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from hushnet.foundation.errors import ProtocolError, RemoteProtocolError


class Reach(Enum):
    """What a fault takes down."""

    LINK = "link"
    ATTEMPT = "attempt"
    FRAME = "frame"


class LinkFault(StrEnum):
    """A breached rule of the link, or (the last group) a reason to close it when nothing was breached."""

    BAD_MESSAGE = "bad_message"
    MESSAGE_TOO_BIG = "message_too_big"
    UNKNOWN_FRAME = "unknown_frame"
    UNKNOWN_DATA_TYPE = "unknown_data_type"
    BAD_DATA = "bad_data"
    FRAME_OUT_OF_STATE = "frame_out_of_state"
    UNSUPPORTED_VERSION = "unsupported_version"
    BAD_ENVELOPE_PARTS = "bad_envelope_parts"
    NOT_REGISTERED = "not_registered"
    REGISTER_LATE = "register_late"
    HEARTBEAT_MISSING = "heartbeat_missing"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_MANY_FAULTS = "too_many_faults"
    TOO_MANY_REPORTS = "too_many_reports"
    STALLED = "stalled"

    BAD_RECORD = "bad_record"
    CREDIT_OVERRUN = "credit_overrun"
    REFUSED_AFTER_RECORDS = "refused_after_records"

    SECOND_REGISTER = "second_register"
    UNKNOWN_ATTEMPT = "unknown_attempt"
    RECORD_AFTER_FINAL = "record_after_final"
    FINISHED_EARLY = "finished_early"
    LATE_RECORD = "late_record"

    ADMISSION_LATE = "admission_late"
    REJECTED = "rejected"
    REPLACED = "replaced"
    DRAINED = "drained"
    CLOSING = "closing"
    CONNECTION_LOST = "connection_lost"
    INTERNAL = "internal"

    @property
    def reach(self) -> Reach:
        """What this fault takes down at the coordinator; a provider treats every fault of its coordinator as LINK."""
        return FAULTS[self].reach


@dataclass(frozen=True, slots=True)
class FaultRule:
    """How far a fault reaches, the WebSocket close code (RFC 6455 section 7.4.1) that goes with it, and what it means."""

    meaning: str
    close_code: int = 1002
    reach: Reach = Reach.LINK


class LinkLost(ProtocolError):  # noqa: N818 - a fact of life on a link, named like the callbacks that report it
    """The link ended, drains, or does not serve yet; what ran on it is dead."""

    code = "link_lost"
    is_retryable = True


def close_code_of(code: str) -> int:
    """Return the WebSocket close code for a link that ends with `code`, which need not be a fault of this list."""
    try:
        return FAULTS[LinkFault(code)].close_code
    except ValueError:
        return 1008


def violation(fault: LinkFault) -> RemoteProtocolError:
    """Return the error for a breached rule; its text is the fault's name and never quotes the peer."""
    return RemoteProtocolError(f"the peer broke a rule of the link: {fault}", code=fault.value)


FAULTS: Final[Mapping[LinkFault, FaultRule]] = {
    LinkFault.BAD_MESSAGE: FaultRule("text that is no frame, a member out of bounds, a fragmented message"),
    LinkFault.MESSAGE_TOO_BIG: FaultRule("a message beyond 128 KiB, or a control frame beyond 64 KiB", 1009),
    LinkFault.UNKNOWN_FRAME: FaultRule("a `type` that is not known from this peer and not marked optional"),
    LinkFault.UNKNOWN_DATA_TYPE: FaultRule("a data record of a type that this peer does not send"),
    LinkFault.BAD_DATA: FaultRule("a binary message that is not one or more whole, non-empty data records"),
    LinkFault.FRAME_OUT_OF_STATE: FaultRule("a frame of the coordinator that its state forbids"),
    LinkFault.UNSUPPORTED_VERSION: FaultRule("no version in common, or not the best common one"),
    LinkFault.BAD_ENVELOPE_PARTS: FaultRule("parts that are more or less than the envelope announced"),
    LinkFault.NOT_REGISTERED: FaultRule("anything but one `register` before `registered`", 1008),
    LinkFault.REGISTER_LATE: FaultRule("no `register` (or, at the provider, no `registered`) in time", 1008),
    LinkFault.HEARTBEAT_MISSING: FaultRule("no heartbeat for three intervals", 1008),
    LinkFault.TOO_MANY_FRAMES: FaultRule("control frames, pings or messages with late records beyond the pace", 1008),
    LinkFault.TOO_MANY_FAULTS: FaultRule("more tolerated faults within a minute than the budget", 1008),
    LinkFault.TOO_MANY_REPORTS: FaultRule(
        "far more `heartbeat`, `models` and `statement` than the pace allows, or `load_failed` unasked", 1008
    ),
    LinkFault.STALLED: FaultRule("the socket took nothing for too long, or too much control waited for it", 1008),
    LinkFault.BAD_RECORD: FaultRule(
        "a record that does not parse, or of a kind that only relays write; the attempt fails with `internal`",
        reach=Reach.ATTEMPT,
    ),
    LinkFault.CREDIT_OVERRUN: FaultRule(
        "a record while the credit was used up; the attempt fails with `backpressure`", reach=Reach.ATTEMPT
    ),
    LinkFault.REFUSED_AFTER_RECORDS: FaultRule(
        "`refused` after the first record; the attempt fails with `internal`", reach=Reach.ATTEMPT
    ),
    LinkFault.SECOND_REGISTER: FaultRule("`register` on a registered link; it is ignored", reach=Reach.FRAME),
    LinkFault.UNKNOWN_ATTEMPT: FaultRule(
        "an attempt number that was never given out; it is ignored (at the provider it ends the link)",
        reach=Reach.FRAME,
    ),
    LinkFault.RECORD_AFTER_FINAL: FaultRule("a record after the attempt's final one; dropped", reach=Reach.FRAME),
    LinkFault.FINISHED_EARLY: FaultRule(
        "`finished` without a final record and without a cancel; the attempt is over, broken off", reach=Reach.FRAME
    ),
    LinkFault.LATE_RECORD: FaultRule("a record of an attempt that is over; dropped and not told", reach=Reach.FRAME),
    LinkFault.ADMISSION_LATE: FaultRule("the coordinator took too long to decide; the provider comes back", 1013),
    LinkFault.REJECTED: FaultRule("the registration was refused; `rejected` says why", 1008),
    LinkFault.REPLACED: FaultRule("a newer link of the same identity was admitted", 1008),
    LinkFault.DRAINED: FaultRule("the provider leaves", 1000),
    LinkFault.CLOSING: FaultRule("this end shuts down", 1001),
    LinkFault.CONNECTION_LOST: FaultRule("the connection went away without a goodbye", 1001),
    LinkFault.INTERNAL: FaultRule("this end has a bug", 1011),
}
"""Every fault; docs/wire.md shows this table."""
