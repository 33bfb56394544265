"""Row types and the schema say the same: columns, their kinds, what may be missing, and the key."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect

from hushnet import coordinator
from hushnet.coordinator.storage import Database
from support.ledger import database_url

PACKAGES = ("payments", "budgets", "incentives")


def row_types() -> Iterator[Any]:
    for package in PACKAGES:
        name = f"{coordinator.__name__}.{package}"
        if importlib.util.find_spec(name) is None:
            continue
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            for found in vars(importlib.import_module(module.name)).values():
                is_own = isinstance(found, type) and found.__module__ == module.name
                if is_own and dataclasses.is_dataclass(found) and hasattr(found, "TABLE"):
                    yield found


def is_look(row_type: Any) -> bool:
    """Whether a type is for looking only, at some of another's columns."""
    return getattr(row_type, "IS_LOOK", False)


def optional(hint: object) -> bool:
    return isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_row_types_have_the_columns_of_their_tables(kind: str, tmp_path: Path) -> None:
    found = list(row_types())
    written = [(row_type.__module__, row_type.TABLE) for row_type in found if not is_look(row_type)]
    assert len(set(written)) == len(written) >= 4

    def compare(connection: Connection) -> None:
        schema = inspect(connection)
        for row_type in found:
            hints = typing.get_type_hints(row_type)
            columns = {column["name"]: column for column in schema.get_columns(row_type.TABLE)}
            fields = [field.name for field in dataclasses.fields(row_type)]
            columns = {name: column for name, column in columns.items() if name in fields or not is_look(row_type)}
            if row_type.TABLE.startswith(
                ("ledger_", "usage_")
            ):  # what another domain looks at of the ledger's own rows
                columns = {name: column for name, column in columns.items() if name in fields}
            assert set(columns) == set(fields), row_type.TABLE
            keys = [schema.get_pk_constraint(row_type.TABLE)["constrained_columns"]]
            keys += [unique["column_names"] for unique in schema.get_unique_constraints(row_type.TABLE)]
            assert row_type.KEY in map(tuple, keys), row_type.TABLE
            for name, column in columns.items():
                if name not in row_type.KEY and name not in keys[0]:
                    assert column["nullable"] == optional(hints[name]), f"{row_type.TABLE}.{name}"

    with database_url(kind, tmp_path) as url:
        database = await Database.open(url)
        try:
            await database.read(compare)
        finally:
            await database.aclose()
