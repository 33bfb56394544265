"""Keeps records over restarts: read at the start, written at most once a minute a provider, and at the end.

Each process writes its own evidence and nothing else, so that what several have seen is added up once. What the others had
seen is read at the start: until the next start it stands still here, and fades.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final, Protocol

import msgspec

from hushnet.coordinator.fleet.reputation.book import RecordBook
from hushnet.coordinator.fleet.reputation.record import Evidence, Record
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import ProviderId

_LOG = logging.getLogger(__name__)

SAVE_EVERY_S: Final = 60.0
PAGE: Final = 500
"""Rows of one transaction: some milliseconds of the database's writer."""
FORGOTTEN_AFTER_MS: Final = 60 * 24 * 3_600_000
"""A record that nobody has added to for so long is the prior again."""
DOCUMENT_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """What one worker (0: a process that is alone) has seen of a provider, as a document of `Evidence`."""

    provider_id: ProviderId
    worker: int
    at_ms: int
    document: str


class RecordStore(Protocol):
    """Rows of records. Every method raises `StorageError` when the database fails."""

    async def save(self, records: Sequence[StoredRecord]) -> None:
        """Insert or replace the rows of these providers and workers."""
        ...

    async def load(self, *, after: ProviderId, providers: int) -> Sequence[StoredRecord]:
        """Return all rows of the first `providers` providers after `after`, by provider and worker."""
        ...

    async def forget(self, *, before_ms: int) -> int:
        """Delete what was written before; returns how many rows that were."""
        ...


class RecordKeeper:
    """Joins the book of this process with its store."""

    def __init__(self, store: RecordStore, book: RecordBook, clock: Clock, *, worker: int = 0) -> None:
        self._store = store
        self._book = book
        self._clock = clock
        self._worker = worker
        self._saving = asyncio.Lock()

    async def load(self) -> None:
        """Read what was stored; call before anybody joins. Raises `StorageError`."""
        await self._store.forget(before_ms=self._book.now_ms - FORGOTTEN_AFTER_MS)
        after = ProviderId("")
        while rows := await self._store.load(after=after, providers=PAGE):
            for provider_id, of_one in groupby(rows, key=lambda row: row.provider_id):
                self._restore(provider_id, list(of_one))
                after = provider_id

    async def save(self) -> None:
        """Write every record that has changed; one that can't be written now is written the next time."""
        async with self._saving:
            changed = iter(list(self._book.changed()))
            while page := list(islice(changed, PAGE)):
                rows = [self._row(provider_id, record) for provider_id, record in page]
                try:
                    await self._store.save(rows)
                except StorageError as error:
                    for _, record in page:
                        record.is_changed = True
                    _LOG.warning("records were not stored", extra={"count": len(rows), "code": error.error_code})
                    return

    async def run(self) -> None:
        """Save until cancelled."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self.save()

    def _row(self, provider_id: ProviderId, record: Record) -> StoredRecord:
        record.is_changed = False
        document = msgspec.json.encode(record.snapshot(self._clock.monotonic_s())).decode()
        return StoredRecord(provider_id, self._worker, self._book.now_ms, document)

    def _restore(self, provider_id: ProviderId, rows: Sequence[StoredRecord]) -> None:
        own, others = None, None
        for row in rows:
            evidence = _evidence_of(row)
            if evidence is None:
                continue
            if row.worker == self._worker:
                own = evidence
            elif others is None:
                others = evidence
            else:
                others.join(evidence)
        self._book.restore(provider_id, own=own, others=others)


def _evidence_of(row: StoredRecord) -> Evidence | None:
    try:
        return msgspec.json.decode(row.document, type=Evidence)
    except msgspec.MsgspecError:
        _LOG.warning("a stored record cannot be read", extra={"provider_id": row.provider_id})
        return None
