"""Rows of any money table from the dataclass that describes them: its fields are the columns, nothing is said twice.

Constraints live in the revisions under `migrations/versions`; a test holds the two together.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import IntEnum
from functools import cache
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    delete,
    select,
    update,
)

from hushnet.coordinator.ledger.transaction import Row
from hushnet.foundation.errors import StorageError

R = TypeVar("R", bound=Row)

_TYPES: Final = {int: BigInteger, str: Text, bytes: LargeBinary, bool: Boolean}


class Shape(Generic[R]):
    """One row type: its table, and how a row of the database becomes one."""

    def __init__(self, row_type: type[R]) -> None:
        self.row_type = row_type
        hints = typing.get_type_hints(row_type)
        self._plain = {field.name: _plain(hints[field.name]) for field in fields(typing.cast(Any, row_type))}
        columns = [Column(name, _column_type(plain), key=name) for name, plain in self._plain.items()]
        self.table = Table(row_type.TABLE, MetaData(), *columns)
        self._read: list[Callable[[Any], Any]] = [_reader(plain) for plain in self._plain.values()]

    def row(self, values: Sequence[Any]) -> R:
        """Make a row from the table's columns."""
        given = (None if value is None else read(value) for read, value in zip(self._read, values, strict=True))
        return self.row_type(**dict(zip(self._plain, given, strict=True)))

    def values(self, row: R) -> dict[str, Any]:
        """Return a row's columns."""
        return {name: getattr(row, name) for name in self._plain}

    def with_key(self, key: Sequence[int | str]) -> list[ColumnElement[bool]]:
        """Return the condition that names one row."""
        return [self.table.c[name] == value for name, value in zip(self.row_type.KEY, key, strict=True)]


@cache
def shape_of(row_type: type[R]) -> Shape[R]:
    """Return the shape of a row type, made once."""
    return Shape(row_type)


class SqlRows(Generic[R]):
    """`ledger.transaction.Rows` on a connection; `is_locking` in a transaction."""

    def __init__(self, connection: Connection, row_type: type[R], *, is_locking: bool) -> None:
        self._connection = connection
        self._shape = shape_of(row_type)
        self._is_locking = is_locking

    def get(self, *key: int | str) -> R | None:
        shape = self._shape
        statement = select(shape.table).where(*shape.with_key(key))
        if self._is_locking:
            statement = statement.with_for_update()
        row = self._connection.execute(statement).one_or_none()
        return None if row is None else shape.row(row)

    def add(self, row: R) -> bool:
        return add_new(self._connection, self._shape.table, self._shape.values(row))

    def save(self, row: R) -> None:
        shape = self._shape
        values = shape.values(row)
        key = [values.pop(name) for name in shape.row_type.KEY]
        changed = self._connection.execute(update(shape.table).where(*shape.with_key(key)).values(values))
        if changed.rowcount != 1:
            raise StorageError(f"{shape.row_type.TABLE} has no such row")

    def remove(self, *key: int | str) -> bool:
        shape = self._shape
        return self._connection.execute(delete(shape.table).where(*shape.with_key(key))).rowcount == 1

    def find(
        self,
        *,
        limit: int = 100,
        order_by: str = "",
        descending: bool = False,
        at_most: tuple[str, int] | None = None,
        below: tuple[str, int] | None = None,
        **equal: Any,
    ) -> list[R]:
        shape = self._shape
        columns = shape.table.c
        order = [columns[name] for name in ([order_by] if order_by else shape.row_type.KEY)]
        statement = select(shape.table).order_by(*(column.desc() if descending else column for column in order))
        for name, value in equal.items():
            among = isinstance(value, list | tuple | frozenset | set)
            statement = statement.where(columns[name].in_(list(value)) if among else columns[name] == value)
        if at_most is not None:
            statement = statement.where(columns[at_most[0]] <= at_most[1])
        if below is not None:
            statement = statement.where(columns[below[0]] < below[1])
        return [shape.row(row) for row in self._connection.execute(statement.limit(limit))]


def add_new(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless its key is taken; return whether it is new. SQLAlchemy's other dialect is never imported."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        added = connection.execute(sqlite.insert(table).values(values).on_conflict_do_nothing())
    else:
        from sqlalchemy.dialects import postgresql

        added = connection.execute(postgresql.insert(table).values(values).on_conflict_do_nothing())
    return added.rowcount == 1


def _plain(hint: Any) -> Any:
    """Return what a column holds when it holds anything: `X` of `X | None`, `int` of a NewType of it."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (choice for choice in typing.get_args(hint) if choice is not type(None))
    return getattr(hint, "__supertype__", hint)


def _column_type(plain: Any) -> Any:
    return SmallInteger if issubclass(plain, IntEnum) else _TYPES[plain]


def _reader(plain: Any) -> Callable[[Any], Any]:
    return plain if issubclass(plain, IntEnum | bytes | bool) else _same


def _same(value: Any) -> Any:
    return value
