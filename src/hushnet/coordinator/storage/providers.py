"""Providers that have registered, in the database: the same statements on SQLite and Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, Column, MetaData, SmallInteger, Table, Text, select, text, update

from hushnet.coordinator.accounts.providers import ProviderRecord
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.foundation.ids import AccountId, ProviderId

PROVIDERS = Table(
    "providers",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("account", BigInteger),
    Column("agent_version", Text),
    Column("trust", SmallInteger),
    Column("first_ms", BigInteger),
    Column("last_ms", BigInteger),
    Column("suspended_ms", BigInteger),
    Column("reason", Text),
)

_NOTE = text(
    "INSERT INTO providers (id, account, agent_version, trust, first_ms, last_ms)"
    " VALUES (:id, :account, :agent_version, :trust, :first_ms, :last_ms)"
    " ON CONFLICT (id) DO UPDATE SET account = excluded.account, agent_version = excluded.agent_version,"
    " trust = excluded.trust, last_ms = excluded.last_ms"
)


class SqlProviderStore:
    """`accounts.providers.ProviderStore` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, record: ProviderRecord) -> None:
        names = ("id", "account", "agent_version", "trust", "first_ms", "last_ms")
        values = {name: getattr(record, name) for name in names}
        with storage_faults():
            await self._database.write(lambda connection: connection.execute(_NOTE, values).rowcount)

    async def suspended(self) -> Mapping[ProviderId, str]:
        statement = select(PROVIDERS.c.id, PROVIDERS.c.reason).where(PROVIDERS.c.suspended_ms.is_not(None))
        with storage_faults():
            rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return {ProviderId(row.id): row.reason for row in rows}

    async def set_suspended(self, provider_id: ProviderId, *, at_ms: int | None, reason: str) -> bool:
        values = {"suspended_ms": at_ms, "reason": reason}
        statement = update(PROVIDERS).where(PROVIDERS.c.id == provider_id).values(values)
        with storage_faults():
            return await self._database.write(lambda connection: connection.execute(statement).rowcount) == 1

    async def providers(self, *, after: str, limit: int, account: AccountId | None = None) -> Sequence[ProviderRecord]:
        statement = select(PROVIDERS).where(PROVIDERS.c.id > after).order_by(PROVIDERS.c.id).limit(limit)
        if account is not None:
            statement = statement.where(PROVIDERS.c.account == account)
        with storage_faults():
            rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [
            ProviderRecord(
                id=ProviderId(row.id),
                account=AccountId(row.account),
                agent_version=row.agent_version,
                trust=row.trust,
                first_ms=row.first_ms,
                last_ms=row.last_ms,
                suspended_ms=row.suspended_ms,
                reason=row.reason,
            )
            for row in rows
        ]
