"""The attempts of one link as the provider runs them: envelopes put together, records held to the credit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from hushnet.foundation.errors import LocalProtocolError
from hushnet.foundation.ids import AttemptId
from hushnet.sealing.errors import WireCode
from hushnet.sealing.records import FINAL
from hushnet.wire.codec import DataRecord, DataType, encode_control
from hushnet.wire.errors import LinkFault, violation
from hushnet.wire.events import AttemptArrived
from hushnet.wire.frames import Attempt, Finished, Refused
from hushnet.wire.lanes import Lanes
from hushnet.wire.limits import CANCEL_CREDIT_BYTES, CREDIT_BYTES_MAX, WAITING_BYTES_MAX, LinkLimits
from hushnet.wire.transitions import PROVIDER_ATTEMPT, AttemptState

_FLAGS_AT: Final = 1


@dataclass(slots=True)
class _Attempt:
    credit: int
    deadline_ms: int
    envelope_bytes: int
    state: AttemptState = AttemptState.RECEIVING
    received_bytes: int = 0
    parts: list[bytes] = field(default_factory=list)
    waiting: deque[bytes] = field(default_factory=deque)
    waiting_bytes: int = 0


class ProviderAttempts:
    """What runs on one link. A breach by the coordinator raises `RemoteProtocolError`; the session ends the link."""

    def __init__(self, lanes: Lanes, limits: LinkLimits) -> None:
        self._lanes = lanes
        self._limits = limits
        self._open: dict[int, _Attempt] = {}
        self._last = 0
        self._assembly_bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    # From the coordinator.

    def begin(self, frame: Attempt, *, is_draining: bool) -> None:
        """Take an attempt's announcement, or refuse it at once when there is no room or the link drains."""
        if frame.attempt <= self._last:
            raise violation(LinkFault.FRAME_OUT_OF_STATE)
        self._last = frame.attempt
        has_room = (
            self._assembly_bytes + frame.envelope_bytes <= self._limits.assembly_bytes_max
            and len(self._open) < self._limits.attempts_open_max
        )
        if is_draining or not has_room:
            code = WireCode.DRAINING if is_draining else WireCode.CAPACITY
            self._lanes.push_control(encode_control(Refused(attempt=frame.attempt, code=code)))
            return
        self._assembly_bytes += frame.envelope_bytes
        self._open[frame.attempt] = _Attempt(frame.credit_bytes, frame.deadline_ms, frame.envelope_bytes)

    def take_part(self, piece: DataRecord) -> AttemptArrived | None:
        """Add a part of an envelope; returns the attempt when it was the last."""
        kind, number, payload = piece
        live = self._find(number)
        if live is None:
            return None
        is_last = kind == DataType.ENVELOPE_LAST
        after = PROVIDER_ATTEMPT.get((live.state, "<- envelope_last" if is_last else "<- envelope"))
        live.received_bytes += len(payload)
        is_whole = live.received_bytes == live.envelope_bytes
        if after is None or live.received_bytes > live.envelope_bytes or is_whole is not is_last:
            raise violation(LinkFault.BAD_ENVELOPE_PARTS)
        live.parts.append(payload)
        live.state = after
        if not is_last:
            return None
        envelope = live.parts[0] if len(live.parts) == 1 else b"".join(live.parts)
        live.parts.clear()
        self._assembly_bytes -= live.envelope_bytes
        return AttemptArrived(AttemptId(number), envelope, live.deadline_ms)

    def cancel(self, attempt: AttemptId) -> bool:
        """Take a cancel; True when an attempt that runs has to stop."""
        live = self._find(attempt)
        if live is None:
            return False
        if live.state is AttemptState.RECEIVING:
            self._forget(attempt)
            self._lanes.push_control(encode_control(Finished(attempt=attempt)))
            return False
        before = live.state
        live.state = PROVIDER_ATTEMPT.get((before, "<- cancel"), before)
        live.credit = min(max(live.credit, 0) + CANCEL_CREDIT_BYTES, CREDIT_BYTES_MAX)
        self._release(attempt, live)
        return live.state is not before

    def credit(self, attempt: AttemptId, bytes_: int) -> bool:
        """Take credit; True when records of this attempt may leave again."""
        live = self._find(attempt)
        if live is None:
            return False
        live.credit = min(live.credit + bytes_, CREDIT_BYTES_MAX)
        self._release(attempt, live)
        return True

    # From the handler; dropped in silence once the attempt is over.

    def write(self, attempt: AttemptId, record: bytes) -> bool:
        """Send a sealing record or let it wait for credit; True when it may leave now."""
        live = self._open.get(attempt)
        if live is None or live.state is AttemptState.OVER:
            return False
        is_final = bool(record[_FLAGS_AT] & FINAL)
        if is_final or live.state is not AttemptState.STREAMING:
            live.state = _after(live.state, "-> final" if is_final else "-> record")
        if live.credit > 0:  # then nothing waits: `_release` runs whenever credit comes
            live.credit -= len(record)
            self._lanes.push_data(DataType.RECORD, attempt, record)
            return True
        if live.waiting and live.waiting_bytes + len(record) > WAITING_BYTES_MAX:
            raise LocalProtocolError("records were written without waiting until the link is ready")
        live.waiting.append(record)
        live.waiting_bytes += len(record)
        return False

    def is_ready(self, attempt: AttemptId) -> bool:
        """Whether a record may leave at once, or need not wait because the attempt is cancelled or over."""
        live = self._open.get(attempt)
        if live is None or live.state in {AttemptState.CANCELLED, AttemptState.OVER}:
            return True
        return live.credit > 0 and self._lanes.data_bytes < self._limits.data_high_bytes

    def refuse(self, attempt: AttemptId, code: int) -> None:
        """Refuse an attempt before its first record."""
        live = self._open.get(attempt)
        if live is not None and live.state is not AttemptState.OVER:
            _after(live.state, "-> refused")
            self._forget(attempt)
            self._lanes.push_control(encode_control(Refused(attempt=attempt, code=code)))

    def finish(self, attempt: AttemptId) -> None:
        """Free the slot, after the attempt's last record; a second call does nothing."""
        live = self._open.get(attempt)
        if live is not None and live.state is not AttemptState.OVER:
            live.state = _after(live.state, "-> finished")
            self._settle(attempt, live)

    def clear(self) -> None:
        """Drop all attempts: the link is over."""
        self._open.clear()
        self._assembly_bytes = 0

    # Inside.

    def _find(self, number: int) -> _Attempt | None:
        live = self._open.get(number)
        if live is None and not 0 < number <= self._last:
            raise violation(LinkFault.UNKNOWN_ATTEMPT)
        return live

    def _release(self, attempt: AttemptId, live: _Attempt) -> None:
        while live.waiting and live.credit > 0:
            record = live.waiting.popleft()
            live.waiting_bytes -= len(record)
            live.credit -= len(record)
            self._lanes.push_data(DataType.RECORD, attempt, record)
        self._settle(attempt, live)

    def _settle(self, attempt: AttemptId, live: _Attempt) -> None:
        if live.state is AttemptState.OVER and not live.waiting:
            del self._open[attempt]
            self._lanes.push_after_data(encode_control(Finished(attempt=attempt)))

    def _forget(self, attempt: AttemptId) -> None:
        live = self._open.pop(attempt)
        if live.state is AttemptState.RECEIVING:
            self._assembly_bytes -= live.envelope_bytes


def _after(state: AttemptState, trigger: str) -> AttemptState:
    after = PROVIDER_ATTEMPT.get((state, trigger))
    if after is None:
        raise LocalProtocolError(f"a {state} attempt does not do {trigger!r}")
    return after
