"""The layout of response records, the unit of a sealed answer: what everyone reads without a key (section 8).

A record is `kind u8 | flags u8 | c u16 | seq u32 | t u32 | clear (c) | ciphertext (t)`. The relay reads kind, flags
and clear part and forwards the bytes untouched; only `sealing.opening` reads further.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import Final

import msgspec

from hushnet.sealing.errors import RelayReportedError, SealingError
from hushnet.sealing.limits import CLEAR_MAX, PLAIN_MAX, RECORD_HEADER, TAG_SIZE
from hushnet.sealing.meters import METER_SIZE, SIGNATURE_SIZE, Meter


class Kind(IntEnum):
    """What a record is; `KEEPALIVE` and `RELAY_ERROR` come from the relay and are not authenticated."""

    KEEPALIVE = 0
    HEAD = 1
    BOILERPLATE = 2
    CONTENT = 3
    USAGE = 4
    ERROR = 5
    END = 6
    RELAY_ERROR = 127


FINAL: Final = 1
SIGNED: Final = 2
HEAD_SIZE: Final = 84
CIPHERTEXT_MIN: Final = 4 + TAG_SIZE
CIPHERTEXT_MAX: Final = PLAIN_MAX + TAG_SIZE
KEEPALIVE_RECORD: Final = bytes(RECORD_HEADER)

_HEADER: Final = struct.Struct(">BBHII")
_HEAD: Final = struct.Struct(">BBH32s16s32s")
_SIGNED_SIZE: Final = METER_SIZE + SIGNATURE_SIZE
_FROM_RELAY: Final = (Kind.KEEPALIVE, Kind.RELAY_ERROR)
"""A tuple, searched by identity first."""
_KINDS: Final = frozenset(int(kind) for kind in Kind)
_SHAPES: Final = {
    kind << 8 | flags: (kind, clear_size)
    for kind, flags, clear_size in (
        (Kind.HEAD, 0, HEAD_SIZE),
        (Kind.BOILERPLATE, 0, 0),
        (Kind.CONTENT, 0, 0),
        (Kind.USAGE, 0, METER_SIZE),
        (Kind.ERROR, FINAL, METER_SIZE),
        (Kind.ERROR, FINAL | SIGNED, _SIGNED_SIZE),
        (Kind.END, FINAL, METER_SIZE),
        (Kind.END, FINAL | SIGNED, _SIGNED_SIZE),
    )
}
"""The flags that a kind may carry and the clear length that goes with them, by the record's first two bytes.

Keyed by plain integers: hashing an enum member costs more than the rest of the look-up, and this runs for every record.
"""
_RELAY_CODE: Final = re.compile(r"[a-z0-9_]{1,64}")


class Record(msgspec.Struct, frozen=True, gc=False):
    """A well-formed record: `raw` is all of it, `clear` its clear part. `repr` shows no ciphertext."""

    kind: Kind
    flags: int
    seq: int
    clear: bytes
    raw: bytes

    @property
    def is_final(self) -> bool:
        """Whether nothing may follow: the record is an end or an error."""
        return self.flags & FINAL != 0

    @property
    def is_signed(self) -> bool:
        """Whether the clear part is a meter with a receipt."""
        return self.flags & SIGNED != 0

    @property
    def is_from_relay(self) -> bool:
        """Whether only a relay may write such a record: one that arrives from a provider is a fault of that provider."""
        return self.kind in _FROM_RELAY

    def __repr__(self) -> str:
        return f"Record({self.kind.name.lower()}, seq={self.seq}, {len(self.raw)} bytes)"


def record_size(buffer: bytes | bytearray | memoryview, start: int = 0) -> int | None:
    """Return the size that the record at `start` claims, None while its 12 header bytes are not all there.

    Raises `frame_unknown_kind`, `frame_bad_flags`, `frame_bad_length` or `frame_malformed` for a header that no record
    has, so that nobody waits for, or allocates, what it claims.
    """
    if len(buffer) - start < RECORD_HEADER:
        return None
    kind, flags, clear_size, seq, cipher_size = _HEADER.unpack_from(buffer, start)
    _check_shape(kind, flags, clear_size, seq, cipher_size)
    size: int = RECORD_HEADER + clear_size + cipher_size
    return size


def parse_record(raw: bytes) -> Record:
    """Read exactly one record and check its shape (steps 1 to 4 of `open_frame`); opens nothing.

    Raises `frame_malformed`, `frame_unknown_kind`, `frame_bad_flags` or `frame_bad_length`.
    """
    size = len(raw)
    if size < RECORD_HEADER:
        raise SealingError("frame_malformed")
    kind, flags, clear_size, seq, cipher_size = _HEADER.unpack_from(raw)
    if size != RECORD_HEADER + clear_size + cipher_size:
        raise SealingError("frame_malformed")
    shape = _SHAPES.get(kind << 8 | flags)
    if shape is None or clear_size != shape[1] or not CIPHERTEXT_MIN <= cipher_size <= CIPHERTEXT_MAX:
        known = _check_shape(kind, flags, clear_size, seq, cipher_size)
    else:
        known = shape[0]
    return Record(known, flags, seq, raw[RECORD_HEADER : RECORD_HEADER + clear_size], raw)


def _check_shape(kind: int, flags: int, clear_size: int, seq: int, cipher_size: int) -> Kind:
    shape = _SHAPES.get(kind << 8 | flags)
    if shape is None:
        return _check_relay_shape(kind, flags, clear_size, seq, cipher_size)
    if clear_size != shape[1] or not CIPHERTEXT_MIN <= cipher_size <= CIPHERTEXT_MAX:
        raise SealingError("frame_bad_length")
    return shape[0]


def _check_relay_shape(kind: int, flags: int, clear_size: int, seq: int, cipher_size: int) -> Kind:
    """Check what has no entry in `_SHAPES`: the relay's own records, and everything that is no record."""
    if kind not in _KINDS:
        raise SealingError("frame_unknown_kind")
    known = Kind(kind)
    if known is not Kind.KEEPALIVE and known is not Kind.RELAY_ERROR:
        raise SealingError("frame_bad_flags")
    if flags or seq or cipher_size or (known is Kind.KEEPALIVE and clear_size):
        raise SealingError("frame_malformed")
    if clear_size > CLEAR_MAX:
        raise SealingError("frame_bad_length")
    return known


def split_records(buffer: bytes | bytearray | memoryview) -> tuple[list[Record], bytes]:
    """Cut `buffer` into whole records and the rest, which is less than one record. Raises as `record_size` does."""
    view = memoryview(buffer)
    records: list[Record] = []
    start, size = 0, len(view)
    while size - start >= RECORD_HEADER:
        kind, flags, clear_size, seq, cipher_size = _HEADER.unpack_from(view, start)
        known = _check_shape(kind, flags, clear_size, seq, cipher_size)
        end = start + RECORD_HEADER + clear_size + cipher_size
        if end > size:
            break
        raw = bytes(view[start:end])
        records.append(Record(known, flags, seq, raw[RECORD_HEADER : RECORD_HEADER + clear_size], raw))
        start = end
    return records, bytes(view[start:])


class Head(msgspec.Struct, frozen=True, gc=False):
    """The clear part of a head: whose answer this claims to be, and the nonce that names the attempt."""

    suite: int
    provider_id: bytes
    key_id: bytes
    nonce: bytes

    def pack(self) -> bytes:
        return _HEAD.pack(1, self.suite, 0, self.provider_id, self.key_id, self.nonce)


def parse_head(record: Record) -> Head:
    """Read a head's clear part; raises `head_unsupported_version`, or `frame_malformed` where reserved bytes are set."""
    if record.kind is not Kind.HEAD:
        raise SealingError("frame_out_of_state")
    version, suite, reserved, provider_id, key_id, nonce = _HEAD.unpack(record.clear)
    if version != 1:
        raise SealingError("head_unsupported_version")
    if reserved:
        raise SealingError("frame_malformed")
    return Head(suite, provider_id, key_id, nonce)


def meter_of(record: Record) -> Meter:
    """Read the meter of a usage, error or end record; raises `meter_invalid` for other kinds or set reserved bytes."""
    if record.kind is Kind.HEAD:
        raise SealingError("meter_invalid")
    return Meter.unpack(record.clear)


def record_header(kind: int, flags: int, clear_size: int, seq: int, cipher_size: int) -> bytes:
    """Write the 12 bytes that open a record."""
    return _HEADER.pack(kind, flags, clear_size, seq, cipher_size)


def keepalive_record() -> bytes:
    """Return the relay's keep-alive: twelve zero bytes."""
    return KEEPALIVE_RECORD


def relay_error_record(code: str) -> bytes:
    """Write the relay's own failure; `code` is 1..64 of `[a-z0-9_]`."""
    if _RELAY_CODE.fullmatch(code) is None:
        raise ValueError("a relay error's code is 1..64 of [a-z0-9_]")
    clear = b'{"code":"%b"}' % code.encode("ascii")
    return record_header(Kind.RELAY_ERROR, 0, len(clear), 0, 0) + clear


class _RelayError(msgspec.Struct):
    code: str


def relay_code_of(clear: bytes) -> str:
    """Read the code that a relay error shows: unauthenticated, `unknown` unless it is 1..64 of `[a-z0-9_]`."""
    try:
        code = msgspec.json.decode(clear, type=_RelayError).code
    except (ValueError, RecursionError):
        return "unknown"
    return code if _RELAY_CODE.fullmatch(code) is not None else "unknown"


def relay_failure(record: Record) -> RelayReportedError:
    """Return the error that a relay error record stands for."""
    return RelayReportedError(relay_code_of(record.clear))
