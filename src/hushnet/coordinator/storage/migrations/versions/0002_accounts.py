"""Accounts, API keys, and the providers that have registered."""

from __future__ import annotations

from alembic import op

revision = "0002_accounts"
down_revision = "0001_ledger"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE accounts (
      id bigint PRIMARY KEY CHECK (id >= 65536),
      name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
      created_ms bigint NOT NULL, closed_ms bigint
    )
    """,
    """
    CREATE TABLE api_keys (
      id bigint PRIMARY KEY CHECK (id > 0), account bigint NOT NULL REFERENCES accounts (id),
      scope text NOT NULL CHECK (scope IN ('user', 'provider', 'operator')),
      name text NOT NULL CHECK (length(name) <= 64),
      digest bytea NOT NULL CHECK (length(digest) = 32),
      created_ms bigint NOT NULL, revoked_ms bigint
    )
    """,
    """
    CREATE TABLE providers (
      id text PRIMARY KEY CHECK (length(id) = 64), account bigint NOT NULL REFERENCES accounts (id),
      agent_version text NOT NULL, trust smallint NOT NULL, evidence text NOT NULL DEFAULT '[]',
      first_ms bigint NOT NULL, last_ms bigint NOT NULL,
      suspended_ms bigint, reason text NOT NULL DEFAULT '' CHECK (length(reason) <= 200)
    )
    """,
)
_INDEXES = (
    "CREATE INDEX api_keys_account ON api_keys (account)",
    "CREATE INDEX providers_account ON providers (account)",
)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _TABLES:
        op.execute(_as_sqlite(table) if is_sqlite else table)
    for index in _INDEXES:
        op.execute(index)


def downgrade() -> None:
    for name in ("providers", "api_keys", "accounts"):
        op.execute(f"DROP TABLE {name}")


def _as_sqlite(table: str) -> str:
    for wide, narrow in (("bigint", "INTEGER"), ("smallint", "INTEGER"), ("bytea", "BLOB")):
        table = table.replace(wide, narrow)
    return table.rstrip() + " STRICT"
