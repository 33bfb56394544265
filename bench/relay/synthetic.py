"""A synthetic engine: paced answers without a model, sealed by the provider's own sealer, driven by one ticker.

Rules:
- All answers of a process share one timer; what falls due within a millisecond leaves in one pass of the loop.
- A record is sealed only when the link may take it: an answer without credit waits, and loses nothing.
- Each answer ends once: whole, cancelled, or with its link.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from bench.relay.events import Asked, EventWriter, completion
from hushnet.provider.checks import failed
from hushnet.sealing.errors import WireCode
from hushnet.sealing.meters import Meter
from hushnet.wire.errors import LinkLost

if TYPE_CHECKING:
    from hushnet.provider.link import AttemptWriter
    from hushnet.sealing.header import RoutingHeader
    from hushnet.sealing.records import FrameSealer

USAGE_EVERY_RECORDS: Final = 16
USAGE_EVERY_NS: Final = 2_000_000_000
"""A usage record is due after so many content records or this long (docs/sealing.md section 9)."""
BURST: Final = 32
"""Unpaced chunks of one answer before the others get a turn."""
_TICK_S: Final = 0.001


class Ticker:
    """One timer for everything that is paced: calls `emit` of what is due, which returns when it is due again."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: list[tuple[int, int, Answer]] = []
        self._count = 0
        self._is_armed = False

    def add(self, due_ns: int, answer: Answer) -> None:
        """Have `answer.emit` called at `due_ns` of the monotonic clock."""
        self._count += 1
        heapq.heappush(self._due, (due_ns, self._count, answer))
        if not self._is_armed:
            self._is_armed = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        now_ns, due = time.monotonic_ns(), self._due
        while due and due[0][0] <= now_ns:
            _, count, answer = due[0]
            again_ns = answer.emit(now_ns)
            if again_ns is None:
                heapq.heappop(due)
            else:
                heapq.heapreplace(due, (again_ns, count, answer))
        self._is_armed = bool(due)
        if due:
            self._loop.call_later(max(_TICK_S, (due[0][0] - now_ns) / 1e9), self._run)


@dataclass(frozen=True, slots=True)
class Ending:
    """How one answer ended, on the machine's monotonic clock; 0 where something did not happen."""

    tag: str
    outcome: str
    arrived_ns: int
    cancelled_ns: int
    chunks: int


class Answer:
    """One answer under way. `cancel` and `drop` may come at any time; `on_ended` hears of the end once."""

    __slots__ = (
        "_arrived_ns",
        "_asked",
        "_events",
        "_header",
        "_interval_ns",
        "_is_begun",
        "_is_over",
        "_on_ended",
        "_sealer",
        "_sent",
        "_ticker",
        "_usage_at",
        "_usage_ns",
        "_waiting",
        "_writer",
    )

    def __init__(
        self,
        asked: Asked,
        header: RoutingHeader,
        *,
        sealer: FrameSealer,
        writer: AttemptWriter,
        ticker: Ticker,
        on_ended: Callable[[Ending], None],
    ) -> None:
        self._arrived_ns = time.monotonic_ns()
        self._asked = asked
        self._header = header
        self._sealer = sealer
        self._writer = writer
        self._ticker = ticker
        self._on_ended = on_ended
        rate = asked.instructions.rate
        self._interval_ns = round(1e9 / rate) if rate > 0 else 0
        self._events = EventWriter(
            f"chatcmpl-{self._arrived_ns:024x}", created_s=int(time.time()), size=asked.instructions.bytes
        )
        self._is_begun = self._is_over = False
        self._sent = 0
        self._usage_at = 1  # the first usage record follows the first content
        self._usage_ns = self._arrived_ns
        self._waiting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin: the first chunk is due after the delay that was asked for."""
        if self._asked.instructions.head:
            self._begin()
        delay_ns = round(self._asked.instructions.delay_ms * 1e6)
        due_ns = self._arrived_ns + delay_ns
        if delay_ns == 0 and (again_ns := self.emit(self._arrived_ns)) is not None:
            due_ns = again_ns
        if not self._is_over and self._waiting is None:
            self._ticker.add(due_ns, self)

    def emit(self, now_ns: int) -> int | None:
        """Send what is due; return when the next chunk is, None when there is none or credit must come first."""
        if self._is_over:
            return None
        for _ in range(1 if self._interval_ns else BURST):
            if not self._is_ready():
                return None
            if not self._step(now_ns):
                return None
        # The pace is kept from the first chunk: one that was late does not delay those after it.
        return self._paced_from_ns + self._sent * self._interval_ns if self._interval_ns else now_ns + 1
