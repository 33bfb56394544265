"""The writer: one task, one lane; operations that arrive together are committed together.

When a commit returns, whatever has queued becomes the next transaction (`backlog.py` says what, in which order); a hold never
waits for a timer. Each caller gets the outcome of its own operation: of a hold after the commit, of anything else
once it outlives a power failure (`lasting.py`), which no other commit waits for.

| the store says | the writer |
|---|---|
| contention | plans the same batch again, twice; then its halves |
| unavailable (outcome unknown) | reconnects, reads the lane's head, submits the same batch again: what had committed answers as before |
| lane lost | finds out where the chain stands, on a new lane if need be, and submits again |
| anything else | halves of it, between other batches, so that a poison operation fails alone and delays nobody |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from hushnet.coordinator.ledger.model import Busy, Close, FreeUse, Held, Hold, Operation, Outcome
from hushnet.coordinator.ledger.plan import Plan, plan
from hushnet.coordinator.ledger.reads import prepared
from hushnet.coordinator.ledger.store import (
    ContentionError,
    LaneLostError,
    LedgerStore,
    Snapshot,
    UnavailableError,
    Writes,
)
from hushnet.coordinator.ledger.writing.backlog import Backlog, Waiting
from hushnet.coordinator.ledger.writing.lane import Lane
from hushnet.coordinator.ledger.writing.lasting import Lasting
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import StorageError

_LOG = logging.getLogger(__name__)

_SETBACKS_MAX: Final = 2
_BACKOFF_S_MIN: Final = 0.05
_BACKOFF_S_MAX: Final = 2.0


class Writer:
    """The queue of one process's ledger, and the task that empties it."""

    def __init__(
        self,
        store: LedgerStore,
        lane: Lane,
        clock: Clock,
        *,
        settings: LedgerSettings,
        abandoned: Callable[[Hold, Held], None],
    ) -> None:
        self._store = store
        self._lane = lane
        self._clock = clock
        self._settings = settings
        self._abandoned = abandoned
        self._backlog = Backlog(batch_max=settings.batch_max)
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._closes_due: asyncio.TimerHandle | None = None
        self._is_due = False
        """Whether something has queued that is to be committed now."""
        self._lasting = None if store.persist is None else Lasting(store.persist)
        """Where commits do not wait for the disk: what is told only when it has them."""
        self.is_closing = False
        self._is_unavailable = False
        self._must_recover = False

    async def submit(self, operation: Operation) -> Outcome:
        """Queue an operation and return its outcome once it is committed; `Busy` when nothing can be queued.

        Raises `StorageError` when the database refuses this very operation, or stays away too long: then the
        operation may have been committed or not. A caller that is cancelled leaves a queued hold undone; a hold that
        was committed all the same is given to `abandoned`. Other operations go on without their caller.
        """
        queued = len(self._backlog) + (len(self._lasting) if self._lasting else 0)
        if self.is_closing or self._is_unavailable or queued >= self._settings.queue_max:
            return Busy()
        waiting = Waiting(operation, self._loop.create_future())
        self._add(waiting)
        try:
            return await waiting.outcome
        except asyncio.CancelledError:
            if not waiting.outcome.cancelled() and waiting.outcome.exception() is None:
                # Committed, and delivered to a caller that was cancelled before it looked.
                self._give_up(waiting.operation, waiting.outcome.result())
            raise

    def enqueue(self, operation: Operation) -> None:
        """Queue an operation whose outcome nobody waits for, whatever the length of the queue."""
        waiting = Waiting(operation, self._loop.create_future())
        waiting.outcome.cancel()
        self._add(waiting)

    async def run(self) -> None:
        """Commit batches until closed and drained."""
        while self._backlog or not self.is_closing:
            if not (self._is_due or (self._backlog and self.is_closing)):
                self._arrived.clear()
                if self._must_recover and not self._is_unavailable and not self._backlog:
                    await self._recover_idle()
                else:
                    await self._arrived.wait()
                continue
            batch = self._backlog.next_batch()
            self._is_due = bool(self._backlog)
            if batch:
                await self._settle(batch)
        self._stop_waiting()
        if self._lasting is not None:
            await self._lasting.done()

    def _add(self, waiting: Waiting) -> None:
        self._backlog.add(waiting)
        if not isinstance(waiting.operation, Close | FreeUse):
            self._commit_now()
        elif self._closes_due is None and not self._is_due:
            self._closes_due = self._loop.call_later(self._settings.close_wait_s, self._commit_now)

    def _commit_now(self) -> None:
        self._stop_waiting()
        self._is_due = True
        self._arrived.set()

    def _stop_waiting(self) -> None:
        if self._closes_due is not None:
            self._closes_due.cancel()
            self._closes_due = None

    def resume(self, *, must_recover: bool) -> None:
        """Take operations again: the database has answered; say whether the lane must be found anew."""
        self._is_unavailable = False
        self._must_recover = self._must_recover or must_recover
        self._arrived.set()

    def close(self) -> None:
        """Take nothing more; `run` returns when the queue is empty."""
        self.is_closing = True
        self._arrived.set()

    async def _recover_idle(self) -> None:
        """Recover while nothing waits, so that holds can be taken again."""
        try:
            await self._lane.recover()
            self._must_recover = False
        except Exception as error:
            _LOG.error("the ledger's lane could not be found", extra={"error": type(error).__name__})
            self._become_unavailable()

    async def _settle(self, batch: Sequence[Waiting]) -> None:
        """Commit a batch, or put its halves back when it will not go in as a whole."""
        try:
            outcomes = await self._committed([waiting.operation for waiting in batch])
        except UnavailableError as error:
            self._fail(batch, error)
        except Exception as error:
            # Whatever an operation does to the planner or the database is its own business, never its neighbours'.
            _LOG.error("a batch was refused", extra={"count": len(batch), "error": type(error).__name__})
            if len(batch) == 1:
                refused = error if isinstance(error, StorageError) else StorageError("the operation cannot be planned")
                self._fail(batch, refused)
                return
            self._backlog.halve(batch)
            self._is_due = True
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if self._backlog.asks_again(waiting, outcome):
                    self._is_due = True
                elif self._lasting is None or isinstance(waiting.operation, Hold):
                    self._deliver(waiting, outcome)
                else:
                    self._lasting.add(partial(self._deliver, waiting, outcome), partial(self._fail, (waiting,)))

    async def _committed(self, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Commit operations as one transaction, through contention, outages and a lost lane."""
        setbacks = 0
        gives_up_s = self._clock.monotonic_s() + self._settings.outage_s_max
        backoff_s = _BACKOFF_S_MIN
        while True:
            try:
                if self._must_recover:
                    await self._lane.recover()
                    self._must_recover = self._is_unavailable = False
                return await self._transact(operations)
            except (ContentionError, LaneLostError) as error:
                setbacks += 1
                if setbacks > _SETBACKS_MAX:
                    raise
                _LOG.warning("a batch is planned again", extra={"error": error.error_code, "lane": self._lane.number})
                self._must_recover = isinstance(error, LaneLostError)
            except UnavailableError:
                self._become_unavailable()
                if self.is_closing or self._clock.monotonic_s() >= gives_up_s:
                    raise
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)

    async def _transact(self, operations: Sequence[Operation]) -> Sequence[Outcome]:
        moment = self._lane.moment(self._clock.now_ms())
        batch = prepared(operations, lane=moment.lane)
        planned: list[Plan] = []

        def decide(snapshot: Snapshot) -> Writes | None:
            planned.append(plan(batch, snapshot, moment))
            return planned[-1].writes

        await self._store.transact(batch.reads, decide)
        result = planned[-1]
        if result.writes is not None:
            self._lane.advance(result.writes.batch)
        return result.outcomes

    def _become_unavailable(self) -> None:
        """Answer what waits, and what comes, with `Busy` until the database is back."""
        if not self._is_unavailable:
            _LOG.error("the ledger's database is gone", extra={"waiting": len(self._backlog)})
        self._is_unavailable = self._must_recover = True
        for waiting in self._backlog.clear():
            self._deliver(waiting, Busy())

    def _deliver(self, waiting: Waiting, outcome: Outcome) -> None:
        if waiting.outcome.done():
            self._give_up(waiting.operation, outcome)
        else:
            waiting.outcome.set_result(outcome)

    def _give_up(self, operation: Operation, outcome: Outcome) -> None:
        if isinstance(operation, Hold) and isinstance(outcome, Held):
            self._abandoned(operation, outcome)

    def _fail(self, batch: Sequence[Waiting], error: StorageError) -> None:
        for waiting in batch:
            if not waiting.outcome.done():
                waiting.outcome.set_exception(StorageError(str(error), code=error.error_code))
