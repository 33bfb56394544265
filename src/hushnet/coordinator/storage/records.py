"""Records of providers in the database: the same statements on SQLite and Postgres."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, MetaData, SmallInteger, Table, Text, delete, select, text

from hushnet.coordinator.fleet.reputation.keeper import StoredRecord
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.foundation.ids import ProviderId

RECORDS = Table(
    "provider_records",
    MetaData(),
    Column("provider", Text, primary_key=True),
    Column("worker", SmallInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger),
    Column("document", Text),
)

_SAVE = text(
    "INSERT INTO provider_records (provider, worker, at_ms, document) VALUES (:provider, :worker, :at_ms, :document)"
    " ON CONFLICT (provider, worker) DO UPDATE SET at_ms = excluded.at_ms, document = excluded.document"
)


class SqlRecordStore:
    """`fleet.reputation.keeper.RecordStore` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, records: Sequence[StoredRecord]) -> None:
        rows = [
            {"provider": each.provider_id, "worker": each.worker, "at_ms": each.at_ms, "document": each.document}
            for each in records
        ]
        if rows:
            with storage_faults():
                await self._database.write(lambda connection: connection.execute(_SAVE, rows).rowcount)

    async def load(self, *, after: ProviderId, providers: int) -> Sequence[StoredRecord]:
        column = RECORDS.c.provider
        page = select(column).distinct().where(column > after).order_by(column).limit(providers).subquery()
        statement = select(RECORDS).where(column.in_(select(page.c.provider))).order_by(column, RECORDS.c.worker)
        with storage_faults():
            rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [StoredRecord(ProviderId(row.provider), row.worker, row.at_ms, row.document) for row in rows]

    async def forget(self, *, before_ms: int) -> int:
        statement = delete(RECORDS).where(RECORDS.c.at_ms < before_ms)
        with storage_faults():
            return await self._database.write(lambda connection: connection.execute(statement).rowcount)
