"""Bytes to control frames and data records, and back.

Nothing that a peer sends raises anything but `RemoteProtocolError` with a `LinkFault` as its code, and nothing of the
peer's bytes is quoted in it. A data record is `type u8 | attempt u32 | length u32 | payload`, big-endian; a binary
message is one or more of them, whole.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, Final, TypeAlias, TypeVar, get_args

import msgspec

from hushnet.foundation.errors import LocalProtocolError
from hushnet.foundation.redaction import Secret
from hushnet.wire.errors import LinkFault, violation
from hushnet.wire.frames import TOKEN_CHARACTERS_MAX, CoordinatorFrame, ProviderFrame
from hushnet.wire.limits import CONTROL_BYTES_MAX, MESSAGE_BYTES_MAX

FrameT = TypeVar("FrameT")


class DataType(IntEnum):
    """What a data record carries: the first two go to the provider, the last comes from it."""

    ENVELOPE_PART = 1
    ENVELOPE_LAST = 2
    RECORD = 3


DataRecord: TypeAlias = tuple[int, int, bytes]
"""Type, attempt, payload; a tuple because one is made for every record on the path of an answer."""

FROM_COORDINATOR: Final = frozenset({int(DataType.ENVELOPE_PART), int(DataType.ENVELOPE_LAST)})
FROM_PROVIDER: Final = frozenset({int(DataType.RECORD)})

_HEADER: Final = struct.Struct(">BII")
DATA_HEADER_BYTES: Final = _HEADER.size
pack_header: Final = _HEADER.pack
"""`pack_header(type, attempt, length)`: the nine bytes before a payload."""


class _Probe(msgspec.Struct):
    """What is read of a frame that did not decode: whether its type is known, and whether it may be skipped."""

    type: str
    optional: bool = False


def _read_secret(kind: type, value: Any) -> Secret:
    if kind is not Secret or type(value) is not str or len(value) > TOKEN_CHARACTERS_MAX:
        raise ValueError("a token is a short string")
    return Secret(value)


def _write_secret(value: Any) -> str:
    if type(value) is not Secret:
        raise TypeError("a frame holds a value that has no JSON form")
    return value.reveal()


def _tags(union: Any) -> frozenset[str]:
    return frozenset(frame.__struct_config__.tag for frame in get_args(union))


COORDINATOR_TAGS: Final = _tags(CoordinatorFrame)
PROVIDER_TAGS: Final = _tags(ProviderFrame)

_encoder: Final = msgspec.json.Encoder(enc_hook=_write_secret)
_probe: Final = msgspec.json.Decoder(_Probe)
_coordinator_frames: Final[msgspec.json.Decoder[CoordinatorFrame]] = msgspec.json.Decoder(CoordinatorFrame)
_provider_frames: Final[msgspec.json.Decoder[ProviderFrame]] = msgspec.json.Decoder(
    ProviderFrame, dec_hook=_read_secret
)


def encode_control(frame: CoordinatorFrame | ProviderFrame) -> bytes:
    """Write a control frame as JSON; raise `LocalProtocolError` when it is longer than the peer accepts."""
    raw = _encoder.encode(frame)
    if len(raw) > CONTROL_BYTES_MAX:
        raise LocalProtocolError(f"a {type(frame).__name__} frame of {len(raw)} bytes is too long to send")
    return raw


def encode_checked(frame: CoordinatorFrame | ProviderFrame) -> bytes:
    """Write a frame that holds values from elsewhere; raise `LocalProtocolError` when the peer would refuse it."""
    raw = encode_control(frame)
    decode = _coordinator_frames.decode if isinstance(frame, CoordinatorFrame) else _provider_frames.decode
    try:
        decode(raw)
    except msgspec.ValidationError:
        raise LocalProtocolError(f"a {type(frame).__name__} frame breaks a bound of its own protocol") from None
    return raw


def decode_coordinator_frame(raw: bytes) -> CoordinatorFrame | None:
    """Read a frame that a coordinator sent; None for an unknown one that says it is optional."""
    return _decode(raw, _coordinator_frames, COORDINATOR_TAGS)


def decode_provider_frame(raw: bytes) -> ProviderFrame | None:
    """Read a frame that a provider sent; None for an unknown one that says it is optional."""
    return _decode(raw, _provider_frames, PROVIDER_TAGS)


def _decode(raw: bytes, decoder: msgspec.json.Decoder[FrameT], known: frozenset[str]) -> FrameT | None:
    if len(raw) > CONTROL_BYTES_MAX:
        raise violation(LinkFault.MESSAGE_TOO_BIG)
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        pass
    except (ValueError, RecursionError):
        raise violation(LinkFault.BAD_MESSAGE) from None
    fault = _fault_of_undecoded(raw, known)
    if fault is not None:
        raise violation(fault)
    return None


def _fault_of_undecoded(raw: bytes, known: frozenset[str]) -> LinkFault | None:
    try:
        probe = _probe.decode(raw)
    except (ValueError, RecursionError):
        return LinkFault.BAD_MESSAGE
    if probe.type in known:
        return LinkFault.BAD_MESSAGE
    return None if probe.optional else LinkFault.UNKNOWN_FRAME


def split_data(message: bytes, types: frozenset[int]) -> list[DataRecord]:
    """Cut a binary message into its data records; `types` are the ones that may come from this peer."""
    end = len(message)
    if end > MESSAGE_BYTES_MAX:
        raise violation(LinkFault.MESSAGE_TOO_BIG)
    if not end:
        raise violation(LinkFault.BAD_DATA)
    records: list[DataRecord] = []
    start = 0
    while start < end:
        start += DATA_HEADER_BYTES
        if start > end:
            raise violation(LinkFault.BAD_DATA)
        kind, attempt, length = _HEADER.unpack_from(message, start - DATA_HEADER_BYTES)
        if kind not in types:
            raise violation(LinkFault.UNKNOWN_DATA_TYPE)
        if not length or start + length > end:
            raise violation(LinkFault.BAD_DATA)
        records.append((kind, attempt, message[start : start + length]))
        start += length
    return records
