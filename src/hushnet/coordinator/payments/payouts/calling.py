"""What every call of a payout observes: it is sent only while the payout waits for it.

A call that has never been sent and that nobody waits for is given up. One that may have been sent is never sent again
for nothing: the rail is asked what became of it, and likewise when a later try is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from hushnet.coordinator.ledger.transaction import MoneyStore
from hushnet.coordinator.payments.calls import Absent, CannotTell, Done, Refused, Seen, Sent, Unknown
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
        if payout is not None and payout.state is self.waited_in:
            sent: Sent = await self.send_wanted(call)
        else:
            sent = Refused(NOT_WANTED)
        return await self._unless_done(call, sent) if isinstance(sent, Refused) and call.tries > 1 else sent

    async def _unless_done(self, call: Call, refused: Refused) -> Sent:
        """Ask what became of earlier tries: that this one is refused says nothing of them."""
        match await self.look_up(call):
            case Done() as done:
                return done
            case Absent():
                return refused
            case CannotTell(reason):
                return Unknown(reason)

    @abstractmethod
    async def send_wanted(self, call: Call) -> Sent:
        """Send it."""

    @abstractmethod
    async def look_up(self, call: Call) -> Seen:
        """See `payments.calls.Caller.look_up`."""

    async def payout_of(self, call: Call) -> Payout | None:
        """Return the payout that a call belongs to."""
        return await self._store.read(lambda view: view.rows(Payout).get(call.subject))
