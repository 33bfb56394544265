"""The ledger's tables as SQLAlchemy Core sees them: names and types for statements.

Constraints, triggers and storage options live in the revisions under `migrations/versions`; a test holds the two together.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

LEDGER: Final = MetaData()

accounts: Final = Table(
    "ledger_accounts",
    LEDGER,
    Column("id", BigInteger, primary_key=True),
    Column("owner", BigInteger),
    Column("kind", SmallInteger),
    Column("asset", Text),
    Column("lane", SmallInteger),
    Column("floor", SmallInteger),
    Column("closed", Boolean),
    Column("credits", BigInteger),
    Column("debits", BigInteger),
    Column("held", BigInteger),
)
transfers: Final = Table(
    "ledger_transfers",
    LEDGER,
    Column("fact", BigInteger, primary_key=True),
    Column("leg", SmallInteger, primary_key=True),
    Column("phase", SmallInteger),
    Column("code", SmallInteger),
    Column("debit", BigInteger),
    Column("credit", BigInteger),
    Column("amount", BigInteger),
    Column("at_ms", BigInteger),
    Column("batch", BigInteger),
)
holds: Final = Table(
    "ledger_holds",
    LEDGER,
    Column("id", BigInteger, primary_key=True),
    Column("owner", BigInteger),
    Column("promo", BigInteger),
    Column("paid", BigInteger),
    Column("earnings", BigInteger),
    Column("amount", BigInteger),
    Column("opened_ms", BigInteger),
    Column("expires_ms", BigInteger),
    Column("origin", BigInteger),
    Column("caps", Text),
    Column("draft", Text),
)
facts: Final = Table(
    "ledger_facts",
    LEDGER,
    Column("id", BigInteger, primary_key=True),
    Column("key", Text),
    Column("digest", LargeBinary),
    Column("code", SmallInteger),
    Column("owner", BigInteger),
    Column("actor", Text),
    Column("note", Text),
    Column("at_ms", BigInteger),
)
caps: Final = Table(
    "ledger_caps",
    LEDGER,
    Column("id", BigInteger, primary_key=True),
    Column("scope", SmallInteger),
    Column("subject", BigInteger),
    Column("period", SmallInteger),
    Column("ceiling", BigInteger),
)
cap_windows: Final = Table(
    "ledger_cap_windows",
    LEDGER,
    Column("cap", BigInteger, primary_key=True),
    Column("start_ms", BigInteger, primary_key=True),
    Column("spent", BigInteger),
    Column("held", BigInteger),
)
lanes: Final = Table(
    "ledger_lanes",
    LEDGER,
    Column("lane", SmallInteger, primary_key=True, autoincrement=False),
    Column("holder", Text),
    Column("lease_ms", BigInteger),
    Column("seq", BigInteger),
    Column("head", LargeBinary),
)
batches: Final = Table(
    "ledger_batches",
    LEDGER,
    Column("lane", SmallInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("prev", LargeBinary),
    Column("digest", LargeBinary),
    Column("row_count", Integer),
    Column("at_ms", BigInteger),
)
usage: Final = Table(
    "usage_records",
    LEDGER,
    Column("id", BigInteger, primary_key=True),
    Column("owner", BigInteger),
    Column("api_key", BigInteger),
    Column("provider", BigInteger),
    Column("model", Text),
    Column("outcome", SmallInteger),
    Column("tokens_in", Integer),
    Column("tokens_cached", Integer),
    Column("tokens_out", Integer),
    Column("held", BigInteger),
    Column("cost", BigInteger),
    Column("to_provider", BigInteger),
    Column("to_platform", BigInteger),
    Column("to_referrer", BigInteger),
    Column("at_ms", BigInteger),
    Column("referrer", BigInteger),
    Column("machine", Text),
    Column("price", BigInteger),
    Column("tier", SmallInteger),
    Column("mode", SmallInteger),
)
