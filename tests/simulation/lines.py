"""The direct way to a simulated consumer's socket: what `api.http.direct.DirectLine` is to the response writer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_BUFFER_BYTES: Final = 2_000
"""What leaves at once; more than that waits for the reader."""


class SimulatedLine:
    """Takes bytes without blocking until its buffer is full, and says when there is room again."""

    def __init__(self, take: Callable[[bytes], None], pace_bytes_s: float | None) -> None:
        """Hand bytes to `take` as they arrive; None is a reader without limit, 0 one that reads nothing."""
        self.is_writable = False
        self._take = take
        self._pace_bytes_s = pace_bytes_s
        self._waiting = bytearray()
        self._on_writable: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def transport(self) -> SimulatedLine:
        return self

    def get_extra_info(self, name: str) -> None:
        """There is no socket whose kernel could be asked."""

    def open(self, on_writable: Callable[[], None]) -> bool:
        self._on_writable = on_writable
        self.is_writable = True
        return True

    def write(self, data: bytes) -> None:
        if not self.is_writable:
            raise RuntimeError("written while there was no room")
        if self._pace_bytes_s is None:
            self._take(data)
            return
        self._waiting += data
        self.is_writable = len(self._waiting) < _BUFFER_BYTES
        self._read_on()

    def flush(self) -> None:
        """Let what was written leave: whatever follows comes after it."""
        waiting, self._waiting = bytes(self._waiting), bytearray()
        if waiting:
            self._take(waiting)

    def end(self) -> None:
        """The connection is gone."""
        self.is_writable = False
        self._on_writable = None
        if self._timer is not None:
            self._timer.cancel()

    def _read_on(self) -> None:
        if self._timer is None and self._waiting and self._pace_bytes_s:
            step_s = min(len(self._waiting), _BUFFER_BYTES) / self._pace_bytes_s
            self._timer = asyncio.get_running_loop().call_later(step_s, self._read)

    def _read(self) -> None:
        self._timer = None
        self.flush()
        if not self.is_writable and self._on_writable is not None:
            self.is_writable = True
            self._on_writable()
