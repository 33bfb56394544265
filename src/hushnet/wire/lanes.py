"""What waits to be sent on one end of a link: control strictly before data, FIFO inside a lane.

Data records that wait together leave together, in one message. A control frame that speaks about data already queued
(`finished`) takes its place behind that data and no other. `Outflow` moves it into a message socket: control at once,
data once per loop pass, nothing while the socket is full; the shell hands in what sends and what schedules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hushnet.wire.codec import DATA_HEADER_BYTES, pack_header
from hushnet.wire.limits import MESSAGE_BYTES_MAX


class Lanes:
    """Two queues; nothing is ever dropped but the data of an attempt that `forget` names."""

    __slots__ = ("_after", "_control", "_data", "_next", "control_bytes", "data_bytes")

    def __init__(self) -> None:
        self._control: deque[bytes] = deque()
        self._after: deque[tuple[int, bytes]] = deque()
        self._data: deque[tuple[int, int, bytes, bytes | memoryview]] = deque()
        self._next = 0
        self.control_bytes = 0
        self.data_bytes = 0

    def __repr__(self) -> str:
        return f"<Lanes control={self.control_bytes} data={self.data_bytes} bytes>"

    @property
    def has_data(self) -> bool:
        return bool(self._data)

    def push_control(self, raw: bytes) -> None:
        """Queue a control frame in front of all data."""
        self._control.append(raw)
        self.control_bytes += len(raw)

    def push_after_data(self, raw: bytes) -> None:
        """Queue a control frame that leaves after all data queued so far."""
        self._after.append((self._next, raw))
        self.control_bytes += len(raw)

    def push_data(self, kind: int, attempt: int, payload: bytes | memoryview) -> None:
        """Queue one data record; a memoryview is not copied until it leaves, so its buffer must not change."""
        size = len(payload)
        self._data.append((self._next, attempt, pack_header(kind, attempt, size), payload))
        self._next += 1
        self.data_bytes += size + DATA_HEADER_BYTES

    def forget(self, attempt: int) -> None:
        """Drop the queued data of one attempt."""
        kept = deque(item for item in self._data if item[1] != attempt)
        if len(kept) != len(self._data):
            self._data = kept
            self.data_bytes = sum(DATA_HEADER_BYTES + len(item[3]) for item in kept)

    def clear_data(self) -> None:
        """Drop all data and what speaks about it: the link is over, only last words leave."""
        self._data.clear()
        self._after.clear()
        self.data_bytes = 0
        self.control_bytes = sum(map(len, self._control))

    def next_control(self) -> bytes | None:
        """Take the control frame that is due, None when none is."""
        if self._control:
            raw = self._control.popleft()
        elif self._after and (not self._data or self._data[0][0] >= self._after[0][0]):
            raw = self._after.popleft()[1]
        else:
            return None
        self.control_bytes -= len(raw)
        return raw

    def next_message(self) -> bytes | None:
        """Take as many data records as fit one message, None when none wait."""
        data = self._data
        if not data:
            return None
        pieces: list[bytes | memoryview] = []
        size = 0
        while data:
            added = DATA_HEADER_BYTES + len(data[0][3])
            if size and size + added > MESSAGE_BYTES_MAX:
                break
            _, _, header, payload = data.popleft()
            pieces.append(header)
            pieces.append(payload)
            size += added
        self.data_bytes -= size
        return b"".join(pieces)


class Outflow:
    """The one writer of a connection.

    `send_text` and `send_binary` take one whole message and never block; `schedule` calls its argument once, later.
    `prepare` runs at the start of every pass and may queue more.
    """

    __slots__ = ("_is_scheduled", "_lanes", "_prepare", "_schedule", "_send_binary", "_send_text", "is_paused")

    def __init__(
        self,
        lanes: Lanes,
        *,
        send_text: Callable[[bytes], None],
        send_binary: Callable[[bytes], None],
        schedule: Callable[[Callable[[], None]], object],
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._lanes = lanes
        self._send_text = send_text
        self._send_binary = send_binary
        self._schedule = schedule
        self._prepare = prepare
        self._is_scheduled = False
        self.is_paused = False

    def send_control(self) -> None:
        """Send every control frame that is due now; the way of a cancel."""
        while not self.is_paused and (raw := self._lanes.next_control()) is not None:
            self._send_text(raw)

    def wake(self) -> None:
        """Ask for a pass that sends what waits; asking again before it ran changes nothing."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._run_pass)

    def pause(self) -> None:
        """The socket's buffer is full."""
        self.is_paused = True

    def resume(self) -> None:
        """The socket takes bytes again."""
        self.is_paused = False
        self.send_control()
        self.wake()

    def _run_pass(self) -> None:
        self._is_scheduled = False
        if self._prepare is not None:
            self._prepare()
        self.send_control()
        if self.is_paused:
            return
        message = self._lanes.next_message()
        if message is None:
            return
        self._send_binary(message)
        self.send_control()
        if self._lanes.has_data and not self.is_paused:
            self.wake()
