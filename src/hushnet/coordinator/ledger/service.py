"""The ledger as the rest of the coordinator calls it."""

from __future__ import annotations

from collections.abc import Sequence

from hushnet.coordinator.ledger.model import (
    Balance,
    Close,
    CloseOutcome,
    Fact,
    FactOutcome,
    FreeUse,
    FreeUseOutcome,
    Hold,
    HoldOutcome,
    LedgerSettings,
    UsageRecord,
)
from hushnet.coordinator.ledger.store import LedgerStore
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, RequestId


class Ledger:
    """One process's ledger: one lane, one writer."""

    @staticmethod
    async def open(store: LedgerStore, clock: Clock, *, settings: LedgerSettings | None = None) -> Ledger:
        """Claim a lane, sweep what dead processes left open, and start the background work."""
        raise NotImplementedError

    @property
    def lane(self) -> int:
        raise NotImplementedError

    def next_request_id(self) -> RequestId:
        """Return a fresh request id; raises `CapacityError` (`busy`) when the lane's lease has lapsed."""
        raise NotImplementedError

    async def hold(self, hold: Hold) -> HoldOutcome:
        raise NotImplementedError

    async def close(self, close: Close) -> CloseOutcome:
        raise NotImplementedError

    async def record_free(self, use: FreeUse) -> FreeUseOutcome:
        raise NotImplementedError

    async def fact(self, fact: Fact) -> FactOutcome:
        raise NotImplementedError

    def note_draft(self, draft: Close) -> None:
        """Remember the settlement as it would be now; saved every few seconds, used when this process dies."""
        raise NotImplementedError

    async def grant_promo(
        self, owner: AccountId, amount: int, *, grant_id: str, actor: str, note: str = ""
    ) -> FactOutcome:
        raise NotImplementedError

    async def balance(self, owner: AccountId) -> Balance:
        raise NotImplementedError

    async def usage_record(self, request_id: RequestId) -> UsageRecord | None:
        raise NotImplementedError

    async def usage(
        self, owner: AccountId, *, before: RequestId | None = None, limit: int = 100
    ) -> Sequence[UsageRecord]:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError
