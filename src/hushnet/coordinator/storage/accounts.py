"""Accounts and API keys in the database: the same statements on SQLite and Postgres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    func,
    select,
    text,
    update,
)

from hushnet.coordinator.accounts.model import Account, ApiKey, KeyStanding, Scope
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId, ApiKeyId

T = TypeVar("T")

_METADATA = MetaData()

ACCOUNTS = Table(
    "accounts",
    _METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text),
    Column("created_ms", BigInteger),
    Column("closed_ms", BigInteger),
)
API_KEYS = Table(
    "api_keys",
    _METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("account", BigInteger),
    Column("scope", Text),
    Column("name", Text),
    Column("digest", LargeBinary),
    Column("created_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

REFERRALS = Table(
    "referrals",
    _METADATA,
    Column("owner", BigInteger, primary_key=True),
    Column("referrer", BigInteger),
)

_ADD_ACCOUNT = text(
    "INSERT INTO accounts (id, name, created_ms) VALUES (:id, :name, :created_ms) ON CONFLICT DO NOTHING"
)


class SqlAccountStore:
    """`accounts.store.AccountStore` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_account(self, account: Account) -> Account:
        def work(connection: Connection) -> Row[tuple[object, ...]] | None:
            connection.execute(_ADD_ACCOUNT, {"id": account.id, "name": account.name, "created_ms": account.created_ms})
            return connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == account.name)).one_or_none()

        row = await self._write(work)
        if row is None:
            raise StorageError("an account id was drawn twice")
        return _account(row)

    async def account(self, account_id: AccountId) -> Account | None:
        statement = select(ACCOUNTS).where(ACCOUNTS.c.id == account_id)
        row = await self._read(lambda connection: connection.execute(statement).one_or_none())
        return None if row is None else _account(row)

    async def bar_account(self, account_id: AccountId, at_ms: int | None) -> bool:
        statement = update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(closed_ms=at_ms)
        return await self._write(lambda connection: connection.execute(statement).rowcount) == 1

    async def add_key(self, key: ApiKey, *, live_max: int) -> bool:
        live = select(func.count()).where(API_KEYS.c.account == key.account, API_KEYS.c.revoked_ms.is_(None))
        values = {
            "id": key.id,
            "account": key.account,
            "scope": key.scope.value,
            "name": key.name,
            "digest": key.digest,
            "created_ms": key.created_ms,
        }

        def work(connection: Connection) -> bool:
            # The lock makes two requests count one after the other; SQLite has one writer anyway.
            connection.execute(select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == key.account).with_for_update())
            if connection.execute(live).scalar_one() >= live_max:
                return False
            connection.execute(API_KEYS.insert().values(values))
            return True

        return await self._write(work)

    async def key(self, key_id: ApiKeyId) -> KeyStanding | None:
        account = API_KEYS.c.account
        joined = API_KEYS.join(ACCOUNTS, ACCOUNTS.c.id == account).outerjoin(REFERRALS, REFERRALS.c.owner == account)
        columns = (API_KEYS, ACCOUNTS.c.closed_ms, REFERRALS.c.referrer)
        statement = select(*columns).select_from(joined).where(API_KEYS.c.id == key_id)
        row = await self._read(lambda connection: connection.execute(statement).one_or_none())
        if row is None:
            return None
        referrer = None if row.referrer is None else AccountId(row.referrer)
        return KeyStanding(_key(row), row.closed_ms is not None, referrer)

    async def keys_of(self, account_id: AccountId) -> Sequence[ApiKey]:
        return await self._keys(API_KEYS.c.account == account_id)

    async def keys_of_scope(self, scope: str) -> Sequence[ApiKey]:
        return await self._keys(API_KEYS.c.scope == scope)

    async def revoke_key(self, key_id: ApiKeyId, *, account_id: AccountId, at_ms: int) -> bool:
        statement = (
            update(API_KEYS)
            .where(API_KEYS.c.id == key_id, API_KEYS.c.account == account_id)
            .values(revoked_ms=func.coalesce(API_KEYS.c.revoked_ms, at_ms))
        )
        return await self._write(lambda connection: connection.execute(statement).rowcount) == 1

    async def _keys(self, condition: ColumnElement[bool]) -> Sequence[ApiKey]:
        statement = select(API_KEYS).where(condition).order_by(API_KEYS.c.created_ms, API_KEYS.c.id)
        rows = await self._read(lambda connection: connection.execute(statement).all())
        return [_key(row) for row in rows]

    async def _read(self, work: Callable[[Connection], T]) -> T:
        with storage_faults():
            return await self._database.read(work)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        with storage_faults():
            return await self._database.write(work)


def _account(row: Row[tuple[object, ...]]) -> Account:
    return Account(id=AccountId(row.id), name=row.name, created_ms=row.created_ms, closed_ms=row.closed_ms)


def _key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=ApiKeyId(row.id),
        account=AccountId(row.account),
        scope=Scope(row.scope),
        name=row.name,
        digest=bytes(row.digest),
        created_ms=row.created_ms,
        revoked_ms=row.revoked_ms,
    )
