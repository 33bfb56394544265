"""The inbox: what rails tell us is stored first and applied after, each event once, in whatever order it comes.

A webhook is verified over its raw bytes by whoever received it, stored under (source, event id), and answered; the same
delivery again finds its row. Applying is one transaction: the event's new state, the domain's rows and the facts.

| from | on | to |
|---|---|---|
| new, waiting | applied | applied |
| | not for us | ignored |
| | something it needs is not here yet, or an error | waiting: 2^k s, at most 10 minutes; from the 6th try the object is fetched |
| | 24 tries | stuck, and a finding |
| stuck | a person says again | new |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from hushnet.coordinator.ledger.faults import INBOX_AFTER_COMMIT, INBOX_BEFORE_COMMIT, FaultHook, no_faults
from hushnet.coordinator.ledger.transaction import MoneyStore, PostingRefusedError, Transaction
from hushnet.coordinator.payments.model import BODY_BYTES_MAX, EventState, InboxEvent, note_finding
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, HushnetError, RequestError, StorageError

_LOG = logging.getLogger(__name__)

FETCH_AFTER: Final = 5
"""From this many tries on, `prepare` asks the source itself: what it told us may be out of date, or never came."""
TRIES_MAX: Final = 24
_BACKOFF_MS_MAX: Final = 600_000
_POLL_S: Final = 1.0
_BATCH: Final = 50
_EVENT_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class Applied:
    """The event has had its effect, or had it before."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event is not for us; `reason` is a word of a closed set."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that the event needs is not here yet; `reason` is a word of a closed set."""

    reason: str


Verdict: TypeAlias = Applied | Ignored | Waiting


class EventHandler(Protocol):
    """What one source's events mean."""

    async def prepare(self, event: InboxEvent) -> object:
        """Do the I/O that applying needs, before the transaction; `event.attempts` >= `FETCH_AFTER` asks for fresh objects."""
        ...

    def apply(self, tx: Transaction, event: InboxEvent, prepared: object) -> Verdict:
        """Apply the event inside the transaction that notes it as applied; idempotent by the keys of its facts."""
        ...


class Inbox:
    """The events of every source, and the task that applies them."""

    def __init__(
        self, store: MoneyStore, clock: Clock, handlers: Mapping[str, EventHandler], *, reach: FaultHook = no_faults
    ) -> None:
        self._store = store
        self._clock = clock
        self._handlers = handlers
        self._reach = reach
        self._arrived = asyncio.Event()

    async def receive(self, source: str, event: str, *, kind: str, subject: str, body: bytes) -> bool:
        """Store a verified event; False when it is known. Once this returns the sender may forget it.

        Raises `RequestError` for an event that cannot be stored, `StorageError` when the database fails: the sender
        must be told to deliver again.
        """
        if not 1 <= len(event) <= _EVENT_MAX or len(body) > BODY_BYTES_MAX or source not in self._handlers:
            raise RequestError("this event is not one that can be stored", code="out_of_range")
        now_ms = self._clock.now_ms()
        row = InboxEvent(
            source=source,
            event=event,
            kind=kind[:_EVENT_MAX],
            subject=subject[:_EVENT_MAX],
            body=body,
            next_ms=now_ms,
            received_ms=now_ms,
        )

        def store(tx: Transaction) -> bool:
            is_new = tx.rows(InboxEvent).add(row)
            self._reach(INBOX_BEFORE_COMMIT)
            return is_new

        is_new = await self._store.transact(store)
        self._reach(INBOX_AFTER_COMMIT)
        if is_new:
            self.wake()
        return is_new

    def wake(self) -> None:
        """Look now, without waiting for the next poll."""
        self._arrived.set()

    async def run(self) -> None:
        """Apply events until cancelled; what other processes stored is found at the next poll."""
        while True:
            self._arrived.clear()
            try:
                while await self.step() == _BATCH:
                    pass
            except (StorageError, CapacityError) as error:
                _LOG.warning("the inbox cannot be read", extra={"error": error.error_code})
            try:
                async with asyncio.timeout(_POLL_S):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Try every event that is due, once, oldest first; return how many there were.

        Events of a source that was configured once wait until it is again, in nobody's way.
        """
        now_ms = self._clock.now_ms()
        due = await self._store.read(
            lambda view: view.rows(InboxEvent).find(
                state=(EventState.NEW, EventState.WAITING),
                source=list(self._handlers),
                at_most=("next_ms", now_ms),
                order_by="received_ms",
                limit=_BATCH,
            )
        )
        for event in due:
            await self._try(event)
        return len(due)

    async def retry(self, source: str, event: str) -> bool:
        """Give a stuck event another round; False when there is none such."""

        def again(tx: Transaction) -> bool:
            rows = tx.rows(InboxEvent)
            row = rows.get(source, event)
            if row is None or row.state is not EventState.STUCK:
                return False
            rows.save(replace(row, state=EventState.NEW, attempts=0, next_ms=tx.now_ms))
            return True

        is_found = await self._store.transact(again)
        self.wake()
        return is_found

    async def _try(self, event: InboxEvent) -> None:
        handler = self._handlers[event.source]
        try:
            prepared = await handler.prepare(event)
            await self._store.transact(lambda tx: _apply(tx, event, handler, prepared))
        except Exception as error:
            # Whatever one event does to its handler is its own business, never its neighbours'.
            word = _word(error)
            _LOG.warning("an event waits", extra={"kind": event.kind, "source": event.source, "error": word})
            await self._store.transact(lambda tx: _note_waiting(tx, event, word))


def _apply(tx: Transaction, event: InboxEvent, handler: EventHandler, prepared: object) -> None:
    rows = tx.rows(InboxEvent)
    row = rows.get(event.source, event.event)
    if row is None or row.state not in (EventState.NEW, EventState.WAITING) or row.attempts != event.attempts:
        return  # another worker was first
    verdict = handler.apply(tx, row, prepared)
    match verdict:
        case Applied():
            rows.save(replace(row, state=EventState.APPLIED, attempts=row.attempts + 1, error=""))
        case Ignored(reason):
            rows.save(replace(row, state=EventState.IGNORED, attempts=row.attempts + 1, error=reason))
        case Waiting(reason):
            _note_waiting(tx, row, reason)


def _note_waiting(tx: Transaction, event: InboxEvent, reason: str) -> None:
    rows = tx.rows(InboxEvent)
    row = rows.get(event.source, event.event)
    if row is None or row.state not in (EventState.NEW, EventState.WAITING) or row.attempts != event.attempts:
        return
    attempts = row.attempts + 1
    state = EventState.STUCK if attempts >= TRIES_MAX else EventState.WAITING
    next_ms = tx.now_ms + min(1000 << min(attempts, 20), _BACKOFF_MS_MAX)
    rows.save(replace(row, state=state, attempts=attempts, next_ms=next_ms, error=reason))
    if state is EventState.STUCK:
        note_finding(tx, "event_stuck", f"{row.source}:{row.event}", f"{row.kind}: {reason}")


def _word(error: Exception) -> str:
    if isinstance(error, PostingRefusedError):
        return f"refused_{type(error.outcome).__name__}".lower()
    return error.error_code if isinstance(error, HushnetError) else type(error).__name__
