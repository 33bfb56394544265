"""What every call of a payout observes: it is sent only while the payout waits for it.

A call that has never been sent and that nobody waits for is given up. One that may have been sent is never sent again
for nothing: it is refused like by a rail, and the outbox asks what became of it (`payments/calls.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from hushnet.coordinator.ledger.transaction import MoneyStore
from hushnet.coordinator.payments.calls import Refused, Seen, Sent
from hushnet.coordinator.payments.model import Call
from hushnet.coordinator.payments.payouts.model import Payout, PayoutState

NOT_WANTED: Final = "not_wanted"


class PayoutCall(ABC):
    """One kind of call, made while its payout is in `waited_in`."""

    waited_in: PayoutState

    def __init__(self, store: MoneyStore) -> None:
        self._store = store

    async def send(self, call: Call) -> Sent:
        """See `payments.calls.Caller.send`."""
        payout = await self.payout_of(call)
        if payout is None or payout.state is not self.waited_in:
            return Refused(NOT_WANTED)
        return await self.send_wanted(call)

    @abstractmethod
    async def send_wanted(self, call: Call) -> Sent:
        """Send it."""

    @abstractmethod
    async def look_up(self, call: Call) -> Seen:
        """See `payments.calls.Caller.look_up`."""

    async def payout_of(self, call: Call) -> Payout | None:
        """Return the payout that a call belongs to."""
        return await self._store.read(lambda view: view.rows(Payout).get(call.subject))
