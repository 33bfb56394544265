"""One attempt of a request on one link: holds back, commits, relays, and ends exactly once.

It is the link's sink: calls come in order on the event loop and none of them waits. Before it commits it keeps what
arrived; it commits to content, to an end, to an error that the sealer caused, or when it may hold no more
(design/sealing.md section 7). After that every record goes on, verbatim and in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from hushnet.coordinator.fleet.fleet import Slot
from hushnet.coordinator.serving.model import SealedAttempt
from hushnet.coordinator.serving.outlet import Outlet, ReplyHead
from hushnet.coordinator.serving.rules.reading import Mark, Reading
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.foundation.ids import AttemptId
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.records import Kind, Record, meter_of

SEALERS_OWN: Final = frozenset(
    {WireCode.HEADER_BODY_MISMATCH, WireCode.BOUND_EXCEEDED, WireCode.BAD_REQUEST, WireCode.CONTEXT_TOO_LONG}
)
"""Errors inside an answer that the request itself caused: forwarded, never retried, never charged."""


class Ending(Enum):
    """How an attempt ended."""

    COMPLETE = "complete"
    """The end record came."""
    ERROR = "error"
    """The provider ended it with an error record; `code` is its wire code."""
    REFUSED = "refused"
    """The provider refused it, or the link ended it for a breached rule; `code` is the wire code."""
    VIOLATION = "violation"
    """A record broke the protocol; `fault` names the check."""
    BROKEN_OFF = "broken off"
    """The provider freed the slot without an end."""
    LINK_LOST = "link lost"
    STOPPED = "stopped"
    """We cancelled it."""
    OUTRUN = "outrun"
    """Another attempt of the request committed first, and we cancelled this one."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The end of an attempt, and whether it had been committed to."""

    ending: Ending
    is_committed: bool
    code: int = 0
    fault: str = ""


class Referee(Protocol):
    """Who hears of an attempt's commit and of its end, each at most once and in the same step."""

    def committed(self, attempt: Attempt) -> None: ...

    def ended(self, attempt: Attempt) -> None: ...


class Attempt:
    """One attempt; `outcome` resolves once, `is_over` says that the provider's slot is free."""

    __slots__ = (
        "_credit",
        "_gathered_bytes",
        "_held_records",
        "_id",
        "_is_gathered",
        "_is_relaying",
        "_limits",
        "_now_s",
        "_outlet",
        "_referee",
        "heard_s",
        "is_backup",
        "is_committed",
        "is_over",
        "last_word",
        "outcome",
        "reader",
        "reading",
        "shown_s",
        "slot",
        "started_s",
    )

    def __init__(
        self,
        slot: Slot,
        sealed: SealedAttempt,
        outlet: Outlet,
        *,
        limits: ServingLimits,
        is_gathered: bool,
        referee: Referee,
        now_s: Callable[[], float],
        is_backup: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.slot = slot
        self.reader = sealed.reader
        self.reading = Reading(sealed.header, sealed.receipt)
        self.outcome: asyncio.Future[AttemptEnd] = loop.create_future()
        self.last_word: asyncio.Future[None] = loop.create_future()
        """Resolves when nothing more will come of this attempt that a settlement could use."""
        self.is_backup = is_backup
        """Whether it was sent because another attempt, which was out, had shown nothing for long."""
        self.is_committed = False
        self.is_over = False
        self.started_s = self.heard_s = now_s()
        self.shown_s: float | None = None
        """When it was committed to: of a stream, when its first content came."""
        self._outlet = outlet
        self._limits = limits
        self._is_gathered = is_gathered
        self._is_relaying = False
        """Committed to, live, and not gathered: nothing is held back, each record leaves as it comes."""
        self._referee: Referee | None = referee
        self._now_s = now_s
        self._id: AttemptId | None = None
        self._held_records = 0
        self._credit = 0
        self._gathered_bytes = 0

    @property
    def is_generating(self) -> bool:
        """Whether the provider has reported tokens that it generated."""
        return self.reading.meter is not None and self.reading.meter.output > 0

    def start(self, envelope: bytes, *, deadline_s: float) -> None:
        """Dispatch it; raises `LinkLost` or `CapacityError` as the link does, and is over then."""
        try:
            self._id = self.slot.provider.link.dispatch(
                envelope,
                deadline_ms=max(int(deadline_s * 1000), 1),
                credit_bytes=self._limits.window_bytes,
                sink=self,
            )
        except BaseException:
            self._set_over()
            raise

    def stop(self, code: WireCode, *, end: AttemptEnd | None = None) -> None:
        """Cancel it at the provider, at once; its outcome is `end`, or that it was stopped. Too late is no harm."""
        if self.outcome.done():
            return
        if self._id is not None and not self.is_over:
            self.slot.provider.link.cancel(self._id, code)
        self._end(end or AttemptEnd(Ending.STOPPED, self.is_committed, code))

    def drained(self, credit: int) -> None:
        """Record bytes have reached the consumer: give their credit back to the provider."""
        if self._id is not None and not self.is_over:
            self.slot.provider.link.grant(self._id, credit)

    def release(self) -> None:
        """Free the slot of an attempt whose provider never said that it is free."""
        self._set_over()

    # The link's sink.

    def content_arrived(self, record: Record) -> None:
        """Take one record of content; while it relays that is one step, at half the cost of `records_arrived`."""
        if not self._is_relaying:
            self.records_arrived((record,))
            return
        now_s, reading, reader = self._now_s, self.reading, self.reader
        self.heard_s = now_s()
        try:
            reading.take(record)
            data = reader.relay(record)
        except SealingError as error:
            self._break(error)
            return
        mark = Mark(reading.content_records, reader.content_bytes, reading.meter)
        self._outlet.push(data, mark, credit=len(record.raw))

    def records_arrived(self, records: Sequence[Record]) -> None:
        """Take records; what comes after the outcome is read for its final meter only."""
        self.heard_s = self._now_s()
        take, is_live = self.reading.take, not self.outcome.done()
        try:
            for record in records:
                take(record)
                if is_live:
                    self.reader.read(record)
                    self._credit += len(record.raw)
                    if not self.is_committed:
                        self._weigh(record)
        except SealingError as error:
            if self.outcome.done():
                return  # what a provider adds after its end, or after we cancelled it, is the link's business
            self._break(error)
        if self.is_committed and not self.outcome.done():
            self._forward()
        if self.reading.final is not None:
            self._end_with(self.reading.final)

    def attempt_refused(self, code: int) -> None:
        self._set_over()
        self._end(self._ended(Ending.REFUSED, code=code))

    def link_lost(self) -> None:
        # Before the slot comes free, or the queue would be served from a link that is gone.
        self.slot.provider.is_lost = True
        self._set_over()
        self._end(self._ended(Ending.LINK_LOST))

    def attempt_finished(self) -> None:
        self._set_over()
        self._end(self._ended(Ending.BROKEN_OFF))

    def show_error(self) -> None:
        """Pass on what was held of an attempt that ended with an error before content: nobody else is left to try."""
        self._open()
        self._forward()

    # Inside.

    def _weigh(self, record: Record) -> None:
        """Commit to the attempt when this record is reason enough."""
        self._held_records += 1
        if record.kind is Kind.ERROR:
            if meter_of(record).code in SEALERS_OWN:
                self._commit(is_error=True)
        elif (
            record.kind in (Kind.CONTENT, Kind.END)
            or self._held_records > self._limits.hold_back_records_max
            or self._credit > self._limits.hold_back_bytes_max
        ):
            self._commit()

    def _commit(self, *, is_error: bool = False) -> None:
        self.is_committed = True
        self.shown_s = self.heard_s
        self._is_relaying = not self._is_gathered
        if self._referee is not None:
            self._referee.committed(self)
        # An error that only we could open becomes an HTTP status; one that the consumer opens goes to it as a record.
        if not self._is_gathered and (self.reader.is_forwarding_errors or not is_error):
            self._open()

    def _open(self) -> None:
        reader, provider = self.reader, self.slot.provider
        self._outlet.open(
            ReplyHead(
                reader.status,
                reader.content_type,
                provider.provider_id,
                provider.tier.label,
                is_whole=self._is_gathered,
            )
        )

    def _forward(self) -> None:
        """Hand what was read to the consumer; a whole answer waits in the reader until its end."""
        credit, self._credit = self._credit, 0
        if not self._is_gathered:
            mark = self.reading.mark(self.reader.content_bytes)
            self._outlet.push(self.reader.take(), mark, credit=credit)
            return
        self._outlet.give_back(credit)
        self._gathered_bytes += credit  # records of every kind: a reader keeps boilerplate as well
        if self._gathered_bytes > self._limits.whole_bytes_max:
            self.stop(WireCode.BACKPRESSURE, end=self._ended(Ending.VIOLATION, fault="answer_too_large"))

    def _end_with(self, final: Record) -> None:
        if final.kind is Kind.END:
            if self._is_gathered and not self.outcome.done():
                mark = self.reading.mark(self.reader.content_bytes)
                self._outlet.push(self.reader.take(), mark, credit=0)
                self._open()
            self._end(self._ended(Ending.COMPLETE))
        else:
            self._end(self._ended(Ending.ERROR, code=meter_of(final).code))
        self._settle_last_word()

    def _break(self, error: SealingError) -> None:
        """The provider broke the protocol: cancel it, and end."""
        self.stop(WireCode.INTERNAL, end=self._ended(Ending.VIOLATION, fault=error.error_code))

    def _ended(self, ending: Ending, *, code: int = 0, fault: str = "") -> AttemptEnd:
        return AttemptEnd(ending, self.is_committed, code, fault)

    def _end(self, end: AttemptEnd) -> None:
        self._is_relaying = False
        if not self.outcome.done():
            self.outcome.set_result(end)
            referee, self._referee = self._referee, None  # it leads here
            if referee is not None:
                referee.ended(self)

    def _set_over(self) -> None:
        self.is_over = True
        self.slot.release()
        self._settle_last_word()

    def _settle_last_word(self) -> None:
        if not self.last_word.done():
            self.last_word.set_result(None)
