"""Closed days in the database: sums are made there, over the facts of the day, the same statements on SQLite and Postgres.

SQLite has one writer, and requests wait for it: there a day's balances are written some at a time, its row last of all. What
a crash leaves of a day without a row is of no day yet; closing the day writes each of them again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    cast,
    exists,
    false,
    func,
    or_,
    select,
    text,
)

from hushnet.coordinator.ledger.books.days import DayBalance, DayBooks, DayRow, Head
from hushnet.coordinator.ledger.model import Phase
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults
from hushnet.coordinator.storage.tables import accounts, batches, lanes, transfers

T = TypeVar("T")

_ROWS_AT_ONCE: Final = 1000
_LANE_SHIFT: Final = 48
_KIND_MASK: Final = 0xF

DAYS: Final = Table(
    "ledger_days",
    MetaData(),
    Column("day", Integer, primary_key=True),
    Column("at_ms", BigInteger),
    Column("heads", Text),
    Column("root", LargeBinary),
    Column("leaves", Integer),
    Column("liabilities", BigInteger),
    Column("oldest_open", BigInteger),
    Column("ok", Boolean),
    Column("findings", Text),
)
DAY_BALANCES: Final = Table(
    "ledger_day_balances",
    MetaData(),
    Column("day", Integer, primary_key=True),
    Column("account", BigInteger, primary_key=True),
    Column("credits", BigInteger),
    Column("debits", BigInteger),
    Column("held", BigInteger),
)
_ADD_DAY: Final = text(
    "INSERT INTO ledger_days (day, at_ms, heads, root, leaves, liabilities, oldest_open, ok, findings)"
    " VALUES (:day, :at_ms, :heads, :root, :leaves, :liabilities, :oldest_open, :ok, :findings) ON CONFLICT DO NOTHING"
)
# A later try has the same accounts, or more: columns only grow.
_PUT_BALANCE: Final = text(
    "INSERT INTO ledger_day_balances (day, account, credits, debits, held)"
    " VALUES (:day, :account, :credits, :debits, :held) ON CONFLICT (day, account)"
    " DO UPDATE SET credits = excluded.credits, debits = excluded.debits, held = excluded.held"
)


class SqlDayStore:
    """`ledger.books.days.DayStore` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def inspect_days(self, work: Callable[[DayBooks], T]) -> T:
        return await self._read(lambda connection: work(SqlDayBooks(connection)))

    async def add_day(self, row: DayRow, balances: Sequence[DayBalance]) -> bool:
        parts = [balances[start : start + _ROWS_AT_ONCE] for start in range(0, len(balances), _ROWS_AT_ONCE)]
        with storage_faults():
            if self._database.dialect == "sqlite":
                for part in parts:
                    if not await self._database.write(partial(_put_balances, row=row, part=part)):
                        return False  # somebody else in this process was first
                return await self._database.write(partial(_add_day, row=row, parts=()))
            return await self._database.write(partial(_add_day, row=row, parts=parts))

    async def day(self, day: int | None) -> DayRow | None:
        return await self._read(lambda connection: _day(connection, day))

    async def balances_of(self, day: int, owner: int) -> list[DayBalance]:
        mine = DAY_BALANCES.c.account.between(owner << 4, owner << 4 | _KIND_MASK)
        return await self._read(lambda connection: list(_balances(connection, day, mine)))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        with storage_faults():
            return await self._database.read(work)


class SqlDayBooks:
    """`ledger.books.days.DayBooks` over a connection that is inside a snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def last_day(self) -> DayRow | None:
        return _day(self._connection, None)

    def first_ms(self) -> int | None:
        first: int | None = self._connection.execute(
            select(func.min(batches.c.at_ms)).where(batches.c.seq == 1)
        ).scalar_one()
        return first

    def heads_before(self, cutoff_ms: int, after: Mapping[int, int]) -> tuple[Head, ...]:
        heads = []
        for lane, newest in self._newest().items():
            mine = batches.c.lane == lane
            late = select(func.min(batches.c.seq)).where(
                mine, batches.c.seq > after.get(lane, 0), batches.c.at_ms >= cutoff_ms
            )
            first_late: int | None = self._connection.execute(late).scalar_one()
            seq = newest if first_late is None else first_late - 1
            if seq:
                link = select(batches.c.digest).where(mine, batches.c.seq == seq)
                heads.append(Head(lane, seq, bytes(self._connection.execute(link).scalar_one())))
        return tuple(heads)

    def balances(self, day: int) -> Iterator[DayBalance]:
        return _balances(self._connection, day)

    def moved(self, low: Mapping[int, int], high: Mapping[int, int] | None, *, from_id: int) -> list[DayBalance]:
        until = self._newest() if high is None else high
        final, pending = transfers.alias("final"), transfers.alias("pending")
        posted = (transfers.c.fact >= from_id, transfers.c.phase == Phase.POSTED, _among(transfers, low, until))
        opened = (transfers.c.fact >= from_id, transfers.c.phase == Phase.PENDING, _among(transfers, low, until))
        released = (
            _total(pending.c.debit, pending)
            .join_from(final, pending, pending.c.fact == final.c.fact - 1)
            .where(final.c.fact >= from_id, final.c.fact % 2 == 1, final.c.leg == 0, _among(final, low, until))
            .where(pending.c.phase == Phase.PENDING)
        )
        credits_ = (DayBalance(id_, sum_, 0, 0) for id_, sum_ in self._rows(_total(transfers.c.credit).where(*posted)))
        debits = (DayBalance(id_, 0, sum_, 0) for id_, sum_ in self._rows(_total(transfers.c.debit).where(*posted)))
        held = (DayBalance(id_, 0, 0, sum_) for id_, sum_ in self._rows(_total(transfers.c.debit).where(*opened)))
        freed = (DayBalance(id_, 0, 0, -sum_) for id_, sum_ in self._rows(released))
        return [*credits_, *debits, *held, *freed]

    def oldest_open(self, high: Mapping[int, int], *, from_id: int) -> int | None:
        final = transfers.alias("final")
        ended = exists().where(final.c.fact == transfers.c.fact + 1, final.c.leg == 0, _among(final, {}, high))
        opened = (transfers.c.fact >= from_id, transfers.c.phase == Phase.PENDING, _among(transfers, {}, high))
        oldest: int | None = self._connection.execute(
            select(func.min(transfers.c.fact)).where(*opened, ~ended)
        ).scalar_one()
        return oldest

    def current(self) -> Iterator[DayBalance]:
        columns = select(accounts.c.id, accounts.c.credits, accounts.c.debits, accounts.c.held).order_by(accounts.c.id)
        return (DayBalance(*row) for row in self._rows(columns))

    def _newest(self) -> dict[int, int]:
        return dict(map(tuple, self._rows(select(lanes.c.lane, lanes.c.seq))))

    def _rows(self, statement: Any) -> Iterator[Sequence[Any]]:
        return iter(self._connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE)))


def _put_balances(connection: Connection, *, row: DayRow, part: Sequence[DayBalance]) -> bool:
    """Write some balances of a day over what an earlier try has left of them; False when the day is closed."""
    if connection.execute(select(DAYS.c.day).where(DAYS.c.day == row.day)).first() is not None:
        return False
    connection.execute(_PUT_BALANCE, [{"day": row.day, **each._asdict()} for each in part])
    return True


def _add_day(connection: Connection, *, row: DayRow, parts: Sequence[Sequence[DayBalance]]) -> bool:
    # The day comes first: a rival that closes it too waits here, and then finds it.
    if connection.execute(_ADD_DAY, _day_values(row)).rowcount != 1:
        return False
    for part in parts:
        connection.execute(DAY_BALANCES.insert(), [{"day": row.day, **each._asdict()} for each in part])
    return True


def _total(account: ColumnElement[int], table: Any = transfers) -> Select[int, int]:
    return select(account, cast(func.sum(table.c.amount), BigInteger)).group_by(account)


def _among(table: Any, low: Mapping[int, int], high: Mapping[int, int]) -> ColumnElement[bool]:
    """Whether a row's link is above `low` and not above `high`, on whichever lane it was written."""
    return or_(
        false(),
        *(
            table.c.batch.between((lane << _LANE_SHIFT | low.get(lane, 0)) + 1, lane << _LANE_SHIFT | seq)
            for lane, seq in high.items()
            if seq > low.get(lane, 0)
        ),
    )


def _balances(connection: Connection, day: int, *conditions: ColumnElement[bool]) -> Iterator[DayBalance]:
    columns = (DAY_BALANCES.c.account, DAY_BALANCES.c.credits, DAY_BALANCES.c.debits, DAY_BALANCES.c.held)
    statement = select(*columns).where(DAY_BALANCES.c.day == day, *conditions).order_by(DAY_BALANCES.c.account)
    rows = connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE))
    return (DayBalance(*row) for row in rows)


def _day(connection: Connection, day: int | None) -> DayRow | None:
    wanted = select(DAYS).order_by(DAYS.c.day.desc()).limit(1) if day is None else select(DAYS).where(DAYS.c.day == day)
    row = connection.execute(wanted).one_or_none()
    return None if row is None else day_row(row, bytes(row.root))


def day_row(row: Any, root: bytes) -> DayRow:
    """Make a day of what has its columns as attributes."""
    return DayRow(
        day=row.day,
        at_ms=row.at_ms,
        heads=tuple(Head(lane, seq, bytes.fromhex(digest)) for lane, seq, digest in json.loads(row.heads)),
        root=root,
        leaves=row.leaves,
        liabilities=row.liabilities,
        oldest_open=row.oldest_open,
        findings=tuple(json.loads(row.findings)),
    )


def _day_values(row: DayRow) -> dict[str, Any]:
    heads = [[head.lane, head.seq, head.digest.hex()] for head in row.heads]
    return {
        "day": row.day,
        "at_ms": row.at_ms,
        "heads": json.dumps(heads, separators=(",", ":")),
        "root": row.root,
        "leaves": row.leaves,
        "liabilities": row.liabilities,
        "oldest_open": row.oldest_open,
        "ok": not row.findings,
        "findings": json.dumps(row.findings),
    }
