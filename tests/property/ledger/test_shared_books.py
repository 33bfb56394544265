"""Histories in shared books, some thousands here; `make histories` lives through as many as one likes.

`HUSH_HISTORIES=N` runs N times as many.
"""

from __future__ import annotations

import os

import pytest

from support import ledger_volumes
from support.ledger_volumes import OWNERS, Volume, write

SCALE = int(os.environ.get("HUSH_HISTORIES", "1"))
BOOKS = {"sqlite": 400, "postgresql": 100}


@pytest.mark.slow
@pytest.mark.timeout(600 * SCALE)
@pytest.mark.parametrize("kind", BOOKS)
def test_histories_in_shared_books_break_no_invariant(kind: str) -> None:
    tally = write(Volume(kind, seed=1, first=0, books=BOOKS[kind] * SCALE))

    assert tally.histories == OWNERS * BOOKS[kind] * SCALE
    assert tally.operations > 60 * BOOKS[kind] * SCALE
    assert tally.crashes > 0


def test_a_volume_is_made_again_from_its_seed() -> None:
    volumes = [write(Volume("sqlite", seed=seed, first=first, books=8)) for seed, first in ((5, 8), (5, 8), (6, 8))]

    assert volumes[0] == volumes[1] != volumes[2]


def test_a_volume_that_fails_says_how_to_run_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(*_: object) -> None:
        raise AssertionError("spoiled")

    monkeypatch.setattr(ledger_volumes, "check_store", spoiled)

    with pytest.raises(AssertionError) as failure:
        write(Volume("sqlite", seed=7, first=3, books=2))

    assert "--kinds sqlite --seed 7 --first 3 --books 2" in failure.value.__notes__[0]


def test_every_history_is_in_one_volume() -> None:
    found = list(ledger_volumes.volumes(12_001, kind="sqlite", seed=0))

    assert [volume.first for volume in found] == [0, 1_000, 2_000]
    assert sum(volume.books for volume in found) * OWNERS == 12_005


def test_a_number_that_is_asked_for_holds_for_every_database() -> None:
    assert ledger_volumes.shares(None) == {"sqlite": 100_000, "postgresql": 10_000}
    assert ledger_volumes.shares(1_000_000) == {"sqlite": 1_000_000, "postgresql": 1_000_000}
    assert ledger_volumes.shares(None, "postgresql") == {"postgresql": 10_000}
