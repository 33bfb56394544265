"""What the database knows of archives, and the statements that take transfers out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, cast, func, select, text

from hushnet.coordinator.ledger.books.archived import Archived
from hushnet.coordinator.ledger.books.days import DAY_MS
from hushnet.coordinator.ledger.model import Phase
from hushnet.coordinator.storage.tables import transfers
from hushnet.foundation.errors import RequestError

_METADATA = MetaData()
ARCHIVES: Final = Table(
    "ledger_archives",
    _METADATA,
    Column("before", BigInteger, primary_key=True),
    Column("day", BigInteger),
    Column("row_count", BigInteger),
    Column("sha256", Text),
    Column("at_ms", BigInteger),
)
ARCHIVED_SUMS: Final = Table(
    "ledger_archived_sums",
    _METADATA,
    Column("account", BigInteger, primary_key=True),
    Column("credits", BigInteger),
    Column("debits", BigInteger),
)
_ADD_SUM: Final = text(
    "INSERT INTO ledger_archived_sums (account, credits, debits) VALUES (:account, :credits, :debits)"
    " ON CONFLICT (account) DO UPDATE SET credits = ledger_archived_sums.credits + excluded.credits,"
    " debits = ledger_archived_sums.debits + excluded.debits"
)
_SWITCH: Final = {
    "sqlite": "UPDATE ledger_switches SET value = {value} WHERE name = 'archiving'",
    "postgresql": "SELECT set_config('hush.archiving', '{word}', true)",
}


def archived_in(archives: Any, sums: Any) -> Archived:
    """Join the rows of both tables."""
    marks = list(archives)
    if not marks:
        return Archived()
    before, day = max(row[0] for row in marks), max(row[1] for row in marks)
    return Archived(before, sum(row[2] for row in marks), day, {row[0]: (row[1], row[2]) for row in sums})


def archived(connection: Connection) -> Archived:
    """Return what was taken out of these books."""
    return archived_in(connection.execute(select(ARCHIVES)), connection.execute(select(ARCHIVED_SUMS)))


def require_kept(connection: Connection, from_ms: int) -> None:
    """Raise `RequestError` `archived` when movements since `from_ms` are not all here."""
    day: int | None = connection.execute(select(func.max(ARCHIVES.c.day))).scalar_one()
    if day is not None and from_ms < (day + 1) * DAY_MS:
        raise RequestError(
            "what moved then is in the archive",
            code="archived",
            hint=f"ask from {(day + 1) * DAY_MS} ms on, or ask the operator",
        )


def sums_below(connection: Connection, before: int) -> Mapping[int, tuple[int, int]]:
    """Sum each account's credits and debits over the posted transfers of facts below an id."""
    old = (transfers.c.fact < before, transfers.c.phase == Phase.POSTED)
    sums: dict[int, tuple[int, int]] = {}
    for is_credit, column in ((True, transfers.c.credit), (False, transfers.c.debit)):
        total = select(column, cast(func.sum(transfers.c.amount), BigInteger)).where(*old).group_by(column)
        for account, amount in connection.execute(total):
            had = sums.get(account, (0, 0))
            sums[account] = (had[0] + amount, had[1]) if is_credit else (had[0], had[1] + amount)
    return sums


def take_out(connection: Connection, mark: Mapping[str, Any], sums: Mapping[int, tuple[int, int]]) -> int:
    """Delete the transfers below the mark's id, note mark and sums, and return how many were deleted."""
    switch = _SWITCH[connection.dialect.name]
    connection.execute(text(switch.format(value=1, word="on")))
    deleted = connection.execute(transfers.delete().where(transfers.c.fact < mark["before"])).rowcount
    connection.execute(text(switch.format(value=0, word="off")))
    connection.execute(ARCHIVES.insert(), dict(mark))
    rows = [{"account": account, "credits": sum_[0], "debits": sum_[1]} for account, sum_ in sorted(sums.items())]
    if rows:
        connection.execute(_ADD_SUM, rows)
    return deleted
