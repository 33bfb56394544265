"""A consumer's reading, seen from our end of its TCP connection: Linux's `TCP_INFO`, and nothing elsewhere.

A write that finished says little about a reader: our kernel takes megabytes when it feels like it, and then nothing for
a while. `TCP_INFO` says what the consumer's kernel has acknowledged, and whether it is the consumer's own window that
keeps bytes from leaving. Fields are appended to the structure over the years and it may come short: what is missing makes
the look None, never a guess.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Final

from hushnet.coordinator.serving.rules.progress import ReaderLook

UNSENT_BYTES: Final = 64 * 1024
"""What our kernel may hold that it has not sent: the rest stays with us, where it is bounded and can still be cut (ADR 0031)."""

_IS_LINUX: Final = sys.platform == "linux"
_TCP_INFO: Final = 11
"""`linux/tcp.h`; `socket` has the name on Linux only."""
_INFO_BYTES: Final = 232
"""To the end of `tcpi_snd_wnd`, the newest field used here (Linux 5.4)."""
_FIELDS: Final = struct.Struct("=16x I 4x I 16x I 72x Q 16x I 28x Q 44x I")
"""snd_mss 16, unacked 24, last_data_sent 44, bytes_acked 120, notsent_bytes 144, rwnd_limited 176, snd_wnd 228."""


class SocketReader:
    """Looks at one consumer's connection through its transport's socket."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def look(self) -> ReaderLook | None:
        """Return what the kernel knows; None for anything but a live TCP connection on Linux 5.4 or later."""
        connection = self._transport.get_extra_info("socket") if _IS_LINUX else None
        if connection is None:
            return None
        try:
            raw = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
        except (OSError, ValueError):  # not TCP, or closed
            return None
        return parse(raw)


def parse(raw: bytes) -> ReaderLook | None:
    """Read a `struct tcp_info`; None when it is too short, or its kernel does not keep the account of windows.

    A window is shut when it is zero, or too small for a segment with nothing on the way that could still open it.
    """
    if len(raw) < _INFO_BYTES:
        return None
    mss, unacknowledged, quiet_ms, acknowledged, unsent, limited_us, window = _FIELDS.unpack_from(raw)
    # A kernel that emulates the call (gVisor) leaves zeros, also where the window is open.
    is_shut = limited_us > 0 and unsent > 0 and (window == 0 or (window < mss and unacknowledged == 0))
    return ReaderLook(acknowledged, is_shut, quiet_ms / 1000)


def keep_unsent_low(listening: socket.socket) -> None:
    """Bound what the kernel holds unsent for every connection that `listening` accepts, where it can be bounded."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
