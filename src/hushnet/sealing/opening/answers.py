"""The sealing client opens an answer: record by record, every check of `open_frame` in its order (section 8)."""

from __future__ import annotations

import struct
from typing import Final, NoReturn

import msgspec
from cryptography.exceptions import InvalidTag

from hushnet.sealing.envelope import RecipientSecrets, SealedRequest
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import RECORD_HEADER
from hushnet.sealing.meters import Meter, verify_receipt
from hushnet.sealing.padding import is_zero
from hushnet.sealing.records.layout import Head, Kind, Record, parse_head, parse_record, relay_failure
from hushnet.sealing.records.sealer import FrameCipher

_LENGTH: Final = struct.Struct(">I")
_unpack_length: Final = _LENGTH.unpack_from
_KEEPALIVE: Final = Kind.KEEPALIVE
_HEAD: Final = Kind.HEAD
_CONTENT: Final = Kind.CONTENT
_BOILERPLATE: Final = Kind.BOILERPLATE
_RELAY_ERROR: Final = Kind.RELAY_ERROR


class OpenedFrame(msgspec.Struct, frozen=True, gc=False):
    """One authenticated record in the clear: `meter` for usage, error and end; `clear` is the clear part as it came."""

    kind: Kind
    data: bytes
    meter: Meter | None
    clear: bytes

    def __repr__(self) -> str:
        return f"OpenedFrame({self.kind.name.lower()}, {len(self.data)} bytes)"


class _Attempt:
    """The answer of one recipient: what its head names, and what its records open and verify with."""

    __slots__ = ("cipher", "head", "receipt_key")

    def __init__(self, head: Head, recipient: RecipientSecrets, digest: bytes) -> None:
        self.head = head
        self.cipher = FrameCipher(recipient.secret, head, digest)
        self.receipt_key = recipient.receipt_key


class FrameOpener:
    """Opens the records of one answer, of whichever recipient answers.

    Any error is final: afterwards every call raises `opener_dead`. At the terminal record, at an error and on `drop()`
    the secrets are forgotten, those that the `SealedRequest` holds included.
    """

    __slots__ = (
        "_attempt",
        "_frame_pad",
        "_head",
        "_is_dead",
        "_is_final",
        "_meter",
        "_next_seq",
        "_receipt",
        "_sealed",
    )

    def __init__(self, sealed: SealedRequest) -> None:
        self._sealed = sealed
        self._frame_pad = sealed.frame_pad
        self._attempt: _Attempt | None = None
        self._head: Head | None = None
        self._next_seq = 0
        self._meter: Meter | None = None
        self._receipt: Record | None = None
        self._is_final = False
        self._is_dead = False

    @property
    def provider_id(self) -> bytes | None:
        """The provider that answers, proved by its head; None before."""
        return None if self._head is None else self._head.provider_id

    @property
    def head(self) -> Head | None:
        """The clear part of the head that opened; None before."""
        return self._head

    @property
    def meter(self) -> Meter | None:
        """The last meter that was accepted."""
        return self._meter

    @property
    def receipt(self) -> Record | None:
        """The terminal record whose receipt verified: what the provider signed, to keep and to show."""
        return self._receipt

    @property
    def is_final(self) -> bool:
        """Whether an end or error has been opened: nothing follows."""
        return self._is_final

    def open(self, raw: bytes | Record) -> OpenedFrame | None:
        """Open the next record; None for a keep-alive. Raises `SealingError`, `RelayReportedError` for the relay's own."""
        if self._is_dead:
            raise SealingError("opener_dead")
        try:
            record = raw if isinstance(raw, Record) else parse_record(raw)
            return None if record.kind is _KEEPALIVE else self._open(record)
        except SealingError:
            self.drop()
            raise

    def open_content(self, record: Record) -> bytes:
        """Open the next record, which is of content: what `open` would return as its data, at half the cost.

        Raises as `open` does. This is the step that the relay's standard mode takes for nearly every record.
        """
        attempt = self._attempt
        if attempt is None or record.kind is not _CONTENT or record.seq != self._next_seq:
            frame = self.open(record)
            if frame is None or frame.kind is not _CONTENT:
                raise SealingError("frame_out_of_state")
            return frame.data
        raw = record.raw
        try:
            plaintext = attempt.cipher.decrypt(record.seq, raw[RECORD_HEADER:], raw[:RECORD_HEADER])
        except InvalidTag:
            self.drop()
            raise SealingError("frame_open_failed") from None
        self._next_seq += 1
        size = len(plaintext)
        (length,) = _unpack_length(plaintext)
        zeros = size - 4 - length
        if zeros < 0 or size % self._frame_pad or (zeros and not plaintext.endswith(bytes(zeros))):
            return self._unpadded(plaintext)
        return plaintext[4 : 4 + length]

    def finish(self) -> None:
        """Say that the stream is over; raises `no_response` or `stream_truncated` unless a terminal record was opened."""
        if self._is_dead:
            raise SealingError("opener_dead")
        if not self._is_final:
            self.drop()
            raise SealingError("no_response" if self._head is None else "stream_truncated")

    def drop(self) -> None:
        """Forget all secrets; nothing opens any more."""
        self._is_dead = True
        self._forget()

    def _forget(self) -> None:
        self._attempt = None
        self._sealed.drop()

    def _open(self, record: Record) -> OpenedFrame:
        attempt, kind = self._attempt_of(record), record.kind
        data = self._decrypt(attempt, record)
        self._next_seq += 1
        if kind is _CONTENT or kind is _BOILERPLATE:
            return OpenedFrame(kind, data, None, b"")
        if kind is _HEAD:
            self._attempt, self._head = attempt, attempt.head
            return OpenedFrame(kind, data, None, record.clear)
        meter = self._accept_meter(attempt, record)
        if record.is_final:
            self._is_final = True
            self._forget()
        return OpenedFrame(kind, data, meter, record.clear)

    def _attempt_of(self, record: Record) -> _Attempt:
        """Steps 5 to 8: the record is in its place, and a head names a recipient of this request."""
        attempt, kind = self._attempt, record.kind
        if kind is _RELAY_ERROR:
            raise relay_failure(record)
        if self._is_final:
            raise SealingError("frame_after_final")
        if (kind is _HEAD) is not (attempt is None):
            raise SealingError("frame_out_of_state")
        if record.seq != self._next_seq:
            raise SealingError("frame_gap" if record.seq > self._next_seq else "frame_replayed")
        return self._begin(parse_head(record)) if attempt is None else attempt

    def _begin(self, head: Head) -> _Attempt:
        for recipient in self._sealed.recipients:
            if (recipient.suite, recipient.provider_id, recipient.key_id) == (
                head.suite,
                head.provider_id,
                head.key_id,
            ):
                return _Attempt(head, recipient, self._sealed.digest)
        raise SealingError("head_unknown_recipient")

    def _decrypt(self, attempt: _Attempt, record: Record) -> bytes:
        """Steps 9 and 10: it authenticates, and its padding is what was asked for."""
        start = RECORD_HEADER + len(record.clear)
        raw = record.raw
        try:
            plaintext = attempt.cipher.decrypt(record.seq, raw[start:], raw[:start])
        except InvalidTag:
            raise SealingError("frame_open_failed") from None
        return self._unpadded(plaintext)

    def _unpadded(self, plaintext: bytes) -> bytes:
        size = len(plaintext)
        end: int = 4 + _unpack_length(plaintext)[0]
        if end > size or size % self._frame_pad or (end < size and not is_zero(plaintext, end)):
            self.drop()
            raise SealingError("frame_bad_padding")
        return plaintext[4:end]

    def _accept_meter(self, attempt: _Attempt, record: Record) -> Meter:
        """Step 11: the meter obeys header and history, and a terminal record carries the receipt that was promised."""
        meter = Meter.unpack(record.clear)
        meter.check(self._sealed.header, self._meter, is_error=record.kind is Kind.ERROR)
        if record.is_final and attempt.receipt_key is not None:
            head = attempt.head
            verify_receipt(
                attempt.receipt_key,
                record,
                digest=self._sealed.digest,
                provider_id=head.provider_id,
                key_id=head.key_id,
                nonce=head.nonce,
            )
            self._receipt = record
        elif record.is_signed:
            raise SealingError("receipt_invalid")
        self._meter = meter
        return meter

    def __reduce__(self) -> NoReturn:
        raise TypeError("a frame opener is not copied")

    def __repr__(self) -> str:
        state = "dead" if self._is_dead else "final" if self._is_final else "open"
        return f"FrameOpener(next_seq={self._next_seq}, {state})"
