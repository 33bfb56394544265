"""Random histories mean what the plain model says, on every store, through crashes, in any grouping into batches.

`HUSH_HISTORIES=N` runs N times as many.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from support.ledger_batches import BATCH_MAX
from support.ledger_events import EVENTS
from support.ledger_history import INTERRUPTIONS, STEPS, History, live
from support.ledger_stores import MemoryStore, real_store

SCALE = int(os.environ.get("HUSH_HISTORIES", "1"))
randoms = st.randoms(use_true_random=False)


class LedgerMachine(RuleBasedStateMachine):
    """Histories that hypothesis steers, and can shrink."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History.alone(MemoryStore())

    @rule(rng=randoms, step=st.sampled_from(sorted({*STEPS, *INTERRUPTIONS} - {"event"})))
    def request(self, rng: Random, step: str) -> None:
        getattr(self.history, step)(rng)

    @rule(rng=randoms, event=st.sampled_from(sorted(set(EVENTS))))
    def event(self, rng: Random, event: str) -> None:
        getattr(self.history.events, event)(rng)

    @rule()
    def commit(self) -> None:
        self.history.batches.commit()

    @rule()
    def crash_before_commit(self) -> None:
        self.history.batches.crash_before_commit()

    @rule()
    def crash_after_commit(self) -> None:
        self.history.batches.crash_after_commit()

    @invariant()
    def the_queue_is_one_batch(self) -> None:
        assert len(self.history.batches) < BATCH_MAX

    @invariant()
    def what_is_set_aside_is_what_is_open(self) -> None:
        self.history.check_model()

    def teardown(self) -> None:
        self.history.check()


LedgerMachine.TestCase.settings = settings(max_examples=40 * SCALE, stateful_step_count=40, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase


def test_a_batch_equals_its_operations_one_by_one() -> None:
    for seed in range(60 * SCALE):
        history = History.alone(MemoryStore())
        live(history, Random(seed), 80)
        history.check()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_history_in_a_database(tmp_path: Path, kind: str) -> None:
    for seed in range(SCALE):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with real_store(kind, folder) as store:
            history = History.alone(store)
            live(history, Random(seed), 400)
            history.check()
