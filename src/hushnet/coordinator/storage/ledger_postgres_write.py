"""The one statement that writes a batch to Postgres: a data-modifying CTE for each kind of row that it has.

Columns travel as arrays and are unnested; arrays ascend by id, and the session's planner settings make each UPDATE a
nested loop over them, so rows are locked in that order. One statement text is kept for each shape of batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import TextClause, text

from hushnet.coordinator.ledger.store import Writes
from hushnet.coordinator.storage import ledger_rows as rows


@dataclass(frozen=True, slots=True)
class _Section:
    """One CTE: its statement around an unnest of the section's columns, and the columns' array types."""

    name: str
    statement: str
    types: tuple[str, ...]

    def render(self) -> str:
        arrays = ", ".join(f"CAST(:{self.name}{n} AS {type_}[])" for n, type_ in enumerate(self.types))
        return f"{self.name} AS ({self.statement.format(rows=f'unnest({arrays})')})"


_SECTIONS: Final = (
    _Section(
        "transfers",
        "INSERT INTO ledger_transfers SELECT * FROM {rows}",
        ("bigint", "smallint", "smallint", "smallint", "bigint", "bigint", "bigint", "bigint", "bigint"),
    ),
    _Section(
        "accounts",
        "UPDATE ledger_accounts a SET credits = a.credits + d.c, debits = a.debits + d.d, held = a.held + d.h,"
        " closed = coalesce(d.f, a.closed) FROM {rows} AS d (id, c, d, h, f) WHERE a.id = d.id RETURNING 1",
        (*("bigint",) * 4, "boolean"),
    ),
    _Section(
        "opened",
        "INSERT INTO ledger_holds (id, owner, promo, paid, earnings, amount, opened_ms, expires_ms, origin, caps)"
        " SELECT * FROM {rows}",
        (*("bigint",) * 9, "text"),
    ),
    _Section("holds", "DELETE FROM ledger_holds h USING {rows} AS d (id) WHERE h.id = d.id RETURNING 1", ("bigint",)),
    _Section(
        "usage",
        "INSERT INTO usage_records SELECT * FROM {rows}",
        (
            *("bigint",) * 4,
            "text",
            "smallint",
            *("integer",) * 3,
            *("bigint",) * 7,
            "text",
            "bigint",
            "smallint",
            "smallint",
        ),
    ),
    _Section(
        "facts",
        "INSERT INTO ledger_facts SELECT * FROM {rows}",
        ("bigint", "text", "bytea", "smallint", "bigint", "text", "text", "bigint"),
    ),
    _Section(
        "windows",
        "UPDATE ledger_cap_windows w SET spent = w.spent + d.s, held = w.held + d.h"
        " FROM {rows} AS d (cap, start_ms, s, h) WHERE w.cap = d.cap AND w.start_ms = d.start_ms RETURNING 1",
        ("bigint",) * 4,
    ),
)
_COUNTED: Final = ("accounts", "holds", "windows")
_LANES: Final = (
    "lanes AS (UPDATE ledger_lanes SET seq = :seq, head = :digest"
    " WHERE lane = :lane AND seq = :seq - 1 AND holder = :holder RETURNING lane),"
    " link AS (INSERT INTO ledger_batches SELECT lane, CAST(:seq AS bigint), CAST(:prev AS bytea),"
    " CAST(:digest AS bytea), CAST(:row_count AS integer), CAST(:at_ms AS bigint) FROM lanes)"
)


def write_statement(writes: Writes) -> TextClause:
    """Return the statement for the kinds of row that this batch has; its one row counts what was changed."""
    return _statement(tuple(name for name, values in _columns(writes) if values))


def write_parameters(writes: Writes) -> dict[str, Any]:
    """Return the batch's columns as arrays, and its link of the audit chain."""
    parameters: dict[str, Any] = writes.batch._asdict() | {"holder": str(writes.origin)}
    for name, values in _columns(writes):
        parameters |= {f"{name}{n}": column for n, column in enumerate(zip(*values, strict=True))}
    return parameters


def _columns(writes: Writes) -> list[tuple[str, Sequence[Sequence[Any]]]]:
    return [
        ("transfers", rows.transfer_values(writes)),
        ("accounts", writes.deltas),
        ("opened", [rows.hold_values(hold) for hold in writes.opened]),
        ("holds", [(hold.id,) for hold in writes.closed]),
        ("usage", [rows.usage_values(record) for record in writes.usage]),
        ("facts", writes.facts),
        ("windows", writes.windows),
    ]


@cache
def _statement(shape: tuple[str, ...]) -> TextClause:
    sections = [section.render() for section in _SECTIONS if section.name in shape]
    counts = [f"(SELECT count(*) FROM {name}) AS {name}" if name in shape else f"0 AS {name}" for name in _COUNTED]  # noqa: S608 - names of this module
    counts.append("(SELECT count(*) FROM lanes) AS lanes")
    return text(f"WITH {', '.join([*sections, _LANES])} SELECT {', '.join(counts)}")
