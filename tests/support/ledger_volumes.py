"""Histories by the hundred thousand: owners interleaved in shared books, through crashes, volume after volume.

A book is five owners who hold, settle, dispute and are paid among themselves, 80 steps beside a plain model of their
own: five histories. Eight books at a time live side by side in the same random batches. Books share a volume, which is one
database; when a volume is full its whole books are proved (B1 to B9) and compared with every model. Volumes are
independent, so that processes share them out.

`make histories HISTORIES=1000000`; a volume that fails says how to run it again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Final

from hushnet.coordinator.ledger import plan
from hushnet.foundation.clock import ManualClock
from support.ledger_batches import BATCH_MAX, Batches
from support.ledger_history import CEILINGS, OWNERS, History, check_store, step
from support.ledger_stores import Process, real_store
from support.memory import memory_folder
from support.postgres import server_url

EACH: Final = MappingProxyType({"sqlite": 100_000, "postgresql": 10_000})
"""How many histories each kind of database lives through unless told otherwise: minutes of CI, not a quarter of an hour."""
STEPS_A_BOOK = 80
BOOKS_AT_ONCE = 8
UNREST = 0.02
"""An interruption ends a batch, and it is batches that cost time."""
CRASHES = 0.1
BOOKS_A_VOLUME = 1_000
_ROOM = 1 << 28


@dataclass(frozen=True)
class Volume:
    """Which books are written into one database."""

    kind: str
    seed: int
    first: int
    books: int


@dataclass(frozen=True)
class Tally:
    """What has been lived through without a broken invariant."""

    histories: int = 0
    operations: int = 0
    crashes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.histories + other.histories,
            self.operations + other.operations,
            self.crashes + other.crashes,
        )


def write(volume: Volume) -> Tally:
    """Live every book of a volume in a database of its own; raises `AssertionError` where the books are wrong."""
    clock, rng = ManualClock(), Random(f"{volume.seed}:{volume.first}")
    books: list[History] = []
    operations = 0
    with (
        tempfile.TemporaryDirectory(dir=memory_folder(room=_ROOM)) as folder,
        real_store(volume.kind, Path(folder)) as store,
    ):
        store.set_ceilings(CEILINGS)
        batches = Batches(Process(store, clock, plan), None, clock, unrest=UNREST, crashes=CRASHES)
        try:
            for first in range(volume.first, volume.first + volume.books, BOOKS_AT_ONCE):
                numbers = range(first, min(first + BOOKS_AT_ONCE, volume.first + volume.books))
                shelf = [History(batches, number=number) for number in numbers]
                _live(shelf, batches, rng)
                operations += sum(len(book.past) for book in shelf)
                books += [_closed(book) for book in shelf]
            check_store(store, books)
        except Exception as error:
            error.add_note(_again(volume))
            raise
    return Tally(OWNERS * volume.books, operations, batches.crashes)


def _live(shelf: list[History], batches: Batches, rng: Random) -> None:
    """Let the books of a shelf live side by side, in the same batches."""
    for book in shelf:
        book.events.endow(rng)
    left = [book for book in shelf for _ in range(STEPS_A_BOOK)]
    rng.shuffle(left)
    batch = rng.randint(1, BATCH_MAX)
    for book in left:
        step(book, rng)
        if len(batches) >= batch:
            batches.end(rng)
            batch = rng.randint(1, BATCH_MAX)
    batches.end(rng)


def _closed(book: History) -> History:
    """Check what can be checked of a book by itself, and keep only its end."""
    book.check_model()
    book.past.clear()
    return book


def volumes(histories: int, *, kind: str, seed: int, first: int = 0) -> Iterator[Volume]:
    """Share out at least so many histories."""
    left = -(-histories // OWNERS)
    while left > 0:
        books = min(left, BOOKS_A_VOLUME)
        yield Volume(kind, seed, first, books)
        first, left = first + books, left - books


def shares(histories: int | None, kinds: str = "") -> dict[str, int]:
    """Return how many histories each kind of database gets; None: as many as `EACH` says."""
    named = kinds.split(",") if kinds else list(EACH)
    return {kind: EACH[kind] if histories is None else histories for kind in named}


def run(histories: Mapping[str, int], *, seed: int = 0, processes: int | None = None) -> dict[str, Tally]:
    """Live so many histories on each kind of database, in several processes at once."""
    if "postgresql" in histories:
        os.environ["HUSH_TEST_POSTGRES_URL"] = server_url().render_as_string(hide_password=False)
    tallies = {}
    with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for kind, wanted in histories.items():
            started_s, tally = time.monotonic(), Tally()
            for done in pool.map(write, volumes(wanted, kind=kind, seed=seed)):
                tally += done
            tallies[kind] = tally
            print(
                f"{kind}: {tally.histories} histories, {tally.operations} operations, {tally.crashes} crashes,"
                f" no broken invariant, {time.monotonic() - started_s:.0f} s",
                flush=True,
            )
    return tallies


def main() -> int:
    """Run what the arguments ask for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m support.ledger_volumes", description="Random ledger histories.")
    parser.add_argument(
        "--histories", type=int, default=None, help="on each database (default: 100000, Postgres 10000)"
    )
    parser.add_argument("--kinds", default="", help="of database (default: sqlite,postgresql)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=None, help="default: one a core")
    parser.add_argument("--json", default=None, help="a file for the totals")
    parser.add_argument("--first", type=int, default=None, help="with --books: these alone, in one volume")
    parser.add_argument("--books", type=int, default=1)
    given = parser.parse_args()
    wanted = shares(given.histories, given.kinds)
    if given.first is not None:
        print(write(Volume(next(iter(wanted)), given.seed, given.first, given.books)))
        return 0
    tallies = run(wanted, seed=given.seed, processes=given.processes)
    if given.json:
        Path(given.json).write_text(json.dumps({kind: asdict(tally) for kind, tally in tallies.items()}))
    return 0


def _again(volume: Volume) -> str:
    return (
        f"again: PYTHONPATH=tests python -m support.ledger_volumes --kinds {volume.kind} --seed {volume.seed}"
        f" --first {volume.first} --books {volume.books}"
    )


if __name__ == "__main__":
    sys.exit(main())
