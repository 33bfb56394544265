"""How much waits for a person or for a rail, counted every fifteen seconds for whoever watches the metrics."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.ledger.transaction import MoneyStore, View
from hushnet.coordinator.payments.model import Call, CallState, EventState, Finding, InboxEvent
from hushnet.foundation.errors import StorageError

_LOG = logging.getLogger(__name__)

_PERIOD_S: Final = 15.0
COUNTED_MAX: Final = 1000
"""More are shown as so many: somebody has to look long before."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many of each there are, up to `COUNTED_MAX`."""

    findings: int = 0
    events_waiting: int = 0
    events_stuck: int = 0
    calls_due: int = 0
    calls_in_doubt: int = 0


class PaymentWatch:
    """The newest counts."""

    def __init__(self, store: MoneyStore) -> None:
        self._store = store
        self.waiting = Waiting()

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            try:
                await self.look()
            except StorageError as error:
                _LOG.warning("payments were not counted", extra={"error": error.error_code})
            await asyncio.sleep(_PERIOD_S)

    async def look(self) -> None:
        """Count now."""
        self.waiting = await self._store.read(_counted)


def _counted(view: View) -> Waiting:
    def events(*states: EventState) -> int:
        return len(view.rows(InboxEvent).find(state=states, limit=COUNTED_MAX))

    def calls(*states: CallState) -> int:
        return len(view.rows(Call).find(state=states, limit=COUNTED_MAX))

    return Waiting(
        findings=len(view.rows(Finding).find(resolved_ms=None, limit=COUNTED_MAX)),
        events_waiting=events(EventState.NEW, EventState.WAITING),
        events_stuck=events(EventState.STUCK),
        calls_due=calls(CallState.DUE, CallState.SENDING),
        calls_in_doubt=calls(CallState.LOOK_UP),
    )
