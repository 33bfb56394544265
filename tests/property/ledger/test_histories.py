"""Random histories mean what the plain model says, on every store, through crashes, in any grouping into batches.

`HUSH_HISTORIES=N` runs N times as many.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import insert

from hushnet.coordinator.ledger.store import Books, Lease, Reads, Snapshot, Writes
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.coordinator.storage.tables import caps
from support.ledger import database_url
from support.ledger_history import CrashedError, History, MemoryStore, live

SCALE = int(os.environ.get("HUSH_HISTORIES", "1"))
randoms = st.randoms(use_true_random=False)


class LedgerMachine(RuleBasedStateMachine):
    """Histories that hypothesis steers, and can shrink."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History(MemoryStore())

    @rule(rng=randoms)
    def hold(self, rng: Random) -> None:
        self.history.hold(rng)

    @rule(rng=randoms)
    def hold_again_with_other_content(self, rng: Random) -> None:
        self.history.hold_again_with_other_content(rng)

    @rule(rng=randoms)
    def close(self, rng: Random) -> None:
        self.history.close(rng)

    @rule(rng=randoms)
    def fact(self, rng: Random) -> None:
        self.history.fact(rng)

    @rule(rng=randoms)
    def replay(self, rng: Random) -> None:
        self.history.replay(rng)

    @rule()
    def commit(self) -> None:
        self.history.commit()

    @rule()
    def crash_before_commit(self) -> None:
        self.history.crash_before_commit()

    @rule()
    def crash_after_commit(self) -> None:
        self.history.crash_after_commit()

    @rule(rng=randoms)
    def pass_time(self, rng: Random) -> None:
        self.history.pass_time(rng)

    @invariant()
    def the_queue_is_one_batch(self) -> None:
        assert len(self.history.queue) < 64

    def teardown(self) -> None:
        self.history.check()


LedgerMachine.TestCase.settings = settings(max_examples=40 * SCALE, stateful_step_count=40, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase


class RealStore:
    """A database, driven from outside a loop, that crashes when told."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        self._runner = runner
        self._database = database
        self._store = open_ledger_store(database, reach=self._reach)
        self._point = ""
        self._lease: Lease | None = None

    def claim(self, now_ms: int) -> Lease:
        # The dead process's lane is given back for it: the clock stands still, so its lease would never end.
        if self._lease is not None:
            self._runner.run(self._store.renew_lane(self._lease, until_ms=0))
        self._lease = self._runner.run(self._store.claim_lane(now_ms=now_ms, lease_ms=0))
        return self._lease

    def commit(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        self._runner.run(self._store.transact(reads, decide))

    def inspect(self, work: Callable[[Books], object]) -> object:
        return self._runner.run(self._store.inspect(work))

    def fail_at(self, point: str) -> None:
        self._point = point

    def set_ceilings(self, ceilings: dict[int, int]) -> None:
        rows = [{"id": cap, "scope": 2, "subject": cap, "period": 1, "ceiling": n} for cap, n in ceilings.items()]
        self._runner.run(self._database.write(lambda connection: connection.execute(insert(caps), rows) and None))

    def close(self) -> None:
        self._runner.run(self._database.aclose())

    def _reach(self, point: str) -> None:
        if point == self._point:
            self._point = ""
            raise CrashedError


@contextmanager
def real_store(kind: str, folder: Path) -> Iterator[RealStore]:
    with database_url(kind, folder) as url, asyncio.Runner() as runner:
        store = RealStore(runner, runner.run(Database.open(url)))
        try:
            yield store
        finally:
            store.close()


def test_a_batch_equals_its_operations_one_by_one_and_what_the_model_says() -> None:
    for seed in range(60 * SCALE):
        live(History(MemoryStore()), Random(seed), 60)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_history_in_a_database(tmp_path: Path, kind: str) -> None:
    for seed in range(SCALE):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with real_store(kind, folder) as store:
            live(History(store), Random(seed), 400)
