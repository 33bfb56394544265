"""Server-sent events as an engine sends them: the payloads of `data:` lines, whole."""

from __future__ import annotations

from typing import Final

from hushnet.provider.engines.base import EngineFailed

LINE_BYTES_MAX: Final = 1 << 20


class DataLines:
    """Cuts bytes as they arrive into payloads; keeps at most one unfinished line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> list[bytes]:
        """Return the payloads that are complete now, without `[DONE]`; raises `EngineFailed` for an endless line."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            raise EngineFailed("the engine sent a line without an end")
        payloads = (line[5:].strip() for line in lines if line.startswith(b"data:"))
        return [payload for payload in payloads if payload and payload != b"[DONE]"]
