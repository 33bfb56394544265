"""Tariffs in the database: rows of the ledger's table `prices`, added and never changed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Connection, MetaData, Row, Table, Text, select, text

from hushnet.coordinator.catalog.model import Tariff
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.foundation.ids import ModelId
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

_ADD = text(
    "INSERT INTO prices (id, model, input, cached, output, minimum, from_ms)"
    " VALUES (:id, :model, :input, :cached, :output, :minimum, :from_ms) ON CONFLICT (model, from_ms) DO NOTHING"
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
