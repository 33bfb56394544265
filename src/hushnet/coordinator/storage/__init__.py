"""Databases: SQLite embedded, Postgres shared; one set of statements, one line of migrations.

Nouns: a *database* runs work in transactions; a *store* keeps one domain's rows; a *revision* changes the schema.
Place on the map: beside `api`, above the domains whose store protocols it implements; only `app` joins the two.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hushnet.coordinator.storage.database import Database

if TYPE_CHECKING:
    from hushnet.coordinator.ledger.faults import FaultHook
    from hushnet.coordinator.ledger.store import LedgerStore

__all__ = ["Database", "open_ledger_store"]


def open_ledger_store(database: Database, *, reach: FaultHook | None = None) -> LedgerStore:
    """Return the ledger's store in `database`; `reach` is the fault hook, `HUSH_FAULT` by default."""
    from hushnet.coordinator.ledger.faults import faults_from

    hook = reach or faults_from(os.environ)
    if database.dialect == "sqlite":
        from hushnet.coordinator.storage.database_sqlite import SqliteDatabase
        from hushnet.coordinator.storage.ledger_sqlite import SqliteLedgerStore

        assert isinstance(database, SqliteDatabase)
        return SqliteLedgerStore(database, hook)
    from hushnet.coordinator.storage.database_postgres import PostgresDatabase
    from hushnet.coordinator.storage.ledger_postgres import PostgresLedgerStore

    assert isinstance(database, PostgresDatabase)
    return PostgresLedgerStore(database, hook)
