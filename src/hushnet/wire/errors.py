"""The closed list of link faults: what was breached, how far it reaches, how the socket closes.

    ProtocolError
    ├── RemoteProtocolError   raised by the codec with a `LinkFault` as its code; sessions turn it into `LinkFailed`
    ├── LocalProtocolError    a command that the session's state forbids: a bug on this side
    └── LinkLost              the link ended under a caller that still needed it

Reach: `LINK` ends the connection; `ATTEMPT` ends one attempt; `FRAME` drops the frame. Whatever does not end the link is
told to the provider in a `fault` frame and counted: past `LinkLimits.faults_max` the link ends with `too_many_faults`.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final

from hushnet.foundation.errors import ProtocolError, RemoteProtocolError


class Reach(Enum):
    """What a fault takes down."""

    LINK = "link"
    ATTEMPT = "attempt"
    FRAME = "frame"


class LinkFault(StrEnum):
    """A breached rule of the link. Also the reasons a side gives in `bye` when nothing was breached (the last group)."""

    BAD_MESSAGE = "bad_message"
    MESSAGE_TOO_BIG = "message_too_big"
    UNKNOWN_FRAME = "unknown_frame"
    UNKNOWN_DATA_TYPE = "unknown_data_type"
    BAD_DATA = "bad_data"
    FRAME_OUT_OF_STATE = "frame_out_of_state"
    NOT_REGISTERED = "not_registered"
    REGISTER_LATE = "register_late"
    ADMISSION_LATE = "admission_late"
    HEARTBEAT_MISSING = "heartbeat_missing"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_MANY_FAULTS = "too_many_faults"
    STALLED = "stalled"
    UNSUPPORTED_VERSION = "unsupported_version"
    BAD_ENVELOPE_PARTS = "bad_envelope_parts"

    BAD_RECORD = "bad_record"
    CREDIT_OVERRUN = "credit_overrun"
    REFUSED_AFTER_RECORDS = "refused_after_records"

    SECOND_REGISTER = "second_register"
    UNKNOWN_ATTEMPT = "unknown_attempt"
    RECORD_AFTER_FINAL = "record_after_final"
    FINISHED_EARLY = "finished_early"
    LATE_RECORD = "late_record"

    CLOSING = "closing"
    DRAINED = "drained"
    REPLACED = "replaced"
    REJECTED = "rejected"
    CONNECTION_LOST = "connection_lost"
    INTERNAL = "internal"

    @property
    def reach(self) -> Reach:
        """What this fault takes down at the coordinator; a provider treats every fault of its coordinator as LINK."""
        return _REACH.get(self, Reach.LINK)


class LinkLost(ProtocolError):  # noqa: N818 - a fact of life on a link, named like the callbacks that report it
    """The link ended, drains, or does not serve yet; what ran on it is dead."""

    code = "link_lost"
    is_retryable = True


def close_code_of(code: str) -> int:
    """Return the WebSocket close code (RFC 6455 section 7.4.1) for a link that ends with `code`."""
    return _CLOSE_CODES.get(code, 1002 if code in LinkFault.__members__.values() else 1008)


def violation(fault: LinkFault) -> RemoteProtocolError:
    """Return the error for a breached rule; its text is the fault's name and never quotes the peer."""
    return RemoteProtocolError(f"the peer broke a rule of the link: {fault}", code=fault.value)


_REACH: Final = {
    LinkFault.BAD_RECORD: Reach.ATTEMPT,
    LinkFault.CREDIT_OVERRUN: Reach.ATTEMPT,
    LinkFault.REFUSED_AFTER_RECORDS: Reach.ATTEMPT,
    LinkFault.SECOND_REGISTER: Reach.FRAME,
    LinkFault.UNKNOWN_ATTEMPT: Reach.FRAME,
    LinkFault.RECORD_AFTER_FINAL: Reach.FRAME,
    LinkFault.FINISHED_EARLY: Reach.FRAME,
    LinkFault.LATE_RECORD: Reach.FRAME,
}

_CLOSE_CODES: Final[dict[str, int]] = {
    LinkFault.MESSAGE_TOO_BIG: 1009,
    LinkFault.NOT_REGISTERED: 1008,
    LinkFault.REGISTER_LATE: 1008,
    LinkFault.REJECTED: 1008,
    LinkFault.REPLACED: 1008,
    LinkFault.HEARTBEAT_MISSING: 1008,
    LinkFault.TOO_MANY_FRAMES: 1008,
    LinkFault.TOO_MANY_FAULTS: 1008,
    LinkFault.STALLED: 1008,
    LinkFault.ADMISSION_LATE: 1013,
    LinkFault.CLOSING: 1001,
    LinkFault.DRAINED: 1000,
    LinkFault.CONNECTION_LOST: 1001,
    LinkFault.INTERNAL: 1011,
}
