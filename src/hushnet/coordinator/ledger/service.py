"""The ledger as the rest of the coordinator calls it: one lane, one writer, and the work in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, cast

from hushnet.coordinator.ledger.chart import SPENDABLE, Kind, operator_account, user_account
from hushnet.coordinator.ledger.ids import ID_MAX, id_ms
from hushnet.coordinator.ledger.model import (
    Balance,
    Busy,
    Close,
    CloseKind,
    CloseOutcome,
    Code,
    Fact,
    FactOutcome,
    FreeUse,
    FreeUseOutcome,
    Held,
    Hold,
    HoldOutcome,
    Leg,
    Usage,
    UsageOutcome,
    UsageRecord,
)
from hushnet.coordinator.ledger.store import AccountState, LedgerStore
from hushnet.coordinator.ledger.sweeper import encode_draft, sweep
from hushnet.coordinator.ledger.writing.lane import Lane
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.coordinator.ledger.writing.writer import Writer
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, RequestId
from hushnet.foundation.tasks import TaskSet

_LOG = logging.getLogger(__name__)

_CLOSE_RETRIES: Final = 8
_CLOSE_RETRY_S: Final = 0.25
"""A settlement that finds the ledger busy is offered again for about ten seconds before the sweeper inherits it."""


class Ledger:
    """One process's ledger. Every method may be called from any task of the loop that opened it."""

    def __init__(self, store: LedgerStore, clock: Clock, settings: LedgerSettings, lane: Lane) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._lane = lane
        self._drafts: dict[int, Close] = {}
        self._tasks = TaskSet()
        self._writer = Writer(store, lane, clock, settings=settings, abandoned=self._void_abandoned)
        self._writing = asyncio.create_task(self._writer.run(), name="ledger-writer")

    @staticmethod
    async def open(store: LedgerStore, clock: Clock, *, settings: LedgerSettings | None = None) -> Ledger:
        """Claim a lane, finalise what dead processes left open, and start the work in the background.

        Raises `ConfigurationError` when this machine's clock and the database's disagree, `StorageError` when the
        database does not serve.
        """
        settings = settings or LedgerSettings()
        ledger = Ledger(store, clock, settings, await Lane.claim(store, clock, settings))
        try:
            await ledger.sweep()
        except BaseException:
            await ledger.aclose()
            raise
        ledger._repeat("ledger-lease", settings.renew_s, ledger.renew)
        ledger._repeat("ledger-sweeper", settings.sweep_s, ledger.sweep)
        ledger._repeat("ledger-drafts", settings.draft_s, ledger.save_drafts)
        return ledger

    @property
    def lane(self) -> int:
        """The number of the lane that this process writes."""
        return self._lane.number

    @property
    def origin(self) -> int:
        """What names this process's claim of its lane, for whoever gives it back when this process has died."""
        return self._lane.origin

    def next_request_id(self) -> RequestId:
        """Return a fresh request id; raises `CapacityError` (`busy`) when the lane's lease has lapsed."""
        return RequestId(self._lane.next_id())

    async def hold(self, hold: Hold) -> HoldOutcome:
        """Reserve money for a request, with what its owner has of promo, paid and earnings, in that order.

        A caller that is cancelled leaves nothing held. Raises `StorageError` when the database refused or stayed away:
        then the sweeper will find whatever was held.
        """
        if not self._lane.is_ours:
            return Busy()
        return cast(HoldOutcome, await self._writer.submit(hold))

    async def close(self, close: Close) -> CloseOutcome:
        """Finalise a hold; the same close again is answered as done. Tries for some seconds when the ledger is busy."""
        for attempt in range(1, _CLOSE_RETRIES + 1):
            outcome = cast(CloseOutcome, await self._writer.submit(close))
            if not isinstance(outcome, Busy):
                self._drafts.pop(close.id, None)
                return outcome
            if self._writer.is_closing:
                break
            await asyncio.sleep(attempt * _CLOSE_RETRY_S)
        return Busy()

    async def record_free(self, use: FreeUse) -> FreeUseOutcome:
        """Write the usage record of a request that needed no hold."""
        return cast(FreeUseOutcome, await self._writer.submit(use))

    async def fact(self, fact: Fact) -> FactOutcome:
        """Post one business event under its key; it gets an id when it has none."""
        if not fact.id:
            fact = replace(fact, id=self._lane.next_id())
        return cast(FactOutcome, await self._writer.submit(fact))

    def note_draft(self, draft: Close) -> None:
        """Remember the settlement as it would be now: what the sweeper posts if this process dies. Cheap; call often."""
        self._drafts[draft.id] = draft

    async def grant_promo(
        self, owner: AccountId, amount: int, *, grant_id: str, actor: str, note: str = ""
    ) -> FactOutcome:
        """Give an account promotional credit, once for each grant id."""
        leg = Leg(operator_account(Kind.PROMO_EXPENSE), user_account(owner, Kind.PROMO), amount)
        key = f"promo:{grant_id}"
        return await self.fact(Fact(key, Code.PROMO_GRANT, (leg,), actor=actor, owner=owner, note=note))

    async def balance(self, owner: AccountId) -> Balance:
        """Return what an account has; all zero for one that never had any money."""
        since_ms = self._clock.now_ms() - self._settings.maturity_ms
        states, earned = await self._store.accounts_of(owner, earned_since_ms=since_ms)
        promo, paid, earnings = (states.get(user_account(owner, kind), AccountState()) for kind in SPENDABLE)
        held = promo.held + paid.held + earnings.held
        total = promo.balance + paid.balance + earnings.balance
        return Balance(
            promo=promo.balance,
            paid=paid.balance,
            earnings=earnings.balance,
            held=held,
            spendable=total - held,
            withdrawable=max(0, earnings.balance - earnings.held - earned),
        )

    async def usage_record(self, request_id: RequestId) -> UsageRecord | None:
        """Return a finished request's record; None while it runs, and for an id that never was."""
        newest = await self._store.usage_of(None, before=request_id + 1, limit=1)
        return newest[0] if newest and newest[0].id == request_id else None

    async def usage(self, owner: AccountId, *, before: RequestId | None = None, limit: int = 100) -> list[UsageRecord]:
        """Return an owner's finished requests, newest first, a page at a time."""
        return await self._store.usage_of(owner, before=ID_MAX if before is None else before, limit=limit)

    async def renew(self) -> None:
        """Renew the lane's lease, as the background work does."""
        is_ours = await self._lane.renew()
        self._writer.resume(must_recover=not is_ours)

    async def sweep(self) -> int:
        """Finalise what is due, as the background work does; return how many holds there were."""
        return await sweep(self._store, self.close, now_ms=self._clock.now_ms())

    async def save_drafts(self) -> None:
        """Save the drafts noted since the last time for requests old enough, as the background work does."""
        old_ms = self._clock.now_ms() - round(self._settings.draft_s * 1000)
        ripe = [draft for id_, draft in self._drafts.items() if id_ms(id_) <= old_ms]
        for draft in ripe:
            del self._drafts[draft.id]
        if ripe:
            await self._store.save_drafts({draft.id: encode_draft(draft) for draft in ripe})

    async def aclose(self) -> None:
        """Commit what is queued, stop, and give the lane back."""
        await self._tasks.aclose()
        self._writer.close()
        await self._writing
        try:
            await self._lane.release()
        except StorageError as error:
            _LOG.warning("the ledger's lane could not be given back", extra={"error": error.error_code})

    def _void_abandoned(self, hold: Hold, held: Held) -> None:
        """Give back a hold that was committed after its caller had gone."""
        usage = Usage(api_key=ApiKeyId(0), model=ModelId(""), outcome=UsageOutcome.NOT_DELIVERED)
        self._writer.enqueue(Close(hold.id, hold.owner, held, CloseKind.VOID, usage, caps=hold.caps))

    def _repeat(self, name: str, period_s: float, work: Callable[[], Awaitable[object]]) -> None:
        async def forever() -> None:
            while True:
                await asyncio.sleep(period_s)
                try:
                    await work()
                except StorageError as error:
                    _LOG.warning(
                        "background work of the ledger failed", extra={"task": name, "error": error.error_code}
                    )

        self._tasks.spawn(forever(), name=name)
