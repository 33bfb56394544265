"""An owner's statement: opening balances, every movement of a period, closing balances, as lines of CSV that add up.

Each bucket has a column; opening + movements = closing in every one, and the closing balances are compared with the
books before they are told. Amounts are US dollars with all six decimals.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.ledger.model import Code
from hushnet.coordinator.ledger.reports.model import BUCKETS, Movement, Scope
from hushnet.coordinator.ledger.reports.store import ReportStore
from hushnet.foundation.errors import StorageError

HEADER: Final = ("time", "type", "reference", "detail", *(kind.name.lower() for kind in BUCKETS))
_FACTS_AT_ONCE: Final = 500
_MICROS: Final = 1_000_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class StatementMovedError(StorageError):
    """Something was posted into the period while its statement was being written."""

    code = "statement_moved"
    default_hint = "ask again"


async def statement_csv(store: ReportStore, scope: Scope) -> AsyncIterator[str]:
    """Yield a statement in pieces of whole lines; raises `StatementMovedError` in place of a closing balance that is off."""
    running = Counter[Kind](await store.balances_at(scope.owner, scope.from_ms))
    yield _lines([HEADER, _balance_line("opening balance", scope.from_ms, running)])
    after: int | None = 0
    while after is not None:
        page, after = await store.movements(scope, after=after, limit=_FACTS_AT_ONCE)
        for movement in page:
            for kind, change in movement.changes.items():
                running[kind] += change
        if page:
            yield _lines([_movement_line(movement) for movement in page])
    closing = await store.balances_at(scope.owner, scope.to_ms)
    if any(running[kind] != closing.get(kind, 0) for kind in BUCKETS):
        raise StatementMovedError("the statement's period was still being written")
    yield _lines([_balance_line("closing balance", scope.to_ms, running)])


def usd(amount: int) -> str:
    """Write micro-USD as dollars with six decimals."""
    dollars, micros = divmod(abs(amount), _MICROS)
    return f"{'-' if amount < 0 else ''}{dollars}.{micros:06d}"


def _movement_line(movement: Movement) -> Sequence[str]:
    amounts = (usd(movement.changes.get(kind, 0)) for kind in BUCKETS)
    texts = (_type_name(movement), movement.reference, movement.detail)
    return (_time(movement.at_ms), *map(_cell, texts), *amounts)


def _type_name(movement: Movement) -> str:
    if movement.code == Code.SETTLE:
        return "request served" if movement.changes.get(Kind.EARNINGS, 0) > 0 else "request"
    try:
        return Code(movement.code).name.lower().replace("_", " ")
    except ValueError:
        return f"code {movement.code}"


def _balance_line(name: str, at_ms: int, balances: Mapping[Kind, int]) -> Sequence[str]:
    return (_time(at_ms), name, "", "", *(usd(balances.get(kind, 0)) for kind in BUCKETS))


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(text: str) -> str:
    """Keep a spreadsheet from taking a name that somebody chose for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _lines(rows: Sequence[Sequence[str]]) -> str:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows(rows)
    return sink.getvalue()
