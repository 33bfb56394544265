"""The framing of the mesh: a length of four bytes, big-endian, then the payload. Pure."""

from __future__ import annotations

import struct
from typing import Final

from hushnet.foundation.errors import RemoteProtocolError

LENGTH: Final = struct.Struct(">I")


def framed(payload: bytes) -> bytes:
    """Put the length in front of `payload`."""
    return LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Cuts what arrives into payloads; keeps at most one unfinished frame, which is never longer than `frame_bytes_max`."""

    __slots__ = ("_frame_bytes_max", "_kept")

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._kept = bytearray()

    @property
    def kept(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._kept)

    def feed(self, data: bytes) -> list[memoryview]:
        """Take bytes, return the payloads that are whole now; they are views that live as long as their holder.

        Raises `RemoteProtocolError` for a frame that is empty or too long, as soon as its length is known.
        """
        if self._kept:
            self._kept += data
            data = bytes(self._kept) if self._is_whole() else b""
            if not data:
                return []
        view, start, payloads = memoryview(data), 0, []
        while (end := self._end(view, start)) <= len(view):
            payloads.append(view[start + LENGTH.size : end])
            start = end
        self._kept = bytearray(view[start:])
        return payloads

    def _is_whole(self) -> bool:
        return self._end(self._kept, 0) <= len(self._kept)

    def _end(self, buffer: memoryview | bytearray, start: int) -> int:
        """Return where the frame at `start` ends; past the end of what is there while even its length is not."""
        if len(buffer) - start < LENGTH.size:
            return len(buffer) + 1
        size: int = LENGTH.unpack_from(buffer, start)[0]
        if not 1 <= size <= self._frame_bytes_max:
            raise RemoteProtocolError("a frame of the mesh is empty or too long", code="bad_frame")
        return start + LENGTH.size + size
