"""No bytes make the codec raise anything but a protocol error, quote the peer, or take more memory than its bound."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hushnet.foundation.errors import RemoteProtocolError
from hushnet.wire.codec import (
    COORDINATOR_TAGS,
    FROM_COORDINATOR,
    FROM_PROVIDER,
    PROVIDER_TAGS,
    decode_coordinator_frame,
    decode_provider_frame,
    pack_header,
    split_data,
)
from hushnet.wire.errors import LinkFault
from hushnet.wire.limits import CONTROL_BYTES_MAX, MESSAGE_BYTES_MAX

DECODERS = [decode_coordinator_frame, decode_provider_frame]
Decoder = Callable[[bytes], Any]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=100)
    | st.binary(max_size=64).map(msgspec.json.encode).map(lambda raw: raw.decode().strip('"'))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)
members = st.sampled_from(
    [
        "version",
        "versions",
        "token",
        "agent_version",
        "statement",
        "models",
        "capacity",
        "challenge_signature",
        "nonce",
        "network",
        "attempt",
        "code",
        "bytes",
        "deadline_ms",
        "credit_bytes",
        "envelope_bytes",
        "reason",
        "model",
        "hint",
        "optional",
        "register_within_s",
        "heartbeat_s",
        "provider_id",
    ]
)
framelike = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(COORDINATOR_TAGS | PROVIDER_TAGS)) | st.text(max_size=20)},
    optional={"optional": st.booleans() | scalars},
).flatmap(lambda head: st.dictionaries(members, values, max_size=8).map(lambda rest: {**rest, **head}))


def outcome(decode: Decoder, raw: bytes) -> LinkFault | None:
    """Decode; returns the fault, None when a frame or nothing came out. Any other exception fails the test."""
    try:
        decode(raw)
    except RemoteProtocolError as error:
        fault, text = LinkFault(error.error_code), str(error)
    else:
        return None
    assert text == f"the peer broke a rule of the link: {fault}"
    return fault


@pytest.mark.parametrize("decode", DECODERS)
@settings(deadline=None, max_examples=60)
@given(raw=st.binary(max_size=400))
def test_arbitrary_bytes(decode: Decoder, raw: bytes) -> None:
    outcome(decode, raw)


@pytest.mark.parametrize("decode", DECODERS)
@settings(deadline=None, max_examples=60)
@given(frame=framelike)
@example(frame={"type": "credit", "attempt": 10**400, "bytes": -1})
@example(frame={"type": "heartbeat", "capacity": {"slots": 1, "active": 0, "load": 1e308}})
def test_json_that_looks_like_a_frame(decode: Decoder, frame: dict[str, Any]) -> None:
    outcome(
        decode, msgspec.json.encode(frame) if all(type(each) is not int for each in frame.values()) else _dump(frame)
    )


@pytest.mark.parametrize("decode", DECODERS)
@settings(deadline=None, max_examples=60)
@given(frame=framelike, cut=st.integers(0, 2000), flip=st.integers(0, 2000), bit=st.integers(0, 7))
def test_a_frame_that_was_cut_or_damaged(decode: Decoder, frame: dict[str, Any], cut: int, flip: int, bit: int) -> None:
    raw = bytearray(_dump(frame))
    raw[flip % len(raw)] ^= 1 << bit
    outcome(decode, bytes(raw))
    outcome(decode, bytes(raw[: cut % len(raw)]))


@pytest.mark.parametrize("types", [FROM_COORDINATOR, FROM_PROVIDER])
@settings(deadline=None, max_examples=60)
@given(raw=st.binary(max_size=400))
def test_arbitrary_bytes_as_data(types: frozenset[int], raw: bytes) -> None:
    outcome(lambda each: split_data(each, types), raw)


@settings(deadline=None, max_examples=60)
@given(
    records=st.lists(
        st.tuples(st.just(3), st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=300)), min_size=1, max_size=20
    ),
    cut=st.integers(1, 308),
)
def test_whole_records_come_out_as_they_went_in_and_a_cut_message_is_refused(
    records: list[tuple[int, int, bytes]], cut: int
) -> None:
    message = b"".join(pack_header(kind, attempt, len(payload)) + payload for kind, attempt, payload in records)
    assert split_data(message, FROM_PROVIDER) == records
    if cut < 9 + len(records[-1][2]):
        assert outcome(lambda raw: split_data(raw, FROM_PROVIDER), message[:-cut]) is LinkFault.BAD_DATA


HEAVY = [
    b'{"type":"models","models":[' + b"{}," * 21_000 + b"{}]}",
    b'{"type":"models","models":' + b"[" * 60_000,
    b'{"type":"models","x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    b'{"type":"heartbeat","capacity":{"per_model":['
    + b'{"model":"m","slots":1,"active":0,"queued":0},' * 1200
    + b"0]}}",
    b'{"type":"bye","code":"' + b"\\u0061" * 10_000 + b'"}',
    b'{"type":"finished","attempt":' + b"9" * 60_000 + b"}",
    b'{"type":"x","optional":true,"y":[' + b"[]," * 20_000 + b"1]}",
    b" " * CONTROL_BYTES_MAX,
]


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("raw", HEAVY, ids=range(len(HEAVY)))
def test_the_heaviest_frames_stay_within_their_bound(decode: Decoder, raw: bytes) -> None:
    assert len(raw) <= CONTROL_BYTES_MAX
    assert _peak_bytes(lambda: outcome(decode, raw)) < 32 * CONTROL_BYTES_MAX


def test_the_heaviest_data_message_stays_within_its_bound() -> None:
    message = (pack_header(3, 1, 1) + b"x") * (MESSAGE_BYTES_MAX // 10)
    assert _peak_bytes(lambda: outcome(lambda raw: split_data(raw, FROM_PROVIDER), message)) < 32 * MESSAGE_BYTES_MAX
    claims = pack_header(3, 1, 2**32 - 1)
    assert _peak_bytes(lambda: outcome(lambda raw: split_data(raw, FROM_PROVIDER), claims)) < 16 * 1024


@settings(deadline=None, max_examples=20)
@given(size=st.integers(CONTROL_BYTES_MAX + 1, CONTROL_BYTES_MAX + 100_000))
def test_what_exceeds_the_bound_is_not_even_read(size: int) -> None:
    raw = b" " * size
    for decode in DECODERS:
        assert outcome(decode, raw) is LinkFault.MESSAGE_TOO_BIG
        assert _peak_bytes(lambda decode=decode: outcome(decode, raw)) < 16 * 1024  # type: ignore[misc]


def _peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _dump(frame: dict[str, Any]) -> bytes:
    """Write JSON with the standard library, which knows integers of any size."""
    return json.dumps(frame).encode("utf-8", "surrogatepass")
