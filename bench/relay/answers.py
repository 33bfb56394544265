"""Reading answers cheaply and without I/O: the body of an HTTP/1.1 response, and the stamped events inside it.

Rules: an answer is whole only when its last chunk, the end marker and the end of the HTTP body were seen, in that
order; sequence numbers are 0, 1, 2, ...; everything else is counted as what it is.
"""

from __future__ import annotations

import re
import time
from array import array
from typing import Final

_STAMPED: Final = re.compile(rb'"content": ?"(\d+) (\d+) ')
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)")
_HEAD, _WHOLE, _CHUNKED, _SIZED, _TO_CLOSE = range(5)


class ResponseReader:
    """Takes the bytes of one response after another from a connection and gives the body back, without its framing."""

    __slots__ = ("_buffer", "_left", "_state", "status")

    def __init__(self) -> None:
        self._buffer = b""
        self._state = _HEAD
        self._left = 0
        self.status = 0

    @property
    def is_whole(self) -> bool:
        return self._state == _WHOLE

    def reset(self) -> None:
        """Be ready for the next response of the connection."""
        self._state = _HEAD
        self.status = 0

    def feed(self, data: bytes) -> bytes:
        """Return the body bytes that `data` completes; raises `ValueError` for what is no HTTP."""
        if self._state == _CHUNKED and not self._buffer:
            # The common case: one event in one HTTP chunk in one read.
            line = data.find(b"\r\n", 0, 10)
            if line > 0 and len(data) == line + 4 + (size := int(data[:line], 16)) and size:
                return data[line + 2 : -2]
        self._buffer = self._buffer + data if self._buffer else data
        if self._state == _HEAD and not self._read_head():
            return b""
        return self._read_chunks() if self._state == _CHUNKED else self._read_plain()

    def end(self) -> None:
        """Say that the connection has ended: the end of a body that has no other."""
        if self._state == _TO_CLOSE:
            self._state = _WHOLE

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head, self._buffer = self._buffer[: end + 2].lower(), self._buffer[end + 4 :]
        self.status = int(head[9:12])
        if b"\r\ntransfer-encoding: chunked" in head:
            self._state = _CHUNKED
        elif length := _LENGTH.search(head):
            self._state, self._left = _SIZED, int(length[1])
        else:
            self._state = _TO_CLOSE
        return True

    def _read_plain(self) -> bytes:
        body, self._buffer = self._buffer, b""
        if self._state == _SIZED:
            self._left -= len(body)
            if self._left <= 0:
                self._state = _WHOLE
        return body

    def _read_chunks(self) -> bytes:
        buffer, at, parts = self._buffer, 0, []
        while (line := buffer.find(b"\r\n", at)) >= 0:
            size = int(buffer[at:line].partition(b";")[0], 16)
            if len(buffer) < (after := line + 4 + size):
                break
            parts.append(buffer[line + 2 : after - 2])
            at = after
            if not size:
                self._state = _WHOLE
                break
        self._buffer = buffer[at:]
        return b"".join(parts)


class EventReader:
    """Takes the body of one stream, checks the order of its chunks and keeps their delays in nanoseconds."""

    __slots__ = ("_rest", "count", "delays_ns", "disorders", "first_ns", "is_done")

    def __init__(self) -> None:
        self._rest = b""
        self.count = 0
        self.disorders = 0
        self.first_ns = 0
        self.is_done = False
        self.delays_ns = array("q")

    def feed(self, body: bytes) -> None:
        """Read the events that are whole now."""
        now_ns = time.monotonic_ns()
        if self._rest:
            body = self._rest + body
            self._rest = b""
        if not body.endswith(b"\n\n"):
            cut = body.rfind(b"\n\n") + 2 if b"\n\n" in body else 0
            body, self._rest = body[:cut], body[cut:]
        for seq, emitted_ns in _STAMPED.findall(body):
            if self.is_done or int(seq) != self.count:
                self.disorders += 1
            self.count += 1
            self.delays_ns.append(now_ns - int(emitted_ns))
        if not self.first_ns and self.count:
            self.first_ns = now_ns
        if body.endswith(b"[DONE]\n\n"):
            self.is_done = True


def verdict(events: EventReader, *, chunks: int, is_whole: bool) -> str:
    """Judge a stream that has ended: `whole`, or the first thing that is wrong with it."""
    if events.disorders:
        return "reordered"
    if events.count != chunks:
        return "lost" if events.is_done else "truncated"
    return "whole" if is_whole and events.is_done else "truncated"
