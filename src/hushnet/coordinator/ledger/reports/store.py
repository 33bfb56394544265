"""What reports read from the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from hushnet.coordinator.ledger.chart import Kind
from hushnet.coordinator.ledger.model import UsageRecord
from hushnet.coordinator.ledger.reports.model import Group, Income, Movement, Part, Scope
from hushnet.foundation.ids import AccountId, RequestId


class ReportStore(Protocol):
    """An owner's rows, found by index and bounded by a limit. Each method is one snapshot."""

    async def usage(self, scope: Scope, *, before: int, limit: int) -> list[UsageRecord]:
        """Return requests with ids below `before`, newest first."""
        ...

    async def groups(self, scope: Scope, by: Sequence[Part], *, limit: int) -> list[Group]:
        """Sum requests by parts, ascending; by none gives one group, or none where there are no requests."""
        ...

    async def income(self, scope: Scope) -> list[Income]:
        """Return what facts, not settlements, credited to the owner's earnings, by code and day.

        Raises `RequestError` `archived` when the scope begins before what is kept.
        """
        ...

    async def spent_from(self, request_id: RequestId) -> Mapping[Kind, int]:
        """Return from which buckets a finished request was paid; nothing when that is in the archive."""
        ...

    async def balances_at(self, owner: AccountId, at_ms: int) -> Mapping[Kind, int]:
        """Return the owner's balances as they were before everything that was posted at `at_ms` or later.

        Raises `RequestError` `archived` for a time of which not everything since is kept.
        """
        ...

    async def movements(self, scope: Scope, *, after: int, limit: int) -> tuple[list[Movement], int | None]:
        """Return what facts with ids above `after` moved, ascending, and where to go on (None: that was all).

        Both sides of the owner are in it, whatever side the scope names. A page may be empty and not the last.
        """
        ...
