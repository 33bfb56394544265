"""What rails told us and what we asked of them is kept for 90 days; that it happened, and under which key, for ever."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.coordinator.payments.model import Call, CallState, EventState, InboxEvent
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError, StorageError

_LOG = logging.getLogger(__name__)

KEPT_MS: Final = 90 * 86_400_000
_PERIOD_S: Final = 3600.0
_BATCH: Final = 50


async def forget_forever(store: MoneyStore, clock: Clock) -> None:
    """Forget what is old enough, every hour, until cancelled."""
    while True:
        try:
            while await forget(store, clock):
                pass
        except (StorageError, CapacityError) as error:
            _LOG.warning("old payments were not forgotten", extra={"error": error.error_code})
        await asyncio.sleep(_PERIOD_S)


async def forget(store: MoneyStore, clock: Clock) -> int:
    """Forget up to fifty finished events, and as many calls, that are old enough; return how many."""
    before_ms = clock.now_ms() - KEPT_MS

    def work(tx: Transaction) -> int:
        events, calls = tx.rows(InboxEvent), tx.rows(Call)
        old_events = events.find(
            state=(EventState.APPLIED, EventState.IGNORED),
            at_most=("received_ms", before_ms),
            order_by="received_ms",
            limit=_BATCH,
        )
        old_calls = calls.find(
            state=(CallState.DONE, CallState.REFUSED),
            at_most=("next_ms", before_ms),
            order_by="next_ms",
            limit=_BATCH,
        )
        for event in old_events:
            events.save(replace(event, state=EventState.FORGOTTEN, body=b""))
        for call in old_calls:
            calls.save(replace(call, state=CallState.FORGOTTEN, request="", outcome=""))
        return len(old_events) + len(old_calls)

    return await store.transact(work)
