"""Money in and out: webhooks received, calls out, deposits, coin invoices, payouts, x402 payments, findings.

The text is Postgres's; SQLite gets the same text with STRICT types.
"""

from __future__ import annotations

import re

from alembic import op

revision = "0004_money"
down_revision = "0003_provider_records"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE payment_inbox (
      source text NOT NULL, event text NOT NULL CHECK (length(event) BETWEEN 1 AND 128),
      kind text NOT NULL, subject text NOT NULL, body bytea NOT NULL CHECK (length(body) <= 262144),
      state smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 5), attempts integer NOT NULL DEFAULT 0,
      next_ms bigint NOT NULL, received_ms bigint NOT NULL, error text NOT NULL DEFAULT '',
      PRIMARY KEY (source, event)
    )
    """,
    """
    CREATE TABLE payment_calls (
      id bigint PRIMARY KEY, rail text NOT NULL, action text NOT NULL, subject bigint NOT NULL,
      attempt smallint NOT NULL DEFAULT 1, idem_key text NOT NULL UNIQUE, request text NOT NULL,
      state smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 5), tries integer NOT NULL DEFAULT 0,
      first_ms bigint, next_ms bigint NOT NULL, lease_ms bigint NOT NULL DEFAULT 0,
      outcome text NOT NULL DEFAULT '', UNIQUE (rail, action, subject, attempt)
    )
    """,
    """
    CREATE TABLE deposits (
      id bigint PRIMARY KEY, owner bigint NOT NULL,
      cents bigint NOT NULL CHECK (cents BETWEEN 50 AND 100000000),
      currency text NOT NULL CHECK (currency = 'usd'), origin smallint NOT NULL CHECK (origin IN (1,2)),
      state smallint NOT NULL CHECK (state BETWEEN 0 AND 6), checkout text UNIQUE, intent text UNIQUE,
      refunded bigint NOT NULL DEFAULT 0 CHECK (refunded >= 0),
      disputed bigint NOT NULL DEFAULT 0 CHECK (disputed >= 0), created_ms bigint NOT NULL,
      updated_ms bigint NOT NULL, client_key text, digest text NOT NULL DEFAULT '',
      url text NOT NULL DEFAULT '', reason text NOT NULL DEFAULT '',
      CHECK (refunded <= cents * 10000), UNIQUE (owner, client_key)
    )
    """,
    """
    CREATE TABLE reversals (
      id bigint PRIMARY KEY, object text UNIQUE, deposit bigint NOT NULL REFERENCES deposits(id),
      kind smallint NOT NULL CHECK (kind IN (1,2)), amount bigint NOT NULL CHECK (amount > 0),
      state smallint NOT NULL CHECK (state BETWEEN 0 AND 4),
      from_paid bigint NOT NULL CHECK (from_paid >= 0),
      from_earnings bigint NOT NULL CHECK (from_earnings >= 0),
      from_owed bigint NOT NULL CHECK (from_owed >= 0),
      client_key text UNIQUE, created_ms bigint NOT NULL, updated_ms bigint NOT NULL,
      CHECK (from_paid + from_earnings + from_owed = amount)
    )
    """,
    """
    CREATE TABLE stripe_customers (
      owner bigint PRIMARY KEY, customer text, method text, method_ms bigint NOT NULL DEFAULT 0,
      topup_on boolean NOT NULL DEFAULT false, topup_below bigint NOT NULL DEFAULT 0 CHECK (topup_below >= 0),
      topup_cents bigint NOT NULL DEFAULT 0 CHECK (topup_cents >= 0),
      topup_daily_cents bigint NOT NULL DEFAULT 0 CHECK (topup_daily_cents >= 0),
      topup_halt text NOT NULL DEFAULT '', updated_ms bigint NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE coin_invoices (
      id bigint PRIMARY KEY, owner bigint NOT NULL, usd bigint NOT NULL CHECK (usd > 0),
      asset text NOT NULL, network text NOT NULL, units_due bigint NOT NULL DEFAULT 0 CHECK (units_due >= 0),
      rate bigint NOT NULL DEFAULT 0 CHECK (rate >= 0), gateway text NOT NULL, gateway_id text,
      address text NOT NULL DEFAULT '', tag bigint, url text NOT NULL DEFAULT '',
      state smallint NOT NULL CHECK (state BETWEEN 0 AND 8),
      units_in bigint NOT NULL DEFAULT 0 CHECK (units_in >= 0),
      seen_prompt bigint NOT NULL DEFAULT 0 CHECK (seen_prompt >= 0),
      seen_late bigint NOT NULL DEFAULT 0 CHECK (seen_late >= seen_prompt),
      late_rate bigint NOT NULL DEFAULT 0 CHECK (late_rate >= 0),
      credited bigint NOT NULL DEFAULT 0 CHECK (credited >= 0),
      suspended bigint NOT NULL DEFAULT 0 CHECK (suspended >= 0), raw text NOT NULL DEFAULT '',
      expires_ms bigint NOT NULL, as_of_ms bigint NOT NULL DEFAULT 0, created_ms bigint NOT NULL,
      UNIQUE (gateway, gateway_id), CHECK (state IN (0,8) OR (units_due > 0 AND rate > 0))
    )
    """,
    """
    CREATE TABLE coin_strays (
      gateway text NOT NULL, payment text NOT NULL, asset text NOT NULL, network text NOT NULL,
      units bigint NOT NULL CHECK (units > 0), usd bigint NOT NULL CHECK (usd >= 0), at_ms bigint NOT NULL,
      PRIMARY KEY (gateway, payment)
    )
    """,
    """
    CREATE TABLE coin_settlement_days (
      day bigint PRIMARY KEY, usd bigint NOT NULL CHECK (usd >= 0)
    )
    """,
    """
    CREATE TABLE payout_methods (
      id bigint PRIMARY KEY, owner bigint NOT NULL, rail text NOT NULL, asset text NOT NULL,
      network text NOT NULL, address text NOT NULL, tag bigint, is_default boolean NOT NULL DEFAULT false,
      usable_ms bigint NOT NULL, removed_ms bigint, created_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE payouts (
      id bigint PRIMARY KEY, owner bigint NOT NULL, method bigint NOT NULL REFERENCES payout_methods(id),
      rail text NOT NULL CHECK (rail IN ('stripe','coin')), instant boolean NOT NULL DEFAULT false,
      gross bigint NOT NULL CHECK (gross > 0), fee bigint NOT NULL CHECK (fee >= 0),
      net bigint NOT NULL CHECK (net > 0 AND net % 10000 = 0),
      state smallint NOT NULL CHECK (state BETWEEN 0 AND 8), transfer text UNIQUE, payout text UNIQUE, reversal text UNIQUE,
      asset text, network text, units bigint, rate bigint, gateway text, txid text,
      is_reversed boolean NOT NULL DEFAULT false, reason text NOT NULL DEFAULT '',
      client text NOT NULL CHECK (length(client) BETWEEN 1 AND 64), wish text NOT NULL,
      created_ms bigint NOT NULL, updated_ms bigint NOT NULL, UNIQUE (owner, client), CHECK (gross = fee + net)
    )
    """,
    """
    CREATE TABLE payout_plans (
      owner bigint PRIMARY KEY, period smallint NOT NULL CHECK (period IN (1,2)),
      threshold bigint NOT NULL CHECK (threshold > 0), method bigint REFERENCES payout_methods(id),
      next_ms bigint NOT NULL, reason text NOT NULL DEFAULT '', created_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE connect_accounts (
      owner bigint PRIMARY KEY, account text UNIQUE, state smallint NOT NULL CHECK (state BETWEEN 0 AND 4),
      payouts_enabled boolean NOT NULL, created_ms bigint NOT NULL, updated_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE x402_payments (
      network text NOT NULL, asset text NOT NULL, payer text NOT NULL, nonce text NOT NULL,
      scheme text NOT NULL CHECK (scheme IN ('exact','upto')), version smallint NOT NULL CHECK (version IN (1,2)),
      signed bytea NOT NULL CHECK (length(signed) <= 8192), amount bigint NOT NULL CHECK (amount > 0),
      owner bigint NOT NULL, request bigint NOT NULL, digest bytea NOT NULL CHECK (length(digest) = 32),
      state smallint NOT NULL CHECK (state BETWEEN 0 AND 5), valid_before_s bigint NOT NULL,
      settled bigint NOT NULL DEFAULT 0 CHECK (settled BETWEEN 0 AND amount),
      txid text NOT NULL DEFAULT '', reason text NOT NULL DEFAULT '', tries integer NOT NULL DEFAULT 0,
      next_ms bigint NOT NULL, lease_ms bigint NOT NULL, created_ms bigint NOT NULL,
      PRIMARY KEY (network, asset, payer, nonce)
    )
    """,
    """
    CREATE TABLE x402_wallets (
      payer text PRIMARY KEY CHECK (length(payer) = 42), owner bigint NOT NULL UNIQUE CHECK (owner >= 562949953421312),
      unsettled integer NOT NULL DEFAULT 0 CHECK (unsettled >= 0), barred_ms bigint, created_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE money_findings (
      id bigint PRIMARY KEY, kind text NOT NULL, subject text NOT NULL,
      detail text NOT NULL DEFAULT '' CHECK (length(detail) <= 500), at_ms bigint NOT NULL,
      resolved_ms bigint
    )
    """,
    """
    CREATE TABLE request_keys (
      owner bigint NOT NULL, key bytea NOT NULL CHECK (length(key) = 32),
      body bytea NOT NULL CHECK (length(body) = 32), request bigint NOT NULL, at_ms bigint NOT NULL,
      PRIMARY KEY (owner, key)
    )
    """,
    """
    CREATE TABLE money_cursors (
      name text PRIMARY KEY, value text NOT NULL, at_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE promo_grants (
      id bigint PRIMARY KEY, grant_key text NOT NULL UNIQUE, owner bigint NOT NULL,
      amount bigint NOT NULL CHECK (amount > 0), expires_ms bigint, expired bigint, at_ms bigint NOT NULL,
      CHECK (expired IS NULL OR expired BETWEEN 0 AND amount)
    )
    """,
    """
    CREATE TABLE invite_redemptions (
      owner bigint PRIMARY KEY, invite bigint NOT NULL REFERENCES invites(id),
      amount bigint NOT NULL CHECK (amount > 0), at_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE referral_codes (owner bigint PRIMARY KEY, code text NOT NULL UNIQUE, at_ms bigint NOT NULL)
    """,
    """
    CREATE TABLE referrals (
      owner bigint PRIMARY KEY, referrer bigint NOT NULL CHECK (referrer <> owner), at_ms bigint NOT NULL
    )
    """,
    """
    CREATE TABLE reward_dues (
      machine text NOT NULL, epoch bigint NOT NULL, owner bigint NOT NULL,
      amount bigint NOT NULL CHECK (amount > 0), PRIMARY KEY (machine, epoch)
    )
    """,
    """
    CREATE TABLE service_credits (
      request bigint NOT NULL, nth smallint NOT NULL, owner bigint NOT NULL,
      promo bigint NOT NULL CHECK (promo >= 0), paid bigint NOT NULL CHECK (paid >= 0),
      earnings bigint NOT NULL CHECK (earnings >= 0), clawback bigint NOT NULL CHECK (clawback >= 0),
      is_provider_at_fault boolean NOT NULL, reason text NOT NULL, actor text NOT NULL, at_ms bigint NOT NULL,
      PRIMARY KEY (request, nth), CHECK (promo + paid + earnings > 0)
    )
    """,
    """
    CREATE TABLE adjustments (
      id text PRIMARY KEY, owner bigint NOT NULL, bucket smallint NOT NULL CHECK (bucket IN (1,2,3)),
      amount bigint NOT NULL CHECK (amount <> 0), source smallint NOT NULL CHECK (source IN (21,31)),
      reason text NOT NULL, actor text NOT NULL, approver text NOT NULL DEFAULT '', state smallint NOT NULL CHECK (state IN (0,1,2)),
      at_ms bigint NOT NULL, decided_ms bigint
    )
    """,
)
_INDEXES = (
    "CREATE INDEX payment_inbox_due ON payment_inbox (next_ms) WHERE state IN (0,3)",
    "CREATE INDEX payment_inbox_old ON payment_inbox (received_ms) WHERE state IN (1,2)",
    "CREATE INDEX payment_calls_old ON payment_calls (next_ms) WHERE state IN (2,3)",
    "CREATE INDEX payment_calls_due ON payment_calls (next_ms) WHERE state IN (0,1,4)",
    "CREATE INDEX deposits_owner ON deposits (owner, id)",
    "CREATE UNIQUE INDEX deposits_one_topup ON deposits (owner) WHERE origin = 2 AND state IN (0,1,2)",
    "CREATE INDEX deposits_unfinished ON deposits (id) WHERE state IN (0,1,2)",
    "CREATE INDEX reversals_deposit ON reversals (deposit)",
    "CREATE INDEX stripe_customers_topup ON stripe_customers (owner) WHERE topup_on",
    "CREATE INDEX coin_invoices_owner ON coin_invoices (owner, id)",
    "CREATE UNIQUE INDEX coin_invoices_one ON coin_invoices (owner, asset, network, usd) WHERE state IN (0,1)",
    "CREATE INDEX coin_invoices_open ON coin_invoices (expires_ms) WHERE state IN (1,2)",
    "CREATE UNIQUE INDEX payout_methods_one "
    "ON payout_methods (owner, rail, asset, network, address) WHERE removed_ms IS NULL",
    "CREATE UNIQUE INDEX payout_methods_default ON payout_methods (owner) WHERE is_default AND removed_ms IS NULL",
    "CREATE INDEX payout_plans_due ON payout_plans (next_ms)",
    "CREATE INDEX payouts_owner ON payouts (owner, id)",
    "CREATE INDEX payouts_open ON payouts (state, created_ms) WHERE state IN (0,1,2,3,5,8)",
    "CREATE UNIQUE INDEX payouts_one_open ON payouts (owner) WHERE state IN (0,1,2,3)",
    "CREATE INDEX x402_payments_due ON x402_payments (next_ms) WHERE state IN (0,1,3)",
    "CREATE INDEX x402_payments_over ON x402_payments (created_ms) WHERE state IN (3,4)",
    "CREATE INDEX x402_payments_owner ON x402_payments (owner)",
    "CREATE INDEX money_findings_open ON money_findings (id) WHERE resolved_ms IS NULL",
    "CREATE INDEX request_keys_old ON request_keys (at_ms)",
    "CREATE INDEX payment_calls_subject ON payment_calls (rail, subject)",
    "CREATE INDEX promo_grants_owner ON promo_grants (owner, id)",
    "CREATE INDEX promo_grants_due ON promo_grants (expires_ms) WHERE expired IS NULL AND expires_ms IS NOT NULL",
    "CREATE INDEX referrals_referrer ON referrals (referrer)",
    "CREATE INDEX adjustments_at ON adjustments (at_ms)",
    "CREATE INDEX usage_referred ON usage_records (at_ms) WHERE referrer IS NOT NULL",
)
_COLUMNS = (
    "ALTER TABLE invites ADD COLUMN credit_ms bigint NOT NULL DEFAULT 0",
    "ALTER TABLE invites ADD COLUMN note text NOT NULL DEFAULT ''",
    "ALTER TABLE invites ADD COLUMN created_ms bigint NOT NULL DEFAULT 0",
)
_WITHOUT_ROWID = ("payment_inbox", "request_keys", "x402_payments")


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _TABLES:
        op.execute(_as_sqlite(table) if is_sqlite else table)
    for column in _COLUMNS:
        op.execute(column.replace("bigint", "INTEGER") if is_sqlite else column)
    for index in _INDEXES:
        op.execute(index)


def downgrade() -> None:
    op.execute("DROP INDEX usage_referred")
    for name in ("credit_ms", "note", "created_ms"):
        op.execute(f"ALTER TABLE invites DROP COLUMN {name}")
    for table in reversed(_TABLES):
        op.execute(f"DROP TABLE {table.split()[2]}")


def _as_sqlite(table: str) -> str:
    """Rewrite types to STRICT ones."""
    text = re.sub(r"\b(bigint|smallint|integer|boolean)\b", "INTEGER", table)
    text = re.sub(r"\bbytea\b", "BLOB", text).replace("DEFAULT false", "DEFAULT 0")
    return text.rstrip() + (" STRICT, WITHOUT ROWID" if table.split()[2] in _WITHOUT_ROWID else " STRICT")
