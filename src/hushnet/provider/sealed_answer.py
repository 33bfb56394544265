"""One answer on its way out: sealed record by record, no faster than the coordinator grants credit.

A record is sealed only when it may leave: one that was sealed and then lost to a cancel would leave a gap in the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError
from hushnet.provider.answers import JSON, Answer, packed
from hushnet.provider.checks import Failure
from hushnet.provider.metering import AttemptMeter
from hushnet.sealing.meters import Meter
from hushnet.sealing.records import FrameSealer

if TYPE_CHECKING:
    from hushnet.provider.link import AttemptWriter


class NoCredit(CapacityError):  # noqa: N818 - named after what happened, as its code is
    """The reader took nothing for longer than the limits allow."""

    code = "backpressure"


class SealedAnswer:
    """Writes the records of one attempt; `meter` is None where nothing was counted yet."""

    def __init__(
        self,
        sealer: FrameSealer,
        writer: AttemptWriter,
        *,
        meter: AttemptMeter | None,
        clock: Clock,
        credit_s_max: float,
        build: str = "",
    ) -> None:
        self._sealer = sealer
        self._writer = writer
        self._meter = meter
        self._clock = clock
        self._credit_s_max = credit_s_max
        self._build = build
        self._is_begun = False

    @property
    def is_begun(self) -> bool:
        """Whether the head has left."""
        return self._is_begun

    async def begin(self, body: Answer) -> None:
        """Send the head of an answer that goes well, and what precedes all content; once."""
        if self._is_begun:
            return
        self._head(status=200, content_type=body.content_type)
        if opening := body.opening():
            await self._credit()
            self._writer.write(self._sealer.boilerplate(opening))

    async def content(self, parts: Iterable[bytes]) -> None:
        """Send response bytes, as few records as hold them, with the usage records that fall due between them."""
        for data in packed(parts):
            await self.usage_when_due()
            await self._credit()
            self._writer.write(self._sealer.content(data))
            if self._meter is not None:
                self._meter.content_sent()

    async def usage_when_due(self) -> None:
        """Send the counts so far where the pace asks for it and something was generated."""
        now_s = self._clock.monotonic_s()
        if self._meter is None or self._meter.wait_s(now_s) > 0:
            return
        meter = self._meter.shown(now_s)
        if meter.output:
            await self._credit()
            self._writer.write(self._sealer.usage(meter))

    def end(self) -> None:
        """Send the signed end. Needs no credit: the last record waits in the link when it must."""
        if self._meter is not None:
            self._writer.write(self._sealer.end(self._meter.final()))

    def fail(self, failure: Failure) -> None:
        """Send the signed error that ends the attempt; nothing when it has ended already."""
        if self._sealer.is_open:
            if not self._is_begun:
                self._head(status=failure.status, content_type=JSON)
            meter = Meter(0, 0, 0, 0, failure.code) if self._meter is None else self._meter.final(failure.code)
            self._writer.write(self._sealer.error(meter, failure.body()))

    def drop(self) -> None:
        """Forget the keys."""
        self._sealer.drop()

    def _head(self, *, status: int, content_type: str) -> None:
        """Open the answer: the consumer learns who answers, and how."""
        self._is_begun = True
        head = {"status": status, "content_type": content_type, "build": self._build}
        self._writer.write(self._sealer.head(msgspec.json.encode(head)))

    async def _credit(self) -> None:
        try:
            async with asyncio.timeout(self._credit_s_max):
                await self._writer.ready()
        except TimeoutError:
            raise NoCredit("the answer was not read for too long") from None
