"""No input raises anything but `SealingError` with a code of the closed set, nor costs more than its bound."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hushnet.sealing.encoding import decode_base64, decode_hex, pae
from hushnet.sealing.envelope import parse_envelope, read_meta
from hushnet.sealing.errors import CODES, SealingError
from hushnet.sealing.header import decode_header, encode_header
from hushnet.sealing.meters import Meter
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.records import parse_record, relay_code_of, split_records
from hushnet.sealing.statements import (
    PAYLOAD_TYPE,
    KeyPolicy,
    SerialMemory,
    Statement,
    decode_listing,
    encode_listing,
    verify_keys,
)
from hushnet.sealing.streaming import EVENT_RECORDS_MAX, BinaryRecordReader, SseRecordReader, encode_sse
from hushnet.sealing.suites import Suite
from support.sealing import NETWORK, NOW, BenchProvider, RequestForger, copy_of, seal_to

HOME = BenchProvider()
FORGER = RequestForger([HOME.recipient(suite) for suite in (Suite.NACL_BOX,)])
ENVELOPE = FORGER.raw()
HEADER = FORGER.header_bytes
SEALED = seal_to(HOME.recipient(Suite.NACL_BOX))


def answer() -> list[bytes]:
    sealer = HOME.open(SEALED.raw).frame_sealer()
    return [
        sealer.head(b"{}"),
        sealer.content(b"x" * 40),
        sealer.usage(Meter(1, 0, 1, 0)),
        sealer.end(Meter(1, 0, 1, 0)),
    ]


RECORDS = answer()
STREAM = b"".join(RECORDS)
EVENTS = encode_sse(RECORDS[:2]) + encode_sse(RECORDS[2:])
LISTING = encode_listing([], network=NETWORK, now=NOW)
# json.loads only, so that a mutated copy may hold any JSON value anywhere.
ENTRY: dict[str, Any] = HOME.listing()
PAYLOAD: dict[str, Any] = json.loads(HOME.statement.payload)

FEW = settings(max_examples=150, deadline=None)


def guarded(read: Callable[[Any], object], value: object) -> object:
    """Run `read`; a `SealingError` of the closed set is an answer, anything else is the bug looked for."""
    try:
        return read(value)
    except SealingError as error:
        if error.error_code not in CODES:
            raise
    return None


@st.composite
def mutated(draw: st.DrawFn, source: bytes) -> bytes:
    """Return `source` with some bytes overwritten, a slice moved, cut out or repeated."""
    raw = bytearray(source)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + 40)))
        piece = draw(st.one_of(st.binary(max_size=8), st.just(bytes(raw[start:end]) * 2), st.just(b"")))
        raw[start:end] = piece
    return bytes(raw)


def near(source: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(mutated(source), st.binary(max_size=200), st.integers(0, len(source)).map(lambda n: source[:n]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        found += [inner for key, member in value.items() for inner in paths(member, (*path, key))]
    if isinstance(value, list):
        found += [inner for index, member in enumerate(value) for inner in paths(member, (*path, index))]
    return found


@st.composite
def edited(draw: st.DrawFn, source: dict[str, Any]) -> dict[str, Any]:
    """Return `source` with one value anywhere in it replaced by any JSON value, or removed."""
    document = copy.deepcopy(source)
    *outer, last = draw(st.sampled_from(paths(source)))
    holder: Any = document
    for step in outer:
        holder = holder[step]
    if draw(st.booleans()):
        holder[last] = draw(JSON)
    else:
        del holder[last]
    return document


@FEW
@given(near(ENVELOPE))
def test_envelopes(raw: bytes) -> None:
    guarded(parse_envelope, raw)
    opened = guarded(HOME.open, raw)
    assert opened is None or raw == ENVELOPE
    HOME.cache.release(FORGER.header.id)


@FEW
@given(near(HEADER))
def test_a_header_that_decodes_is_its_own_spelling(raw: bytes) -> None:
    header = guarded(decode_header, raw)
    assert header is None or encode_header(header) == raw  # type: ignore[arg-type]


@FEW
@given(edited(json.loads(HEADER)))
def test_a_header_with_any_member_exchanged(members: dict[str, Any]) -> None:
    raw = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    header = guarded(decode_header, raw)
    assert header is None or encode_header(header) == raw  # type: ignore[arg-type]


@FEW
@given(near(STREAM))
def test_records(raw: bytes) -> None:
    guarded(parse_record, raw)
    guarded(split_records, raw)
    guarded(BinaryRecordReader().feed, raw)
    guarded(relay_code_of, raw)


@FEW
@given(st.lists(st.one_of(st.sampled_from(RECORDS), *(mutated(record) for record in RECORDS)), max_size=8))
def test_answers(records: list[bytes]) -> None:
    opener = FrameOpener(copy_of(SEALED))
    opened = [frame for record in records if (frame := guarded(opener.open, record)) is not None]
    is_whole = guarded(lambda _: (opener.finish(), True), None) is not None
    assert is_whole <= opener.is_final
    assert len(opened) <= len(RECORDS)
    if is_whole:
        assert opened[-1].kind in (5, 6)  # type: ignore[attr-defined]


@FEW
@given(near(EVENTS), st.integers(1, 50))
@example(b"data: AAAA\n\n", 1)
def test_events_cut_anywhere(raw: bytes, size: int) -> None:
    whole, cut = SseRecordReader(), SseRecordReader()
    at_once = guarded(whole.feed, raw)
    pieces = [guarded(cut.feed, raw[at : at + size]) for at in range(0, len(raw), size)]
    if at_once is not None and all(piece is not None for piece in pieces):
        assert [record for piece in pieces for record in piece] == at_once  # type: ignore[union-attr]
    assert (at_once is None) == any(piece is None for piece in pieces)


@FEW
@given(st.binary(max_size=300))
def test_meta(raw: bytes) -> None:
    guarded(read_meta, raw)
    guarded(read_meta, b'{"frame_pad":' + raw + b"}")


@FEW
@given(near(LISTING))
def test_listing_documents(raw: bytes) -> None:
    guarded(decode_listing, raw)


def verify(listing: dict[str, Any]) -> object:
    return verify_keys(listing, KeyPolicy(NETWORK, floor="measured"), NOW, SerialMemory())


@FEW
@given(edited(ENTRY))
def test_listing_entries(listing: dict[str, Any]) -> None:
    assert guarded(verify, listing) is None


@FEW
@given(st.dictionaries(st.text(max_size=8), JSON))
def test_listing_entries_of_any_shape(listing: dict[str, Any]) -> None:
    assert guarded(verify, listing) is None


@FEW
@given(st.one_of(edited(PAYLOAD).map(json.dumps).map(str.encode), near(HOME.statement.payload)))
def test_payloads_that_the_provider_itself_signed(payload: bytes) -> None:
    signature = HOME.signer.sign(pae(PAYLOAD_TYPE, payload))
    statement = Statement(PAYLOAD_TYPE, payload, (("", signature),))
    listing = ENTRY | {"statement": statement.to_json_object()}
    guarded(lambda entry: verify_keys(entry, KeyPolicy(NETWORK), NOW, SerialMemory()), listing)


@FEW
@given(st.text(max_size=40))
def test_text_forms(text: str) -> None:
    for size in (0, 1, 16):
        raw = decode_hex(text, size)
        assert raw is None or raw.hex() == text
    decode_base64(text)


CLAIMS = {
    "a record of 4 GiB": (b"\3\0\0\0\0\0\0\1\xff\xff\xff\xff" + bytes(100), BinaryRecordReader().feed),
    "an envelope with a body of 4 GiB": (
        ENVELOPE[: -len(FORGER.body()) - 4] + b"\xff\xff\xff\xff" + bytes(100),
        parse_envelope,
    ),
    "base64 of a record of 4 GiB": (b"data: AwAAAAAAAAH/////" + b"A" * 400 + b"\n\n", SseRecordReader().feed),
    "a header nested 1000 deep": (b"[" * 1000, decode_header),
    "a number of 300 digits": (HEADER.replace(b":16,", b":" + b"9" * 300 + b","), decode_header),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_no_claim_makes_a_reader_allocate_what_it_claims(name: str) -> None:
    raw, read = CLAIMS[name]
    tracemalloc.start()
    try:
        guarded(read, raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_an_endless_event_is_not_kept_beyond_its_bound() -> None:
    reader = SseRecordReader()
    chunk = b"A" * 65536
    tracemalloc.start()
    try:
        for _ in range(64):
            guarded(reader.feed, chunk)
            if len(reader._buffer) > 2 * EVENT_RECORDS_MAX:
                break
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * EVENT_RECORDS_MAX
