"""The consumer's side of a request: a bounded buffer between an attempt and the HTTP response.

Producers never block: they push bytes with the mark and the credit that go with them. Bytes count as relayed, and
their credit is given back, when they have been written. Who writes them:

- an attached `Line`: `push` itself, in the same step of the event loop, as long as the line takes bytes; what it does not
  take waits here until the line says `resume`;
- without one the consumer's task: it takes everything that is waiting in one piece, writes it, and says so.

`is_saturated` tells a window that stays full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hushnet.coordinator.serving.failures import Failure
from hushnet.coordinator.serving.rules.progress import ReaderProgress
from hushnet.coordinator.serving.rules.reading import Mark
from hushnet.foundation.ids import ProviderId


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """How the answer begins. `is_whole`: all of it is waiting already, and its length is known."""

    status: int
    content_type: str
    provider_id: ProviderId
    trust: str
    is_whole: bool = False


class Line(Protocol):
    """A way to the consumer's socket that never blocks; `write` only while `is_writable`, with bytes that are not empty."""

    is_writable: bool

    def write(self, data: bytes) -> None: ...


class Outlet:
    """Carries one answer from its attempt to its consumer."""

    __slots__ = (
        "__weakref__",
        "_chunks",
        "_credit_step",
        "_emptying",
        "_high_water",
        "_is_gone",
        "_line",
        "_on_drained",
        "_owed",
        "_pending_credit",
        "_pending_mark",
        "_taken_credit",
        "_taken_mark",
        "_waiter",
        "drains",
        "failure",
        "head",
        "is_finished",
        "notice",
        "reader",
        "relayed",
        "was_saturated",
    )

    def __init__(self, *, high_water: int, on_drained: Callable[[int], None], credit_step: int = 1) -> None:
        """`on_drained` hears of credit that came free, at least `credit_step` bytes of it at a time."""
        self._high_water = high_water
        self._on_drained = on_drained
        self._credit_step = credit_step
        self._owed = 0
        self._chunks: list[bytes] = []
        self._pending_mark = Mark()
        self._pending_credit = 0
        self._taken_mark: Mark | None = None
        self._taken_credit = 0
        self._line: Line | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._emptying: asyncio.Future[None] | None = None
        self._is_gone = False
        self.head: ReplyHead | None = None
        self.failure: Failure | None = None
        self.notice: bytes | None = None
        self.is_finished = False
        self.relayed = Mark()
        self.drains = 0
        self.was_saturated = False
        """Whether a provider may have had to wait for this consumer at any time."""
        self.reader: ReaderProgress | None = None
        """What tells how far the consumer has read, where anything does."""

    # The producer's side.

    def tell(self, notice: bytes) -> None:
        """Leave a notice for a consumer that waits for the beginning; a newer one takes its place."""
        self.notice = notice
        self._wake()

    def open(self, head: ReplyHead) -> None:
        """Decide how the answer begins."""
        self.head = head
        self._wake()

    def push(self, data: bytes, mark: Mark, *, credit: int) -> None:
        """Append `data`, which stands for `credit` record bytes and brings the stream to `mark`."""
        line = self._line
        if line is not None and line.is_writable and not self._chunks:
            if data:
                line.write(data)
            self.relayed = self._pending_mark = mark
            self._owed += credit
            if self._owed >= self._credit_step:
                self.give_back(0)
            return
        if self._is_gone:
            self.give_back(credit)
            return
        self._pending_mark = mark
        self._pending_credit += credit
        if self.is_saturated:
            self.was_saturated = True
        if data:
            self._chunks.append(data)
        self._wake()

    def give_back(self, credit: int) -> None:
        """Free the credit of bytes that take no more room here."""
        self._owed += credit
        if self._owed >= self._credit_step:
            owed, self._owed = self._owed, 0
            self._on_drained(owed)

    def finish(self) -> None:
        """The answer is complete: nothing follows."""
        self.is_finished = True
        self._wake()

    def fail(self, failure: Failure, *, is_cut: bool = False) -> None:
        """The answer ends here, and not well: what was pushed still leaves first, unless the answer is cut.

        The first failure stands.
        """
        if self.is_finished:
            return
        if is_cut:
            self._chunks.clear()
            self._pending_mark = self._taken_mark or self.relayed
        self.failure = failure
        self.finish()

    def abandon(self) -> None:
        """The consumer is gone: drop what waits, it will never be relayed."""
        self._is_gone = True
        self._line = None
        self._chunks.clear()
        self.is_finished = True
        self._wake()

    @property
    def is_saturated(self) -> bool:
        """Whether the provider may have to wait for this consumer."""
        return self._pending_credit + self._taken_credit >= self._high_water

    # The consumer's side.

    async def opened(self) -> ReplyHead | Failure | bytes | None:
        """Wait for the beginning: a head, a failure instead of one, or None when the consumer itself is gone.

        A notice that was left before it is returned as bytes: ask again.
        """
        while self.head is None and not self.is_finished:
            if self.notice is not None:
                notice, self.notice = self.notice, None
                return notice
            await self._wait()
        return self.head if self.head is not None else self.failure

    def attach(self, line: Line) -> None:
        """Write through `line` from here on; whoever attached it waits for `closed` instead of taking."""
        if not self._is_gone:
            self._line = line
            self.resume()

    def resume(self) -> None:
        """The attached line takes bytes again: write what waits."""
        line = self._line
        if line is None or not line.is_writable:
            return
        data = self._collect()
        if data:
            line.write(data)
        self.sent()
        if self.is_finished:
            self._wake()

    async def closed(self) -> None:
        """Wait until nothing follows and the attached line has taken everything: then look at `failure`."""
        while not self.is_finished or self._chunks:
            await self._wait()

    async def take(self) -> bytes | None:
        """Wait for bytes and take all of them; None when nothing follows: then look at `failure`."""
        while not self._chunks and not self.is_finished:
            await self._wait()
        return self._collect() or None

    def _collect(self) -> bytes:
        """Take what waits; it counts as relayed at the next `sent`."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        self._taken_mark = self._pending_mark
        self._taken_credit += self._pending_credit
        self._pending_credit = 0
        return data

    def sent(self) -> None:
        """What was taken has been written: it is relayed, and its credit goes back to the provider."""
        if self._taken_mark is not None and not self._is_gone:
            self.relayed = self._taken_mark
        self._taken_mark = None
        self.drains += 1
        credit, self._taken_credit = self._taken_credit, 0
        self.give_back(credit)
        self._wake_emptying()

    def part(self) -> None:
        """Nobody waits for credit any more: the request is over, and what is left here keeps nothing of it."""
        self._on_drained = _to_nobody

    async def emptied(self) -> None:
        """Wait until everything that was pushed has been written, or nobody is there to write it."""
        while not self._is_gone and not (self.is_finished and self.relayed == self._pending_mark):
            self._emptying = asyncio.get_running_loop().create_future()
            await self._emptying

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._wake_emptying()

    def _wake_emptying(self) -> None:
        if self._emptying is not None and not self._emptying.done():
            self._emptying.set_result(None)


def _to_nobody(_: int) -> None: ...
