"""How operations reach a ledger in a history: in batches, through crashes, beside another writer, each outcome compared."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from hushnet.coordinator.ledger.faults import AFTER_COMMIT, BEFORE_COMMIT
from hushnet.coordinator.ledger.ids import FactIds
from hushnet.coordinator.ledger.model import Operation, Outcome, Posted
from hushnet.foundation.clock import ManualClock
from support.ledger_stores import CrashedError, Process

BATCH_MAX = 64

Model: TypeAlias = Callable[[Operation], Outcome]
"""What an operation means, to whoever thought of it."""


class Batches:
    """The batches of one store, of one history or of several at once; the twin, if any, takes operations one by one."""

    def __init__(
        self, process: Process, twin: Process | None, clock: ManualClock, *, unrest: float = 0.2, crashes: float = 0.2
    ) -> None:
        self.process = process
        self.twin = twin
        self.clock = clock
        self.ids = FactIds(0, clock, last_fact=0, until_ms=1 << 62)
        self.unrest = unrest
        """How likely an interruption is at each step."""
        self._crashing = crashes
        self.crashes = 0
        """How often there was one; how likely it is at each commit is said at the beginning."""
        self._queue: list[tuple[Operation, Model]] = []
        self._expected: list[object] = []

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, operation: Operation, model: Model) -> None:
        """Queue an operation for the next batch, and tell the model."""
        self._queue.append((operation, model))
        self._expected.append(_told(model(operation)))
        if len(self._queue) >= BATCH_MAX:
            self.commit()

    def end(self, rng: Random) -> None:
        """Commit the queue, through a crash now and then."""
        if rng.random() >= self._crashing:
            self.commit()
        elif rng.random() < 0.5:
            self.crash_before_commit()
        else:
            self.crash_after_commit()

    def commit(self) -> None:
        """Commit the queue as one batch, and one by one in the twin, and compare."""
        operations, expected = self._operations(), self._expected
        self._queue, self._expected = [], []
        if operations:
            assert [_told(outcome) for outcome in self.process.run(operations)] == expected
        if self.twin is not None:
            assert [_told(outcome) for operation in operations for outcome in self.twin.run([operation])] == expected

    def crash_before_commit(self) -> None:
        """The batch is lost; the new process submits it again."""
        self._crash(BEFORE_COMMIT)
        self.commit()

    def crash_after_commit(self) -> None:
        """The batch is committed and nobody hears of it; the new process submits it again."""
        if self._crash(AFTER_COMMIT):
            if self.twin is not None:
                for operation in self._operations():
                    self.twin.run([operation])
            self._expected = [_told(model(operation)) for operation, model in self._queue]
        self.commit()

    def beside(self, operation: Operation, model: Model) -> None:
        """Let another writer commit an operation by itself, when the queue is committed."""
        self.commit()
        expected = _told(model(operation))
        assert [_told(outcome) for outcome in self.process.run_cold([operation])] == [expected]
        if self.twin is not None:
            assert [_told(outcome) for outcome in self.twin.run_cold([operation])] == [expected]

    def _operations(self) -> list[Operation]:
        return [operation for operation, _ in self._queue]

    def _crash(self, point: str) -> bool:
        self.process.store.fail_at(point)
        try:
            self.process.run(self._operations())
        except CrashedError:
            self.crashes += 1
            self.process.restart()
            return True
        finally:
            self.process.store.fail_at("")
        return False


def _told(outcome: Outcome) -> object:
    """An outcome and what moved, which is no part of its equality."""
    return (outcome, outcome.legs) if isinstance(outcome, Posted) else outcome
