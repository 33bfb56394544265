"""Read the dialect's server-sent events: the data of each event, a bounded line at a time (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hushnet.foundation.errors import RemoteProtocolError

EVENT_BYTES_MAX: Final = 4 << 20


class EventReader:
    """Feed bytes, get the `data` of each complete event; comments and other fields are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of every event that is complete now; raises `RemoteProtocolError` beyond 4 MiB an event."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._bound(len(self._rest))
        for line in lines:
            text = line.removesuffix(b"\r")
            if text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
                self._size += len(text)
                self._bound(self._size)
            elif not text and self._data:
                yield b"\n".join(self._data)
                self._data, self._size = [], 0

    def _bound(self, size: int) -> None:
        if size > EVENT_BYTES_MAX:
            raise RemoteProtocolError("an event is larger than 4 MiB", code="bad_answer")
