"""What each worker has seen of each provider: the record that its reputation is made of."""

from __future__ import annotations

from alembic import op

revision = "0003_provider_records"
down_revision = "0002_accounts"
branch_labels = None
depends_on = None

_TABLE = """
    CREATE TABLE provider_records (
      provider text NOT NULL CHECK (length(provider) = 64), worker smallint NOT NULL CHECK (worker >= 0),
      at_ms bigint NOT NULL, document text NOT NULL CHECK (length(document) <= 65536),
      PRIMARY KEY (provider, worker)
    )
"""
_INDEX = "CREATE INDEX provider_records_at ON provider_records (at_ms)"


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(_as_sqlite(_TABLE) if is_sqlite else _TABLE)
    op.execute(_INDEX)


def downgrade() -> None:
    op.execute("DROP TABLE provider_records")


def _as_sqlite(table: str) -> str:
    for wide, narrow in (("bigint", "INTEGER"), ("smallint", "INTEGER")):
        table = table.replace(wide, narrow)
    return table.rstrip() + " STRICT"
