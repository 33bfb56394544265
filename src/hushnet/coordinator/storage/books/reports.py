"""Usage and income of one owner, summed in the database, along the indexes (owner, id) and (provider, id)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, and_, cast, func, select

from hushnet.coordinator.ledger.books.days import DAY_MS
from hushnet.coordinator.ledger.chart import Kind, user_account
from hushnet.coordinator.ledger.ids import ID_MAX, first_id_at
from hushnet.coordinator.ledger.model import HOLD_LIFE_MS_MAX, Phase, UsageRecord
from hushnet.coordinator.ledger.reports.model import TIME_MAX_MS, Group, Income, Movement, Part, Scope, Side
from hushnet.coordinator.storage.books import statements
from hushnet.coordinator.storage.books.archives import require_kept
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.coordinator.storage.ledger_rows import usage_record
from hushnet.coordinator.storage.tables import facts, transfers, usage
from hushnet.foundation.ids import AccountId, RequestId

T = TypeVar("T")

_KIND_MASK: Final = 0xF
_ID_MS_MAX: Final = 1 << 41
"""No id carries a later time (in 2039); those before it fit into 63 bits."""
_PARTS: Final[Mapping[Part, ColumnElement[Any]]] = {
    Part.DAY: usage.c.at_ms // DAY_MS,
    Part.MODEL: usage.c.model,
    Part.KEY: usage.c.api_key,
    Part.MACHINE: usage.c.machine,
}


class SqlReportStore:
    """`ledger.reports.store.ReportStore` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, scope: Scope, *, before: int, limit: int) -> list[UsageRecord]:
        statement = page_of(scope, before=before, limit=limit)
        return await self._read(lambda connection: [usage_record(row) for row in connection.execute(statement)])

    async def groups(self, scope: Scope, by: Sequence[Part], *, limit: int) -> list[Group]:
        columns = [_PARTS[part] for part in by]
        amount = usage.c.to_provider if scope.side is Side.PROVIDER else usage.c.cost
        sums = [cast(func.sum(each), BigInteger) for each in (usage.c.tokens_in, usage.c.tokens_cached)]
        sums += [cast(func.sum(each), BigInteger) for each in (usage.c.tokens_out, amount)]
        statement = select(*columns, func.count(), *sums).where(_mine(scope)).limit(limit)
        if columns:
            statement = statement.group_by(*columns).order_by(*columns)

        def load(connection: Connection) -> list[Group]:
            rows = connection.execute(statement).all()
            return [Group(tuple(row[: len(by)]), *row[len(by) :]) for row in rows if row[len(by)]]

        return await self._read(load)

    async def income(self, scope: Scope) -> list[Income]:
        owner, day = scope.owner, facts.c.at_ms // DAY_MS
        statement = (
            select(facts.c.code, day, cast(func.sum(transfers.c.amount), BigInteger))
            .join_from(facts, transfers, transfers.c.fact == facts.c.id)
            .where(
                facts.c.owner == owner,
                facts.c.id.between(*id_range(scope)),
                facts.c.at_ms >= scope.from_ms,
                facts.c.at_ms < scope.to_ms,
                transfers.c.credit == user_account(owner, Kind.EARNINGS),
                ~transfers.c.debit.between(user_account(owner, Kind.PROMO), user_account(owner, Kind.OWED)),
            )
            .group_by(facts.c.code, day)
            .order_by(day, facts.c.code)
        )

        def load(connection: Connection) -> list[Income]:
            require_kept(connection, scope.from_ms)
            return [Income(*row) for row in connection.execute(statement)]

        return await self._read(load)

    async def spent_from(self, request_id: RequestId) -> Mapping[Kind, int]:
        of_it = and_(transfers.c.fact == request_id | 1, transfers.c.phase == Phase.POSTED)
        statement = select(transfers.c.debit, cast(func.sum(transfers.c.amount), BigInteger)).where(of_it)
        grouped = statement.group_by(transfers.c.debit)
        return await self._read(
            lambda connection: {Kind(debit & _KIND_MASK): amount for debit, amount in connection.execute(grouped)}
        )

    async def balances_at(self, owner: AccountId, at_ms: int) -> Mapping[Kind, int]:
        from_id, _ = id_range(Scope(owner, from_ms=at_ms))

        def load(connection: Connection) -> Mapping[Kind, int]:
            require_kept(connection, at_ms)
            return statements.balances_at(connection, owner, at_ms, from_id=from_id)

        return await self._read(load)

    async def movements(self, scope: Scope, *, after: int, limit: int) -> tuple[list[Movement], int | None]:
        low, high = id_range(scope)
        return await self._read(
            lambda connection: statements.movements(connection, scope, low=max(low, after + 1), high=high, limit=limit)
        )

    async def _read(self, work: Callable[[Connection], T]) -> T:
        with storage_faults():
            return await self._database.read(work)


def id_range(scope: Scope) -> tuple[int, int]:
    """Return the ids among which everything of a scope's time is: a settlement is at most as late as a hold lives.

    Ids run ahead of the clock where a clock was set back: by less than a day, or one reads without bounds.
    """
    return _id_at(scope.from_ms - HOLD_LIFE_MS_MAX), _id_at(scope.to_ms + DAY_MS)


def _id_at(ms: int) -> int:
    return ID_MAX if ms >= _ID_MS_MAX else first_id_at(ms)


def page_of(scope: Scope, *, before: int, limit: int) -> Select[Any]:
    """Return the statement of one page of requests, newest first."""
    statement: Select[Any] = select(usage).where(_mine(scope), usage.c.id < before)
    return statement.order_by(usage.c.id.desc()).limit(limit)


def _mine(scope: Scope) -> ColumnElement[bool]:
    whose = usage.c.provider if scope.side is Side.PROVIDER else usage.c.owner
    conditions = [whose == scope.owner]
    if scope.from_ms > 0 or scope.to_ms < TIME_MAX_MS:
        conditions += [usage.c.id.between(*id_range(scope)), usage.c.at_ms.between(scope.from_ms, scope.to_ms - 1)]
    if scope.model is not None:
        conditions.append(usage.c.model == scope.model)
    if scope.key is not None:
        conditions.append(usage.c.api_key == scope.key)
    return and_(*conditions)
