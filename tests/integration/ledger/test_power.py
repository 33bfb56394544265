"""What a power failure may take from SQLite's books: holds alone, and then nothing that was worth keeping."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.books.check import check
from hushnet.coordinator.ledger.model import Closed, Insufficient
from hushnet.coordinator.storage import database_sqlite
from hushnet.coordinator.storage.database_sqlite import SqliteDatabase
from hushnet.foundation.errors import StorageError
from support.ledger import CONSUMER, OpenLedger, open_ledger, post

FILES = ("ledger.db", "ledger.db-wal")


@asynccontextmanager
async def books_in(folder: Path) -> AsyncIterator[OpenLedger]:
    async with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as books:
        yield books


class SlowDisk:
    """Lets no sync of the log end before it is told to, and runs `then` when one has."""

    def __init__(self, patch: pytest.MonkeyPatch, then: Callable[[], None] = lambda: None) -> None:
        self.asked = threading.Event()
        self.may_end = threading.Event()
        real = database_sqlite._sync

        def sync(fd: int) -> None:
            self.asked.set()
            assert self.may_end.wait(30)
            real(fd)
            then()

        patch.setattr(database_sqlite, "_sync", sync)


def copied(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copy(source / name, target / name)


async def test_a_close_is_answered_once_it_is_on_the_disk_and_holds_go_on_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    async with books_in(before) as books:
        await books.give(CONSUMER, promo=1000)
        hold, parts = await books.held(10)
        disk = SlowDisk(monkeypatch, then=lambda: copied(before, after))

        closing = asyncio.create_task(books.ledger.close(post(hold, parts, 10)))
        await asyncio.to_thread(disk.asked.wait, 30)
        for _ in range(3):
            await books.held(10)  # each is committed and answered while the disk hangs
        assert not closing.done()

        disk.may_end.set()
        assert isinstance(await closing, Closed)
    monkeypatch.undo()
    async with books_in(after) as books:  # what the disk had when the close was answered
        assert isinstance((await books.hold(991))[1], Insufficient)
        assert await check(books.store) == []


async def test_what_a_failing_disk_may_have_lost_is_neither_answered_nor_built_upon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with books_in(tmp_path) as books:
        await books.give(CONSUMER, promo=1000)
        hold, parts = await books.held(10)

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(database_sqlite, "_sync", fail)
            with pytest.raises(StorageError, match="disk"):
                await books.ledger.close(post(hold, parts, 10))
        with pytest.raises(StorageError, match="disk"):
            await books.hold(10)  # the disk answers again, but what it has is not known
    async with books_in(tmp_path) as books:
        assert await check(books.store) == []
        await books.held(10)


async def test_the_log_that_is_synced_is_the_one_that_is_written_also_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, linked = tmp_path / "real", tmp_path / "linked"
    real.mkdir()
    linked.mkdir()
    (linked / "ledger.db").symlink_to(real / "ledger.db")
    synced: list[int] = []
    async with books_in(linked) as books:
        monkeypatch.setattr(database_sqlite, "_sync", lambda fd: synced.append(os.fstat(fd).st_ino))
        await books.give(CONSUMER, promo=1000)
        assert synced[-1:] == [(real / "ledger.db-wal").stat().st_ino]


async def test_a_log_that_has_gone_is_a_failure_and_not_nothing_to_do(tmp_path: Path) -> None:
    async with books_in(tmp_path) as books:
        (tmp_path / "ledger.db-wal").unlink()
        assert isinstance(books.database, SqliteDatabase)
        books.database._disk.close()  # as if nothing had been synced yet
        with pytest.raises(StorageError, match="disk"):
            await books.database.persist()


async def test_a_log_is_written_once_more_before_anything_is_committed_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    async with books_in(before) as books:
        await books.give(CONSUMER, promo=1000)
        copied(before, after)
    bytes_before = (after / "ledger.db-wal").read_bytes()
    steps: list[tuple[str, int]] = []
    real_write, real_sync = os.pwrite, database_sqlite._sync

    def write(fd: int, data: bytes, at: int) -> int:
        steps.append(("write", at))
        return real_write(fd, data, at)

    def sync(fd: int) -> None:
        if not any(step == "sync" for step, _ in steps):
            assert (after / "ledger.db-wal").read_bytes() == bytes_before
        steps.append(("sync", 0))
        real_sync(fd)

    monkeypatch.setattr(database_sqlite, "_PIECE_BYTES", 4096)
    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(database_sqlite, "_sync", sync)
    async with books_in(after) as books:
        pieces = [("write", at) for at in range(0, len(bytes_before), 4096)]
        assert steps[: len(pieces) + 1] == [*pieces, ("sync", 0)]
        await books.held(1000)


async def test_books_that_lost_a_hold_go_on_as_if_it_had_been_released(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    async with books_in(before) as books:
        await books.give(CONSUMER, promo=1000)
        copied(before, after)  # what the disk has: all up to the last sync
        lost, _ = await books.held(600)

    async with books_in(after) as books:
        hold, parts = await books.held(1000)

        assert hold.id > lost.id
        assert isinstance(await books.ledger.close(post(hold, parts, 1000)), Closed)
        assert await check(books.store) == []
