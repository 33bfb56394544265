"""What was taken out of the books: which transfers, where every account stood over them, and which file has them."""

from __future__ import annotations

from alembic import op

revision = "0005_archives"
down_revision = "0004_money"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE ledger_archives (
      before bigint PRIMARY KEY CHECK (before > 0), day bigint NOT NULL, row_count bigint NOT NULL CHECK (row_count > 0),
      sha256 text NOT NULL CHECK (length(sha256) = 64), at_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE ledger_archived_sums (
      account bigint PRIMARY KEY, credits bigint NOT NULL CHECK (credits >= 0),
      debits bigint NOT NULL CHECK (debits >= 0)
    )
    """,
)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _TABLES:
        op.execute(table.replace("bigint", "INTEGER").rstrip() + " STRICT" if is_sqlite else table)


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"DROP TABLE {table.split()[2]}")
