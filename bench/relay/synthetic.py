"""A synthetic engine: paced answers without a model, sealed by the provider's own sealer.

Rules:
- All answers of a process share the timer of `upstream.Pace`: what falls due within a millisecond leaves in one pass.
- A record is sealed only when the link may take it: an answer without credit waits, and loses nothing.
- Each answer ends once: whole, cancelled, or with its link.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bench.relay.instructions import EventWriter, Instructions, completion, ending
from bench.relay.upstream import Pace
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


class Ending(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one answer ended: `served`, `cancelled` or `link_lost`. Times are of the machine's monotonic clock."""

    tag: str
    outcome: str
    chunks: int
    arrived_ns: int
    cancelled_ns: int = 0


class Answer:
    """One answer under way. `cancel` and `drop` may come at any time; `on_ended` hears of the end once."""

    def __init__(
        self,
        asked: Instructions,
        header: RoutingHeader,
        *,
        sealer: FrameSealer,
        writer: AttemptWriter,
        pace: Pace,
        on_ended: Callable[[Ending], None],
    ) -> None:
        self._asked = asked
        self._header = header
        self._sealer = sealer
        self._writer = writer
        self._pace = pace
        self._on_ended = on_ended
        self._events = EventWriter(asked.bytes)
        self._arrived_ns = time.monotonic_ns()
        self._interval_ns = int(1e9 / asked.rate) if asked.rate else 0
        self._due_ns = self._arrived_ns + int(asked.delay_ms * 1e6)
        self._is_begun = self._is_over = False
        self._usage_at = 1  # the first usage record follows the first content
        self._usage_ns = self._arrived_ns
        self._waiting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first chunk is due after the delay that was asked for."""
        if self._asked.head:
            self._begin()
        if self._asked.delay_ms:
            self._pace.add(self, self._due_ns)
        else:
            self.emit()

    def emit(self) -> None:
        """Send what is due and ask for the next turn; without credit the next turn comes with it."""
        for _ in range(1 if self._interval_ns else BURST):
            if self._is_over or not self._has_credit():
                return
            if self._header.stream and self._events.seq < self._asked.chunks:
                self._chunk()
            if not self._header.stream or self._events.seq >= self._asked.chunks:
                self._end()
                return
        if self._interval_ns:
            self._due_ns += self._interval_ns
            self._pace.add(self, self._due_ns)
        else:
            asyncio.get_running_loop().call_soon(self.emit)

    def cancel(self) -> None:
        """Stop now and say so, as a provider's attempt does."""
        cancelled_ns = time.monotonic_ns()
        if not self._is_over:
            self._begin()
            failure = failed(WireCode.CANCELLED)
            self._writer.write(self._sealer.error(self._meter(failure.code), failure.body()))
            self._finish("cancelled", cancelled_ns)

    def drop(self) -> None:
        """Stop: the link is gone, and nobody hears the end."""
        if not self._is_over:
            self._sealer.drop()
            self._finish("link_lost")

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            content_type = "text/event-stream" if self._header.stream else "application/json"
            head: dict[str, Any] = {"status": 200, "content_type": content_type, "build": ""}
            self._writer.write(self._sealer.head(msgspec.json.encode(head)))

    def _chunk(self) -> None:
        self._begin()
        now_ns = time.monotonic_ns()
        self._writer.write(self._sealer.content(self._events.next(now_ns)))
        if self._events.seq >= self._usage_at or now_ns - self._usage_ns >= USAGE_EVERY_NS:
            self._usage_at, self._usage_ns = self._events.seq + USAGE_EVERY_RECORDS, now_ns
            self._writer.write(self._sealer.usage(self._meter()))

    def _end(self) -> None:
        self._begin()
        if not self._header.stream:
            self._events.seq = self._asked.chunks
        rest = ending() if self._header.stream else completion(self._asked)
        for record in self._sealer.contents(rest):
            self._writer.write(record)
        self._writer.write(self._sealer.end(self._meter()))
        self._finish("served")

    def _finish(self, outcome: str, cancelled_ns: int = 0) -> None:
        self._is_over = True
        if self._waiting is not None:
            self._waiting.cancel()
        if outcome != "link_lost":
            self._writer.finish()
        self._on_ended(Ending(self._asked.tag, outcome, self._events.seq, self._arrived_ns, cancelled_ns))

    def _meter(self, code: WireCode | None = None) -> Meter:
        """Count one token a chunk, within the header's bounds."""
        output = min(self._events.seq, self._header.max_output_tokens)
        return Meter(1 if output else 0, 0, output, 0, code or 0)

    def _has_credit(self) -> bool:
        """Say whether a record may leave now; if not, the answer goes on by itself once it may."""
        waiting = self._writer.ready()
        try:
            waiting.send(None)  # a coroutine: it ends at once where there is credit
        except StopIteration:
            return True
        except LinkLost:
            return False
        waiting.close()
        self._waiting = asyncio.create_task(self._go_on())
        return False

    async def _go_on(self) -> None:
        """Wait for credit and take up the pace from there: an engine that is held back generates nothing meanwhile."""
        try:
            await self._writer.ready()
        except LinkLost:
            return
        self._waiting = None
        if not self._is_over:
            self._due_ns = time.monotonic_ns()
            self.emit()
