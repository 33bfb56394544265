"""The attempts of one link as the coordinator follows them: numbers, states, credit, and the envelopes on their way."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from hushnet.foundation.errors import CapacityError, LocalProtocolError
from hushnet.foundation.ids import AttemptId
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import RECORD_HEADER
from hushnet.sealing.records import FINAL, Kind, Record, parse_record
from hushnet.sealing.records.layout import CIPHERTEXT_MAX, CIPHERTEXT_MIN
from hushnet.wire.codec import DATA_HEADER_BYTES, DataType, encode_checked, encode_control
from hushnet.wire.errors import LinkFault
from hushnet.wire.frames import Attempt, Cancel, Credit
from hushnet.wire.lanes import Lanes
from hushnet.wire.limits import (
    ATTEMPT_MAX,
    CANCEL_CREDIT_BYTES,
    CREDIT_BYTES_MAX,
    ENVELOPE_BYTES_MAX,
    ENVELOPE_PART_BYTES,
    MESSAGE_BYTES_MAX,
    LinkLimits,
)
from hushnet.wire.transitions import COORDINATOR_ATTEMPT, AttemptState

# Looked up once a record; as a global that is half the cost of an attribute of an enum.
_WAITING: Final = AttemptState.WAITING
_ENDED: Final = AttemptState.ENDED
_STREAMING: Final = AttemptState.STREAMING
_RECORD: Final = int(DataType.RECORD)
_CONTENT: Final = Kind.CONTENT
_BOTH_HEADERS: Final = struct.Struct(">BIIIII")
"""The header of a data record and that of its record, whose first four bytes are read as one number: for plain content
it is `_PLAIN_CONTENT`, without flags and without a clear part."""
_BOTH_HEADERS_BYTES: Final = _BOTH_HEADERS.size
_PLAIN_CONTENT: Final = Kind.CONTENT << 24


@dataclass(slots=True)
class _Attempt:
    credit: int
    state: AttemptState = AttemptState.WAITING


class CoordinatorAttempts:
    """What runs on one link. Numbers rise from 1 and never come back, so a forgotten one is told from a made-up one."""

    def __init__(self, lanes: Lanes, limits: LinkLimits) -> None:
        self._lanes = lanes
        self._limits = limits
        self._open: dict[int, _Attempt] = {}
        self._grants: dict[int, int] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, envelope: bytes, *, deadline_ms: int, credit_bytes: int) -> AttemptId:
        """Queue an attempt and its envelope; raises `CapacityError` when a bound of this link is reached."""
        if not 0 < len(envelope) <= ENVELOPE_BYTES_MAX:
            raise LocalProtocolError(f"an envelope of {len(envelope)} bytes does not travel")
        if len(self._open) >= self._limits.attempts_open_max or self._next > ATTEMPT_MAX:
            raise CapacityError("this link has as many attempts as it may have")
        if self._lanes.data_bytes + len(envelope) > self._limits.outbound_bytes_max:
            raise CapacityError("too many bytes wait for this link")
        attempt = AttemptId(self._next)
        frame = Attempt(
            attempt=attempt, deadline_ms=deadline_ms, credit_bytes=credit_bytes, envelope_bytes=len(envelope)
        )
        self._lanes.push_control(encode_checked(frame))
        self._next += 1
        self._open[attempt] = _Attempt(credit_bytes)
        self._queue_envelope(attempt, envelope)
        return attempt

    def cancel(self, attempt: int, code: int) -> None:
        """Queue a cancel in front of all data; does nothing for an attempt that ended or was cancelled."""
        live = self._open.get(attempt)
        after = None if live is None else COORDINATOR_ATTEMPT.get((live.state, "-> cancel"))
        if live is None or after is None:
            return
        live.state = after
        live.credit = max(live.credit, 0) + 2 * CANCEL_CREDIT_BYTES
        self._grants.pop(attempt, None)
        self._lanes.forget(attempt)
        self._lanes.push_control(encode_control(Cancel(attempt=AttemptId(attempt), code=code)))

    def grant(self, attempt: int, bytes_: int) -> bool:
        """Note a grant of `bytes_` >= 0; True when `settle_grants` has a frame to queue."""
        live = self._open.get(attempt)
        if live is None or live.state in {AttemptState.CANCELLED, AttemptState.ENDED}:
            return False
        granted = min(bytes_, CREDIT_BYTES_MAX - max(live.credit, 0))
        if granted <= 0:
            return False
        live.credit += granted
        self._grants[attempt] = self._grants.get(attempt, 0) + granted
        return True

    def settle_grants(self) -> None:
        """Queue one credit frame for every attempt that was granted something since the last call."""
        for attempt, granted in self._grants.items():
            frame = Credit(attempt=AttemptId(attempt), bytes=min(granted, CREDIT_BYTES_MAX))
            self._lanes.push_control(encode_control(frame))
        self._grants.clear()

    def take_contents(self, message: bytes) -> tuple[list[tuple[AttemptId, Record]], int]:
        """Take the content records at the start of a message; return them, and where something else begins, or the end.

        Nearly every message is nothing but content of attempts that stream: here `split_data`, `parse_record` and
        `take_record` are one step, at less than half their cost. Whatever is not that plain is left to them.
        """
        contents: list[tuple[AttemptId, Record]] = []
        start, end = 0, len(message)
        if end > MESSAGE_BYTES_MAX:
            return contents, 0
        attempts, last = self._open, end - _BOTH_HEADERS_BYTES
        while start <= last:
            kind, number, length, record_start, seq, cipher = _BOTH_HEADERS.unpack_from(message, start)
            live = attempts.get(number)
            body = start + DATA_HEADER_BYTES
            stop = body + length
            if (
                record_start != _PLAIN_CONTENT
                or kind != _RECORD
                or live is None
                or live.state is not _STREAMING
                or live.credit <= 0
                or length != RECORD_HEADER + cipher
                or not CIPHERTEXT_MIN <= cipher <= CIPHERTEXT_MAX
                or stop > end
            ):
                break
            live.credit -= length
            contents.append((number, Record(_CONTENT, 0, seq, b"", message[body:stop])))
            start = stop
        return contents, start

    def take_record(self, number: int, payload: bytes, batches: dict[int, list[Record]]) -> LinkFault | None:
        """Check one record and add it to its attempt's batch; returns what is wrong with it."""
        live = self._open.get(number)
        if live is None:
            return LinkFault.LATE_RECORD if 0 < number < self._next else LinkFault.UNKNOWN_ATTEMPT
        if live.state is _ENDED:
            return LinkFault.RECORD_AFTER_FINAL
        if live.credit <= 0:
            return LinkFault.CREDIT_OVERRUN
        try:
            record = parse_record(payload)
        except SealingError:
            return LinkFault.BAD_RECORD
        if record.seq == 0 and record.is_from_relay:  # a relay's own records have no number
            return LinkFault.BAD_RECORD
        live.credit -= len(payload)
        if record.flags & FINAL:
            live.state = COORDINATOR_ATTEMPT[live.state, "<- final"]
        elif live.state is _WAITING:
            live.state = COORDINATOR_ATTEMPT[live.state, "<- record"]
        batch = batches.get(number)
        if batch is None:
            batches[number] = [record]
        else:
            batch.append(record)
        return None

    def end(self, number: int, *, is_refusal: bool) -> tuple[LinkFault | None, bool]:
        """Take `refused` or `finished`: returns the rule it breached, if any, and whether the attempt is over by it."""
        live = self._open.get(number)
        if live is None:
            return (LinkFault.UNKNOWN_ATTEMPT if number >= self._next else None), False
        is_due = (live.state, "<- refused" if is_refusal else "<- finished") in COORDINATOR_ATTEMPT
        if is_refusal and not is_due:
            return LinkFault.REFUSED_AFTER_RECORDS, False
        self.forget(number)
        return (None if is_due else LinkFault.FINISHED_EARLY), True

    def forget(self, number: int) -> None:
        """Drop an attempt; what still arrives for it is late."""
        self._open.pop(number, None)
        self._grants.pop(number, None)
        self._lanes.forget(number)

    def clear(self) -> None:
        """Drop all attempts: the link is over."""
        self._open.clear()
        self._grants.clear()

    def _queue_envelope(self, attempt: AttemptId, envelope: bytes) -> None:
        view = memoryview(envelope)
        for start in range(0, len(envelope), ENVELOPE_PART_BYTES):
            part = view[start : start + ENVELOPE_PART_BYTES]
            is_last = start + ENVELOPE_PART_BYTES >= len(envelope)
            self._lanes.push_data(DataType.ENVELOPE_LAST if is_last else DataType.ENVELOPE_PART, attempt, part)
