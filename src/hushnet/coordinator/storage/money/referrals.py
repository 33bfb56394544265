"""What referrers have earned, out of the usage records: a sum a day, the same statement on SQLite and Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from hushnet.coordinator.incentives.referrals import DAY_MS, Share
from hushnet.coordinator.storage.database import Database
from hushnet.coordinator.storage.faults import storage_faults

_SUM: Final = text(
    "SELECT referrer, CAST(SUM(to_referrer) AS bigint) AS amount FROM usage_records"
    " WHERE referrer IS NOT NULL AND at_ms >= :from_ms AND at_ms < :until_ms"
    " GROUP BY referrer HAVING SUM(to_referrer) > 0 ORDER BY referrer"
)


class SqlReferralShares:
    """`incentives.referrals.Shares` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_day(self, day: int) -> Sequence[Share]:
        """Sum what was settled on that day, whenever the requests began."""
        values = {"from_ms": day * DAY_MS, "until_ms": (day + 1) * DAY_MS}
        with storage_faults():
            rows = await self._database.read(lambda connection: connection.execute(_SUM, values).all())
        return [Share(int(row.referrer), int(row.amount)) for row in rows]
