"""Money in a simulated world: a store that is slow and sometimes ill, and a ledger whose calls are watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from hushnet.coordinator.ledger.model import (
    Busy,
    Close,
    CloseOutcome,
    FreeUse,
    FreeUseOutcome,
    Held,
    Hold,
    HoldOutcome,
)
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.store import (
    Lease,
    Reads,
    Snapshot,
    StoredHold,
    UnavailableError,
    Writes,
)
from hushnet.foundation.ids import RequestId
from simulation.chance import often, spread
from simulation.watching import Watch
from support.ledger_memory import MemoryLedgerStore


class SlowStore(MemoryLedgerStore):
    """The store of plain dictionaries with the delays of a database; while `illness` > 0 it loses that share of its calls.

    A lost transaction was committed or not, as with a connection that breaks: the writer has to find out.
    """

    def __init__(self, chance: Random, *, delay_s: float, is_lasting: bool) -> None:
        super().__init__()
        self.illness = 0.0
        self.commits = 0
        self.fell_ill = False
        self._chance = chance
        self._delay_s = delay_s
        if is_lasting:
            self.persist = self._reach_the_disk

    async def transact(self, reads: Reads, decide: Callable[[Snapshot], Writes | None]) -> None:
        await self._pause()
        self.commit(reads, decide)
        self.commits += 1
        await self._pause()

    async def renew_lane(self, lease: Lease, *, until_ms: int) -> Lease | None:
        await self._pause()
        return await super().renew_lane(lease, until_ms=until_ms)

    async def save_drafts(self, drafts: Mapping[int, str]) -> None:
        await self._pause()
        await super().save_drafts(drafts)

    async def due_holds(self, *, now_ms: int, limit: int) -> list[StoredHold]:
        await self._pause()
        return await super().due_holds(now_ms=now_ms, limit=limit)

    async def _reach_the_disk(self) -> None:
        await asyncio.sleep(spread(self._chance, self._delay_s * 2))

    async def _pause(self) -> None:
        await asyncio.sleep(spread(self._chance, self._delay_s))
        if self.illness and often(self._chance, self.illness):
            self.fell_ill = True
            raise UnavailableError("the simulated database is away")


class WatchedLedger:
    """The `RequestLedger` that serving works with: every hold is settled once, by one settlement."""

    def __init__(self, ledger: Ledger, watch: Watch) -> None:
        self.open: dict[int, Hold] = {}
        self._ledger = ledger
        self._watch = watch
        self._settlements: dict[int, Close | FreeUse] = {}
        self._told: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        """Pass on whatever else a ledger can do."""
        return getattr(self._ledger, name)

    def next_request_id(self) -> RequestId:
        return self._ledger.next_request_id()

    async def hold(self, hold: Hold) -> HoldOutcome:
        outcome = await self._ledger.hold(hold)
        request = self._watch.by_id.get(hold.id)
        if isinstance(outcome, Held):
            self.open[hold.id] = hold
            if request is not None:
                request.held_s = self._watch.now_s()
        self._watch.note(f"{request.tag if request else hold.id} hold: {type(outcome).__name__}")
        return outcome

    async def close(self, close: Close) -> CloseOutcome:
        self._settling(close.id, close)
        outcome = await self._ledger.close(close)
        self._settled(close.id, outcome)
        return outcome

    async def record_free(self, use: FreeUse) -> FreeUseOutcome:
        self._settling(use.id, use)
        outcome = await self._ledger.record_free(use)
        self._settled(use.id, outcome)
        return outcome

    def note_draft(self, draft: Close) -> None:
        self._ledger.note_draft(draft)

    def is_settled(self, request_id: int) -> bool:
        return request_id in self._told

    def _settling(self, request_id: int, settlement: Close | FreeUse) -> None:
        """The same settlement may be offered again while the ledger is busy; another one never, and none after it was taken."""
        known = self._settlements.setdefault(request_id, settlement)
        if request_id in self._told:
            self._watch.broke("one finaliser", f"request {self._name(request_id)} was settled again")
        elif known != settlement:
            self._watch.broke("one finaliser", f"request {self._name(request_id)} has two settlements")

    def _settled(self, request_id: int, outcome: object) -> None:
        if not isinstance(outcome, Busy):
            self._told.add(request_id)
            self.open.pop(request_id, None)
            self._watch.note(f"{self._name(request_id)} settled: {type(outcome).__name__}")

    def _name(self, request_id: int) -> str:
        request = self._watch.by_id.get(request_id)
        return request.tag if request is not None else str(request_id)
