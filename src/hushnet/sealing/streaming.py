"""The two forms in which records cross HTTP: server-sent events with base64, and records back to back (section 12)."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Final

from hushnet.sealing.encoding import decode_base64
from hushnet.sealing.errors import SealingError
from hushnet.sealing.limits import CLEAR_MAX, RECORD_HEADER, RECORD_MAX
from hushnet.sealing.records.layout import Kind, record_size, relay_code_of, relay_error_record, split_records

MEDIA_REQUEST: Final = "application/vnd.hushnet.sealed-request"
MEDIA_STREAM: Final = "application/vnd.hushnet.sealed-stream"
MEDIA_EVENTS: Final = "text/event-stream"

EVENT_RECORDS_MAX: Final = 4 * RECORD_MAX
"""The most record bytes in one event; a writer starts another event, a reader refuses more."""
_LINE_MAX: Final = 16 + 4 * -(-EVENT_RECORDS_MAX // 3)


def encode_sse(records: Iterable[bytes]) -> bytes:
    """Write whole records as server-sent events, several to an event; a keep-alive as a comment, a relay error as its event."""
    events: list[bytes] = []
    batch: list[bytes] = []
    batched = 0
    for record in records:
        is_from_relay = record[0] in (Kind.KEEPALIVE, Kind.RELAY_ERROR)
        if batch and (is_from_relay or batched + len(record) > EVENT_RECORDS_MAX):
            events.append(_data_event(batch))
            batch, batched = [], 0
        if is_from_relay:
            events.append(_relay_event(record))
        else:
            batch.append(record)
            batched += len(record)
    if batch:
        events.append(_data_event(batch))
    return b"".join(events)


def _data_event(records: list[bytes]) -> bytes:
    return b"data: " + binascii.b2a_base64(b"".join(records), newline=False) + b"\n\n"


def _relay_event(record: bytes) -> bytes:
    if record[0] == Kind.KEEPALIVE:
        return b":\n\n"
    # Written anew from the code alone: the clear part might hold line breaks, and with them events of its own.
    return b'event: relay-error\ndata: {"code":"%b"}\n\n' % relay_code_of(record[RECORD_HEADER:]).encode("ascii")


class BinaryRecordReader:
    """Cuts a byte stream of records into records; holds at most one unfinished record."""

    __slots__ = ("_buffer", "_wanted")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = RECORD_HEADER

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes, return the records that are now whole; raises as `record_size` does, never later than it can."""
        if self._buffer:
            self._buffer += chunk
            if len(self._buffer) < self._wanted:
                return []
            records, rest = split_records(self._buffer)
        else:
            records, rest = split_records(chunk)
        self._buffer = bytearray(rest)
        self._wanted = record_size(rest) or RECORD_HEADER
        return [record.raw for record in records]


class SseRecordReader:
    """Reads records out of server-sent events; strict, because only a relay of ours writes them.

    An event is one `data` line of canonical base64 over whole records, or `event: relay-error` with its JSON; lines end
    in LF or CRLF. Any other field, a second data line, a partial record or a line above the bound is `frame_malformed`.
    """

    __slots__ = ("_buffer", "_data", "_is_relay_event")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data: bytes | None = None
        self._is_relay_event = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes, return the records of the events that are now complete."""
        self._buffer += chunk
        lines: list[bytes] = []
        if b"\n" in chunk:
            *lines, rest = bytes(self._buffer).split(b"\n")
            self._buffer = bytearray(rest)
        if len(self._buffer) > _LINE_MAX:
            raise SealingError("frame_malformed")
        records: list[bytes] = []
        for line in lines:
            if line in (b"", b"\r"):
                records.extend(self._dispatch())
            else:
                self._read_field(line.removesuffix(b"\r"))
        return records

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            return
        if name == b"data" and self._data is None and len(value) <= _LINE_MAX:
            self._data = value
        elif name == b"event" and value == b"relay-error" and not self._is_relay_event:
            self._is_relay_event = True
        else:
            raise SealingError("frame_malformed")

    def _dispatch(self) -> list[bytes]:
        data, is_relay_event = self._data, self._is_relay_event
        self._data, self._is_relay_event = None, False
        if is_relay_event:
            if data is None or len(data) > CLEAR_MAX:
                raise SealingError("frame_malformed")
            return [relay_error_record(relay_code_of(data))]
        return _records_of_event(data) if data is not None else []


def _records_of_event(data: bytes) -> list[bytes]:
    decoded = decode_base64(data)
    if not decoded:
        raise SealingError("frame_malformed")
    records, rest = split_records(decoded)
    if rest:
        raise SealingError("frame_malformed")
    return [record.raw for record in records]
