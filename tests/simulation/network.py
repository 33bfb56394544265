"""The network between providers and the coordinator: links that delay, batch, stall and die, each in order within itself.

A link is what a TCP connection with WebSocket messages looks like to the two shells that hold its ends
(`coordinator.api.provider_connection`, `provider.link.connection`): messages arrive whole and in order, late, several at
a time, or no more. Between two links nothing is ordered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from picows import WSListener, WSMsgType

from simulation.chance import often, spread

Message = tuple[WSMsgType, bytes]
Mangle = Callable[[WSMsgType, bytes], list[Message]]
"""What a hostile end does to a message before it leaves: nothing, or other messages in its place."""

_BUFFER_BYTES: Final = 64 * 1024
"""What the two kernels take before a writer is told to wait."""
_PING_S: Final = 15.0
"""How long a provider's end takes to find out that nobody answers (`LinkLimits.ping_idle_s` and `ping_reply_s`)."""


@dataclass(frozen=True)
class Weather:
    """How one link behaves. Latencies in seconds one way, bandwidth in bytes a second."""

    latency_s: float = 0.01
    jitter: float = 1.3
    bytes_s: float = 10e6
    batched: float = 0.1
    """The share of messages that wait until the next moment at which this link lets a batch through."""
    batch_s: float = 0.03


@dataclass(frozen=True)
class Frame:
    """A WebSocket message as picows shows it to a listener."""

    msg_type: WSMsgType
    payload: bytes
    fin: bool = True

    def get_payload_as_bytes(self) -> bytes:
        return self.payload


class End:
    """One end of a link: what its shell knows as picows' transport, and as the asyncio transport below it."""

    close_handshake = None

    def __init__(self, address: str, on_lost: Callable[[], None]) -> None:
        self.listener: WSListener | None = None
        self.is_disconnected = False
        self.is_closing = False
        self.peer: End | None = None
        self.way: Way | None = None
        self.mangle: Mangle | None = None
        self.answers_pings = False
        """As picows does by itself unless it is told not to: the coordinator counts pings first."""
        self._address = address
        self._on_lost = on_lost
        self._is_paused = False

    # What the shells call.

    @property
    def underlying_transport(self) -> End:
        return self

    def set_write_buffer_limits(self, high: int) -> None:
        """The buffer of this network has a size of its own."""

    def get_extra_info(self, name: str) -> Any:
        return (self._address, 1) if name == "peername" else None

    def send(self, msg_type: WSMsgType, message: bytes) -> None:
        if self.is_disconnected or self.is_closing or self.way is None:
            return
        raw = bytes(message)
        for kind, payload in [(msg_type, raw)] if self.mangle is None else self.mangle(msg_type, raw):
            self.way.push(Frame(kind, payload))
        if self.way.waiting_bytes > _BUFFER_BYTES and not self._is_paused and self.listener is not None:
            self._is_paused = True
            self.listener.pause_writing()

    def send_close(self, code: int, reason: bytes) -> None:
        if not self.is_disconnected and not self.is_closing and self.way is not None:
            self.way.push(Frame(WSMsgType.CLOSE, reason))

    def send_ping(self, payload: bytes) -> None:
        self.send(WSMsgType.PING, payload)

    def send_pong(self, payload: bytes) -> None:
        self.send(WSMsgType.PONG, payload)

    def disconnect(self, graceful: bool = True) -> None:
        """Close once everything has left; a line that takes nothing keeps the end open until `abort`."""
        if self.is_disconnected or self.is_closing or self.way is None:
            return
        self.is_closing = True
        self.way.push(None)
        if not self._is_paused:
            asyncio.get_running_loop().call_soon(self.lose)

    def abort(self) -> None:
        """Close now; what has not left is lost."""
        if not self.is_disconnected and self.way is not None:
            self.way.push(None)
            self.lose()

    # What the network calls.

    def arrive(self, frame: Frame) -> None:
        if self.is_disconnected or self.is_closing or self.listener is None:
            return
        if self.answers_pings and frame.msg_type is WSMsgType.PING:
            self.send_pong(frame.payload)
        else:
            self.listener.on_ws_frame(self, frame)

    def drained(self) -> None:
        if self._is_paused and not self.is_disconnected:
            self._is_paused = False
            if self.is_closing:
                self.lose()
            elif self.listener is not None:
                self.listener.resume_writing()

    def lose(self) -> None:
        """The connection is gone at this end."""
        if self.is_disconnected:
            return
        self.is_disconnected = True
        self._on_lost()
        if self.listener is not None:
            self.listener.on_ws_disconnected(self)


class Way:
    """One direction of a link."""

    def __init__(self, chance: Random, weather: Weather, receiver: End, sender: End) -> None:
        self.waiting_bytes = 0
        self.is_cut = False
        self.delivered = 0
        self._chance = chance
        self._weather = weather
        self._receiver = receiver
        self._sender = sender
        self._queue: deque[tuple[float, Frame | None]] = deque()
        self._free_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def push(self, frame: Frame | None) -> None:
        """Send a message after all before it; None is the end of the stream."""
        size = 0 if frame is None else len(frame.payload)
        if self.is_cut:
            self.waiting_bytes += size  # it waits for acknowledgements that never come
            return
        weather, now_s = self._weather, self._loop.time()
        self._free_s = max(self._free_s, now_s) + size / weather.bytes_s
        arrives_s = self._free_s + spread(self._chance, weather.latency_s, factor=weather.jitter)
        if often(self._chance, weather.batched):
            arrives_s = (arrives_s // weather.batch_s + 1) * weather.batch_s
        if self._queue:
            arrives_s = max(arrives_s, self._queue[-1][0])
        self._queue.append((arrives_s, frame))
        self.waiting_bytes += size
        if self._timer is None:
            self._timer = self._loop.call_at(self._queue[0][0], self._deliver)

    def cut(self) -> None:
        """Lose what is under way, and all that follows."""
        self.is_cut = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _deliver(self) -> None:
        """Hand over everything that has arrived by now."""
        self._timer = None
        now_s = self._loop.time() + 1e-9
        while self._queue and self._queue[0][0] <= now_s and not self.is_cut:
            _, frame = self._queue.popleft()
            self.delivered += 1
            if frame is None:
                self._receiver.lose()
            else:
                self.waiting_bytes -= len(frame.payload)
                self._receiver.arrive(frame)
        if self.waiting_bytes <= _BUFFER_BYTES // 4:
            self._sender.drained()
        if self._queue and self._timer is None:
            self._timer = self._loop.call_at(self._queue[0][0], self._deliver)


class Link:
    """Both ends and both ways of one connection."""

    def __init__(self, chance: Random, weather: Weather, provider: End, coordinator: End) -> None:
        self.provider = provider
        self.coordinator = coordinator
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        up = Way(chance, weather, coordinator, provider)
        down = Way(chance, weather, provider, coordinator)
        self._ways = (up, down)
        provider.way, coordinator.way = up, down
        provider.peer, coordinator.peer = coordinator, provider
        provider.answers_pings = True

    @property
    def is_up(self) -> bool:
        return not (self.provider.is_disconnected or self.coordinator.is_disconnected or self._ways[0].is_cut)

    def reset(self) -> None:
        """Break the connection; each end finds out for itself, at once or a little later."""
        self._cut()
        for end in (self.provider, self.coordinator):
            self._loop.call_later(self._chance.choice((0.0, self._chance.random())), end.lose)

    def vanish(self) -> None:
        """Let nothing through any more and tell nobody: the ends find out by silence."""
        self._cut()
        self._loop.call_later(_PING_S, self.provider.lose)

    def _cut(self) -> None:
        for way in self._ways:
            way.cut()
