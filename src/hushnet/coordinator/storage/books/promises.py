"""What payouts, refunds, payments, referrals and budgets say that the ledger holds for them: sums made in the database.

States are those of design/ledger.md section 7, spelled as the numbers that are stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, text

from hushnet.coordinator.ledger.books.promises import SpentWindow

_IN_TRANSIT: Final = text(
    "SELECT owner, CAST(sum(gross) AS bigint) FROM payouts WHERE state IN (0, 1, 2, 3, 5, 8) GROUP BY owner"
)
_FROZEN: Final = text(
    "SELECT d.owner, CAST(sum(r.amount) AS bigint) FROM reversals r JOIN deposits d ON d.id = r.deposit"
    " WHERE (r.kind = 1 AND r.state = 0) OR (r.kind = 2 AND r.state = 1) GROUP BY d.owner"
)
_AT_CONNECT: Final = text(
    "SELECT CAST(coalesce(sum(net), 0) AS bigint) FROM payouts p WHERE rail = 'stripe' AND state IN (2, 3, 5, 8)"
    " AND NOT EXISTS (SELECT 1 FROM ledger_facts WHERE key = 'payout:' || p.id || '\\:reversed')"
)
_RECEIVABLE: Final = text(
    "SELECT CAST(coalesce(sum(CASE WHEN state = 0 THEN amount ELSE settled END), 0) AS bigint) FROM x402_payments"
    " WHERE scheme = 'upto' AND request <> 0 AND state IN (0, 1)"
)
_UNSWEPT: Final = text(
    "SELECT CAST(coalesce(sum(due.amount), 0) AS bigint) FROM"
    " (SELECT referrer, at_ms / 86400000 AS day, sum(to_referrer) AS amount FROM usage_records"
    " WHERE to_referrer > 0 GROUP BY referrer, at_ms / 86400000) AS due"
    " WHERE NOT EXISTS (SELECT 1 FROM ledger_facts WHERE key = 'referral:' || due.referrer || ':' || due.day)"
)
_WINDOWS: Final = text(
    "SELECT c.id, c.scope, c.subject, c.period, w.start_ms, w.spent FROM ledger_cap_windows w"
    " JOIN ledger_caps c ON c.id = w.cap WHERE c.scope IN (1, 2) AND w.spent > 0 ORDER BY c.id, w.start_ms"
)


class SqlPromises:
    """`ledger.books.promises.Promises` over a connection that is inside a snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def in_transit(self) -> Mapping[int, int]:
        return self._by_owner(_IN_TRANSIT)

    def frozen(self) -> Mapping[int, int]:
        return self._by_owner(_FROZEN)

    def at_connect(self) -> int:
        return self._sum(_AT_CONNECT)

    def receivable(self) -> int:
        return self._sum(_RECEIVABLE)

    def unswept(self) -> int:
        return self._sum(_UNSWEPT)

    def spent_windows(self) -> list[SpentWindow]:
        return [SpentWindow(*row) for row in self._connection.execute(_WINDOWS)]

    def _by_owner(self, statement: Any) -> Mapping[int, int]:
        return {owner: int(amount) for owner, amount in self._connection.execute(statement)}

    def _sum(self, statement: Any) -> int:
        return int(self._connection.execute(statement).scalar_one())
