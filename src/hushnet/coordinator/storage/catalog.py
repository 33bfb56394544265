"""Tariffs and discounts in the database: rows of the ledger's tables, added and never changed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Row, Table, Text, func, or_, select, text

from hushnet.coordinator.catalog.model import Discount, Tariff
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.foundation.ids import AccountId, ModelId
from hushnet.foundation.money import Price

PRICES = Table(
    "prices",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("model", Text),
    Column("input", BigInteger),
    Column("cached", BigInteger),
    Column("output", BigInteger),
    Column("minimum", BigInteger),
    Column("from_ms", BigInteger),
)

DISCOUNTS = Table(
    "discounts",
    MetaData(),
    Column("owner", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, primary_key=True),
    Column("bps", Integer),
    Column("from_ms", BigInteger, primary_key=True, autoincrement=False),
)

_ADD = text(
    "INSERT INTO prices (id, model, input, cached, output, minimum, from_ms)"
    " VALUES (:id, :model, :input, :cached, :output, :minimum, :from_ms) ON CONFLICT (model, from_ms) DO NOTHING"
)

_ADD_DISCOUNT = text(
    "INSERT INTO discounts (owner, model, bps, from_ms) VALUES (:owner, :model, :bps, :from_ms)"
    " ON CONFLICT (owner, model, from_ms) DO NOTHING"
)


class SqlTariffStore:
    """`catalog.store.TariffStore` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tariffs(self) -> Sequence[Tariff]:
        with storage_faults():
            rows = await self._database.read(lambda connection: connection.execute(select(PRICES)).all())
        return [_tariff(row) for row in rows]

    async def tariffs_of(self, model: ModelId) -> Sequence[Tariff]:
        statement = select(PRICES).where(PRICES.c.model == model).order_by(PRICES.c.from_ms.desc())
        with storage_faults():
            rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [_tariff(row) for row in rows]

    async def add_tariff(self, tariff: Tariff) -> bool:
        price = tariff.price
        values = {
            "id": tariff.id,
            "model": tariff.model,
            "input": price.input,
            "cached": price.cached,
            "output": price.output,
            "minimum": price.minimum,
            "from_ms": tariff.from_ms,
        }

        def work(connection: Connection) -> bool:
            return connection.execute(_ADD, values).rowcount == 1

        with storage_faults():
            return await self._database.write(work)


def _tariff(row: Row[tuple[object, ...]]) -> Tariff:
    price = Price(input=row.input, cached=row.cached, output=row.output, minimum=row.minimum)
    return Tariff(id=row.id, model=ModelId(row.model), price=price, from_ms=row.from_ms)


class SqlDiscountStore:
    """`catalog.store.DiscountStore` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def discounts(self, *, now_ms: int, owner: AccountId | None = None) -> Sequence[Discount]:
        row, older = DISCOUNTS.c, DISCOUNTS.alias("older").c
        same = (older.owner == row.owner, older.model == row.model, older.from_ms <= now_ms)
        newest = select(func.max(older.from_ms)).where(*same).scalar_subquery()
        statement = select(DISCOUNTS).where(or_(row.from_ms > now_ms, row.from_ms == newest))
        if owner is not None:
            statement = statement.where(row.owner == owner)
        with storage_faults():
            rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [Discount(AccountId(each.owner), ModelId(each.model), each.bps, each.from_ms) for each in rows]

    async def add_discount(self, discount: Discount, *, since_ms: int, changes_max: int) -> bool | None:
        lately = select(func.count()).where(DISCOUNTS.c.owner == discount.owner, DISCOUNTS.c.from_ms > since_ms)
        values = {
            "owner": discount.owner,
            "model": discount.model,
            "bps": discount.bps,
            "from_ms": discount.from_ms,
        }

        def work(connection: Connection) -> bool | None:
            if connection.execute(lately).scalar_one() >= changes_max:
                return None
            return connection.execute(_ADD_DISCOUNT, values).rowcount == 1

        with storage_faults():
            return await self._database.write(work)
