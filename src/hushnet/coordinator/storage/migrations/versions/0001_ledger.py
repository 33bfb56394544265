"""The ledger: accounts, transfers, holds, facts, caps, lanes, the audit chain, usage, prices and closed days.

The text is Postgres's; SQLite gets the same text after the rewrites of `_as_sqlite`.
"""

from __future__ import annotations

import re

from alembic import op

revision = "0001_ledger"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE ledger_accounts (
      id bigint PRIMARY KEY, owner bigint NOT NULL, kind smallint NOT NULL, asset text NOT NULL,
      lane smallint NOT NULL DEFAULT 0, floor smallint NOT NULL CHECK (floor IN (-1, 0, 1)),
      closed boolean NOT NULL DEFAULT false,
      credits bigint NOT NULL DEFAULT 0 CHECK (credits BETWEEN 0 AND 4611686018427387904),
      debits bigint NOT NULL DEFAULT 0 CHECK (debits BETWEEN 0 AND 4611686018427387904),
      held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
      UNIQUE (owner, kind, asset, lane),
      CHECK (floor <> 1 OR credits - debits - held >= 0),
      CHECK (floor <> -1 OR credits - debits <= 0),
      CHECK (floor = 1 OR held = 0)
    ) WITH (fillfactor = 60)
    """,
    """
    CREATE TABLE ledger_transfers (
      fact bigint NOT NULL, leg smallint NOT NULL CHECK (leg >= 0),
      phase smallint NOT NULL CHECK (phase IN (0, 1, 2, 3)), code smallint NOT NULL,
      debit bigint NOT NULL, credit bigint, amount bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000000),
      at_ms bigint NOT NULL, batch bigint NOT NULL,
      PRIMARY KEY (fact, leg),
      CHECK ((phase = 0) = (credit IS NOT NULL)),
      CHECK (credit IS NULL OR credit <> debit),
      CHECK (phase IN (0, 1) OR leg = 0)
    ) PARTITION BY RANGE (fact)
    """,
    """
    CREATE TABLE ledger_holds (
      id bigint PRIMARY KEY CHECK (id % 2 = 0), owner bigint NOT NULL,
      promo bigint NOT NULL CHECK (promo >= 0), paid bigint NOT NULL CHECK (paid >= 0),
      earnings bigint NOT NULL CHECK (earnings >= 0),
      amount bigint NOT NULL CHECK (amount > 0 AND amount = promo + paid + earnings),
      opened_ms bigint NOT NULL, expires_ms bigint NOT NULL CHECK (expires_ms > opened_ms),
      origin bigint NOT NULL, caps text, draft text
    ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)
    """,
    """
    CREATE TABLE ledger_facts (
      id bigint PRIMARY KEY CHECK (id % 2 = 0),
      key text NOT NULL UNIQUE CHECK (length(key) BETWEEN 3 AND 200),
      digest bytea NOT NULL CHECK (length(digest) = 32),
      code smallint NOT NULL, owner bigint NOT NULL, actor text NOT NULL, note text NOT NULL DEFAULT '',
      at_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE ledger_caps (
      id bigint PRIMARY KEY, scope smallint NOT NULL, subject bigint NOT NULL, period smallint NOT NULL,
      ceiling bigint NOT NULL CHECK (ceiling >= 0), UNIQUE (scope, subject, period)
    )
    """,
    """
    CREATE TABLE ledger_cap_windows (
      cap bigint NOT NULL, start_ms bigint NOT NULL, spent bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
      held bigint NOT NULL DEFAULT 0 CHECK (held >= 0), PRIMARY KEY (cap, start_ms)
    ) WITH (fillfactor = 60)
    """,
    """
    CREATE TABLE ledger_lanes (
      lane smallint PRIMARY KEY, holder text NOT NULL DEFAULT '', lease_ms bigint NOT NULL DEFAULT 0,
      seq bigint NOT NULL DEFAULT 0, head bytea NOT NULL
    ) WITH (fillfactor = 20)
    """,
    """
    CREATE TABLE ledger_batches (
      lane smallint NOT NULL, seq bigint NOT NULL, prev bytea NOT NULL, digest bytea NOT NULL,
      row_count integer NOT NULL, at_ms bigint NOT NULL, PRIMARY KEY (lane, seq)
    )
    """,
    """
    CREATE TABLE usage_records (
      id bigint PRIMARY KEY, owner bigint NOT NULL, api_key bigint NOT NULL, provider bigint NOT NULL,
      model text NOT NULL, outcome smallint NOT NULL,
      tokens_in integer NOT NULL CHECK (tokens_in >= 0),
      tokens_cached integer NOT NULL CHECK (tokens_cached BETWEEN 0 AND tokens_in),
      tokens_out integer NOT NULL CHECK (tokens_out >= 0),
      held bigint NOT NULL, cost bigint NOT NULL CHECK (cost BETWEEN 0 AND held),
      to_provider bigint NOT NULL CHECK (to_provider >= 0), to_platform bigint NOT NULL CHECK (to_platform >= 0),
      to_referrer bigint NOT NULL CHECK (to_referrer >= 0), at_ms bigint NOT NULL, referrer bigint,
      machine text NOT NULL DEFAULT '', price bigint NOT NULL DEFAULT 0, tier smallint NOT NULL DEFAULT 0,
      mode smallint NOT NULL DEFAULT 0,
      CHECK (to_provider + to_platform + to_referrer = cost)
    )
    """,
    """
    CREATE TABLE prices (
      id bigint PRIMARY KEY, model text NOT NULL, input bigint NOT NULL, cached bigint NOT NULL,
      output bigint NOT NULL, minimum bigint NOT NULL, from_ms bigint NOT NULL,
      CHECK (cached <= input), UNIQUE (model, from_ms)
    )
    """,
    """
    CREATE TABLE discounts (
      owner bigint NOT NULL, model text NOT NULL, bps integer NOT NULL CHECK (bps BETWEEN 0 AND 10000),
      from_ms bigint NOT NULL, PRIMARY KEY (owner, model, from_ms)
    )
    """,
    """
    CREATE TABLE invites (
      id bigint PRIMARY KEY, code_hash bytea NOT NULL UNIQUE, amount bigint NOT NULL CHECK (amount > 0),
      uses_max integer NOT NULL, uses integer NOT NULL DEFAULT 0, expires_ms bigint NOT NULL,
      CHECK (uses BETWEEN 0 AND uses_max)
    )
    """,
    """
    CREATE TABLE ledger_days (
      day integer PRIMARY KEY, at_ms bigint NOT NULL, heads text NOT NULL,
      root bytea NOT NULL CHECK (length(root) = 32), leaves integer NOT NULL, liabilities bigint NOT NULL,
      oldest_open bigint, ok boolean NOT NULL, findings text NOT NULL DEFAULT '[]'
    )
    """,
    """
    CREATE TABLE ledger_day_balances (
      day integer NOT NULL, account bigint NOT NULL, credits bigint NOT NULL, debits bigint NOT NULL,
      held bigint NOT NULL, PRIMARY KEY (day, account)
    )
    """,
)

_INDEXES = (
    "CREATE INDEX ledger_facts_owner ON ledger_facts (owner, id)",
    "CREATE INDEX usage_owner ON usage_records (owner, id)",
    "CREATE INDEX usage_provider ON usage_records (provider, id)",
)

_IMMUTABLE = ("ledger_transfers", "ledger_facts", "ledger_batches")
_WITHOUT_ROWID = ("ledger_transfers", "ledger_cap_windows", "ledger_batches", "ledger_day_balances")

_POSTGRES_EXTRAS = (
    "CREATE TABLE ledger_transfers_p0 PARTITION OF ledger_transfers DEFAULT",
    """
    CREATE FUNCTION ledger_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' AND current_setting('hush.archiving', true) = 'on' THEN RETURN OLD; END IF;
      RAISE EXCEPTION 'ledger rows are immutable (%.%)', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _TABLES:
        op.execute(_as_sqlite(table) if is_sqlite else table)
    for index in _INDEXES:
        op.execute(index)
    for statement in _sqlite_extras() if is_sqlite else _postgres_extras():
        op.execute(statement)


def _as_sqlite(table: str) -> str:
    """Rewrite types to STRICT ones and drop what only Postgres has."""
    name = table.split()[2]
    text = re.sub(r"\b(bigint|smallint|integer|boolean)\b", "INTEGER", table)
    text = re.sub(r"\bbytea\b", "BLOB", text).replace("DEFAULT false", "DEFAULT 0")
    text = re.sub(r"\)\s*(WITH|PARTITION)\b[^)]*\)\s*$", ")", text)
    return text.rstrip() + (" STRICT, WITHOUT ROWID" if name in _WITHOUT_ROWID else " STRICT")


def _sqlite_extras() -> list[str]:
    statements = [
        "CREATE TABLE ledger_switches (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
        "INSERT INTO ledger_switches VALUES ('archiving', 0)",
    ]
    for table in _IMMUTABLE:
        refusal = "BEGIN SELECT RAISE(ABORT, 'ledger rows are immutable'); END"
        archived = (
            "" if table == "ledger_facts" else "WHEN (SELECT value FROM ledger_switches WHERE name = 'archiving') = 0 "
        )
        statements.append(f"CREATE TRIGGER {table}_unchanged BEFORE UPDATE ON {table} {refusal}")
        statements.append(f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} {archived}{refusal}")
    return statements


def _postgres_extras() -> list[str]:
    statements = list(_POSTGRES_EXTRAS)
    for table in _IMMUTABLE:
        refusal = "EXECUTE FUNCTION ledger_immutable()"
        statements.append(f"CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {refusal}")
        statements.append(f"CREATE TRIGGER untruncated BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refusal}")
    return statements
