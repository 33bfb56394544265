"""The store of providers' records: one suite, on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.fleet.reputation.book import RecordBook
from hushnet.coordinator.fleet.reputation.keeper import FORGOTTEN_AFTER_MS, RecordKeeper, StoredRecord
from hushnet.coordinator.fleet.reputation.outcomes import Outcome
from hushnet.coordinator.fleet.reputation.record import MODELS_MAX, score_of
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.records import SqlRecordStore
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import ModelId, ProviderId
from support.postgres import fresh_database
from support.routing import numbered

ROW = StoredRecord(numbered(1), 0, 1_763_690_000_000, "[]")


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlRecordStore]:
    if request.param == "sqlite":
        opened = await Database.open(f"sqlite:///{tmp_path}/c.db")
        yield SqlRecordStore(opened)
        await opened.aclose()
        return
    with fresh_database() as url:
        opened = await Database.open(url)
        yield SqlRecordStore(opened)
        await opened.aclose()


async def test_a_row_is_replaced_by_its_own_worker_only(store: SqlRecordStore) -> None:
    await store.save([ROW, replace(ROW, worker=1, document="[1]")])
    await store.save([replace(ROW, at_ms=ROW.at_ms + 1, document="[2]")])
    assert await store.load(after=ProviderId(""), providers=10) == [
        replace(ROW, at_ms=ROW.at_ms + 1, document="[2]"),
        replace(ROW, worker=1, document="[1]"),
    ]


async def test_nothing_is_saved_and_nothing_loaded_without_rows(store: SqlRecordStore) -> None:
    await store.save([])
    assert await store.load(after=ProviderId(""), providers=10) == []


async def test_providers_are_paged_whole(store: SqlRecordStore) -> None:
    rows = [replace(ROW, provider_id=numbered(number), worker=worker) for number in range(5) for worker in (0, 1, 2)]
    await store.save(rows[::-1])
    first = await store.load(after=ProviderId(""), providers=2)
    rest = await store.load(after=first[-1].provider_id, providers=10)
    assert [*first, *rest] == rows
    assert len(first) == 6


async def test_what_was_written_long_ago_is_forgotten(store: SqlRecordStore) -> None:
    await store.save([replace(ROW, provider_id=numbered(number), at_ms=number) for number in range(4)])
    assert await store.forget(before_ms=2) == 2
    assert [row.at_ms for row in await store.load(after=ProviderId(""), providers=10)] == [2, 3]


@pytest.mark.parametrize(
    "row", [replace(ROW, provider_id=ProviderId("short")), replace(ROW, document="x" * 65_537), replace(ROW, worker=-1)]
)
async def test_a_row_that_is_out_of_bounds_is_refused(store: SqlRecordStore, row: StoredRecord) -> None:
    with pytest.raises(StorageError):
        await store.save([row])


async def test_a_book_of_many_comes_back_as_it_was(store: SqlRecordStore) -> None:
    clock = ManualClock()
    book = RecordBook(clock)
    for number in range(1_100):
        record = book.of(numbered(number))
        for model in range(1 if number else MODELS_MAX):
            record.note(ModelId(f"m{model}"), Outcome.SERVED if number % 3 else Outcome.LOST_LINK, clock.monotonic_s())
    await RecordKeeper(store, book, clock).save()
    clock.advance(3_600)

    again = RecordBook(clock)
    await RecordKeeper(store, again, clock).load()
    assert len(again) == 1_100
    for number in (0, 1, 2, 1_099):
        mine, theirs = (score_of(*each.known(numbered(number)).components(3_600.0)) for each in (book, again))
        assert mine == pytest.approx(theirs)
    assert list(again.changed()) == []

    clock.advance(FORGOTTEN_AFTER_MS / 1_000 + 1)
    late = RecordBook(clock)
    await RecordKeeper(store, late, clock).load()
    assert len(late) == 0


async def test_a_record_that_could_not_be_stored_is_stored_the_next_time(store: SqlRecordStore) -> None:
    class Failing(SqlRecordStore):
        is_down = True

        async def save(self, records) -> None:
            if self.is_down:
                raise StorageError("down")
            await super().save(records)

    clock = ManualClock()
    book, failing = RecordBook(clock), Failing(store._database)
    book.of(numbered(1)).note(ModelId("m"), Outcome.SERVED, 0.0)
    keeper = RecordKeeper(failing, book, clock)
    await keeper.save()
    assert await store.load(after=ProviderId(""), providers=10) == []
    failing.is_down = False
    await keeper.save()
    assert len(await store.load(after=ProviderId(""), providers=10)) == 1


def test_a_book_is_bounded_and_forgets_those_that_are_gone_first() -> None:
    book = RecordBook(ManualClock(), records_max=8)
    for number in range(4):
        book.of(numbered(number)).arrived(0.0)
    for number in range(4, 40):
        book.of(numbered(number))
    assert len(book) == 8
    assert all(book.of(numbered(number)).is_here for number in range(4))
