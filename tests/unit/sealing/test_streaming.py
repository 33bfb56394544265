"""The two forms in which records cross HTTP."""

from __future__ import annotations

import struct
from base64 import b64encode

import pytest

from hushnet.sealing.errors import SealingError
from hushnet.sealing.records import (
    keepalive_record,
    parse_record,
    record_size,
    relay_error_record,
    split_records,
)
from hushnet.sealing.streaming import EVENT_RECORDS_MAX, BinaryRecordReader, SseRecordReader, encode_sse


def content(seq: int, size: int = 40) -> bytes:
    return struct.pack(">BBHII", 3, 0, 0, seq, size) + bytes(size)


RECORDS = [content(1), content(2, 65552), content(3)]
ONE = b"data: " + b64encode(RECORDS[0]) + b"\n\n"


def test_records_share_an_event_of_base64() -> None:
    assert encode_sse(RECORDS[:1]) == ONE
    assert encode_sse([RECORDS[0], RECORDS[2]]) == b"data: " + b64encode(RECORDS[0] + RECORDS[2]) + b"\n\n"
    assert encode_sse([]) == b""


def test_keepalives_become_comments_and_relay_errors_their_own_event() -> None:
    failure = relay_error_record("queue_full")
    text = encode_sse([keepalive_record(), RECORDS[0], keepalive_record(), failure])
    assert text == b":\n\n" + ONE + b':\n\nevent: relay-error\ndata: {"code":"queue_full"}\n\n'
    assert SseRecordReader().feed(text) == [RECORDS[0], failure]


def test_a_relay_error_with_line_breaks_injects_no_event() -> None:
    clear = b'{"code":"a"}\n\ndata: ' + b64encode(RECORDS[0]) + b"\n\n"
    text = encode_sse([struct.pack(">BBHII", 127, 0, len(clear), 0, 0) + clear])
    assert text == b'event: relay-error\ndata: {"code":"unknown"}\n\n'


def test_more_than_an_event_holds_is_several_events_that_read_back() -> None:
    many = [content(seq, 65552) for seq in range(9)]
    text = encode_sse(many)
    assert text.count(b"data: ") == 3
    assert SseRecordReader().feed(text) == many


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_readers_take_chunks_of_any_size(size: int) -> None:
    records = [content(1), content(2, 3000), keepalive_record(), content(3)]
    for reader, stream, expected in (
        (SseRecordReader(), encode_sse(records), [records[0], records[1], records[3]]),
        (BinaryRecordReader(), b"".join(records), records),
    ):
        got = [record for at in range(0, len(stream), size) for record in reader.feed(stream[at : at + size])]
        assert got == expected


def test_carriage_returns_and_comments_are_read_over() -> None:
    text = b": hello\r\n\r\n" + ONE.replace(b"\n", b"\r\n") + b":\r\n\r\n\n\n" + ONE.replace(b": ", b":")
    assert SseRecordReader().feed(text) == [RECORDS[0]] * 2


BAD_EVENTS: dict[str, bytes] = {
    "sse_partial_record": b"data: " + b64encode(RECORDS[0][:-1]) + b"\n\n",
    "sse_record_across_events": b"data: "
    + b64encode(RECORDS[0][:30])
    + b"\n\ndata: "
    + b64encode(RECORDS[0][30:])
    + b"\n\n",
    "sse_record_across_data_lines": b"data: "
    + b64encode(RECORDS[0][:30])
    + b"\ndata: "
    + b64encode(RECORDS[0][30:])
    + b"\n\n",
    "sse_two_data_lines": ONE[:-1] + ONE,
    "sse_stray_base64_bits": b"data: " + b64encode(RECORDS[0] + RECORDS[0])[:-1] + b"\n\n",
    "sse_noncanonical_base64": ONE.replace(b"AA==", b"AB=="),
    "sse_blank_in_base64": ONE.replace(b"AAAA", b"AA AA", 1),
    "sse_extra_field": b"id: 1\n" + ONE,
    "sse_retry_field": b"retry: 1\n" + ONE,
    "sse_other_event": b"event: message\n" + ONE,
    "sse_event_twice": b'event: relay-error\nevent: relay-error\ndata: {"code":"a"}\n\n',
    "sse_relay_error_without_data": b"event: relay-error\n\n",
    "sse_relay_error_too_long": b"event: relay-error\ndata: " + b"x" * 257 + b"\n\n",
    "sse_empty_data": b"data:\n\n",
    "sse_bare_word": b"data\n\n",
    "sse_done": b"data: [DONE]\n\n",
    "sse_byte_order_mark": b"\xef\xbb\xbf" + ONE,
    "sse_endless_line": b"data: " + b"A" * (EVENT_RECORDS_MAX * 2),
    "sse_long_line": b"data: " + b"A" * (EVENT_RECORDS_MAX * 2) + b"\n\n",
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_an_event_that_our_relay_never_writes_is_malformed(name: str) -> None:
    with pytest.raises(SealingError) as caught:
        SseRecordReader().feed(BAD_EVENTS[name])
    assert caught.value.error_code == "frame_malformed"


def test_an_endless_line_is_refused_while_it_arrives() -> None:
    reader = SseRecordReader()
    chunks = [b"A" * 10_000] * (2 * EVENT_RECORDS_MAX // 10_000)
    with pytest.raises(SealingError) as caught:
        list(map(reader.feed, chunks))
    assert caught.value.error_code == "frame_malformed"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (struct.pack(">BBHII", 3, 0, 0, 1, 65553), "frame_bad_length"),
        (struct.pack(">BBHII", 3, 0, 0, 1, 2**32 - 1), "frame_bad_length"),
        (struct.pack(">BBHII", 3, 0, 65535, 1, 40), "frame_bad_length"),
        (struct.pack(">BBHII", 127, 0, 257, 0, 0), "frame_bad_length"),
        (struct.pack(">BBHII", 9, 0, 0, 1, 40), "frame_unknown_kind"),
        (struct.pack(">BBHII", 3, 1, 0, 1, 40), "frame_bad_flags"),
        (struct.pack(">BBHII", 0, 0, 0, 0, 40), "frame_malformed"),
    ],
)
def test_a_header_that_no_record_has_is_refused_before_its_bytes_are_awaited(header: bytes, code: str) -> None:
    for feed in (BinaryRecordReader().feed, split_records, record_size):
        with pytest.raises(SealingError) as caught:
            feed(header)
        assert caught.value.error_code == code


def test_whole_records_are_split_off_and_the_rest_is_kept() -> None:
    records, rest = split_records(RECORDS[0] + RECORDS[2] + RECORDS[0][:20])
    assert [record.raw for record in records] == [RECORDS[0], RECORDS[2]]
    assert rest == RECORDS[0][:20]
    assert split_records(bytearray(RECORDS[0])) == ([parse_record(RECORDS[0])], b"")
    assert split_records(memoryview(RECORDS[0])[:5]) == ([], RECORDS[0][:5])
    assert record_size(RECORDS[0][:11]) is None
    assert record_size(RECORDS[0][:12]) == len(RECORDS[0])


def test_a_record_tells_whether_only_a_relay_writes_it() -> None:
    assert parse_record(keepalive_record()).is_from_relay
    assert parse_record(relay_error_record("a")).is_from_relay
    assert not parse_record(RECORDS[0]).is_from_relay
