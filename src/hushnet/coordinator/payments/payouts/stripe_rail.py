"""The three calls of a payout over Stripe: the transfer, the payout on the connected account, the reversal.

Each is repeated with its key until its outcome is known (`payments/calls.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.coordinator.payments.calls import Absent, Caller, CannotTell, Done, Refused, Seen, Sent
from hushnet.coordinator.payments.model import Call
from hushnet.coordinator.payments.payouts.calling import PayoutCall
from hushnet.coordinator.payments.payouts.connect import ConnectGateway, PayoutSeen
from hushnet.coordinator.payments.payouts.model import STRIPE, PayoutState
from hushnet.coordinator.payments.payouts.moves import Happened, advance, transfer_group
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent, RailCall

ACTOR: Final = "stripe"
_STATUS_EVENTS: Final = {
    "paid": PayoutEvent.PAYOUT_PAID,
    "failed": PayoutEvent.PAYOUT_FAILED,
    "canceled": PayoutEvent.PAYOUT_CANCELED,
}


def stripe_callers(store: MoneyStore, gateway: ConnectGateway) -> dict[tuple[str, str], Caller]:
    """Return the callers of this rail, as `Calls` wants them."""
    return {
        (STRIPE, RailCall.TRANSFER.value): TransferCall(store, gateway),
        (STRIPE, RailCall.PAYOUT.value): BankCall(store, gateway),
        (STRIPE, RailCall.REVERSAL.value): ReversalCall(store, gateway),
    }


def told_by(seen: PayoutSeen) -> Sequence[Happened]:
    """Return what a payout at Stripe says: that it was made, and what became of it."""
    made = Happened(event=PayoutEvent.PAYOUT_MADE, payout=seen.id)
    event = _STATUS_EVENTS.get(seen.status)
    return (made,) if event is None else (made, outcome_of(event, seen.id, seen.failure))


def outcome_of(event: PayoutEvent, payout: str, failure: str) -> Happened:
    """Return how a payout ended, with the reason of a failure."""
    reason = "" if event is PayoutEvent.PAYOUT_PAID else f"failed:{failure or event.value}"
    return Happened(event=event, payout=payout, reason=reason)


class _StripeCall(PayoutCall):
    """What the calls to Stripe share."""

    refused_event: PayoutEvent

    def __init__(self, store: MoneyStore, gateway: ConnectGateway) -> None:
        super().__init__(store)
        self._gateway = gateway

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        advance(tx, call.subject, Happened(event=self.refused_event, reason=f"refused:{code}"), actor=ACTOR)


class TransferCall(_StripeCall):
    """Money to the connected account."""

    waited_in = PayoutState.SENDING
    refused_event = PayoutEvent.TRANSFER_REFUSED

    async def send_wanted(self, call: Call) -> Sent:
        return await self._gateway.transfer(json.loads(call.request), idem_key=call.idem_key)

    async def look_up(self, call: Call) -> Seen:
        found = await self._gateway.transfers_in(transfer_group(call.subject))
        return Done({"id": found[0].id}) if found else Absent()

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        advance(tx, call.subject, Happened(event=PayoutEvent.TRANSFER_MADE, transfer=outcome["id"]), actor=ACTOR)


class BankCall(_StripeCall):
    """The connected account's money to its bank."""

    waited_in = PayoutState.LANDED
    refused_event = PayoutEvent.PAYOUT_REFUSED

    async def send_wanted(self, call: Call) -> Sent:
        return await self._gateway.payout(json.loads(call.request), idem_key=call.idem_key)

    async def look_up(self, call: Call) -> Seen:
        payout = await self.payout_of(call)
        if payout is None:
            return CannotTell("payout_unknown")
        account = json.loads(call.request)["account"]
        seen = await self._gateway.payout_for(account, call.subject, since_ms=payout.created_ms)
        if seen is None:
            return Absent()
        return Done({"id": seen.id, "status": seen.status, "failure": seen.failure})

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        seen = PayoutSeen(outcome["id"], outcome["status"], outcome.get("failure", ""))
        advance(tx, call.subject, *told_by(seen), actor=ACTOR)


class ReversalCall(_StripeCall):
    """The transfer's money back to us."""

    waited_in = PayoutState.REVERSING
    refused_event = PayoutEvent.REVERSAL_REFUSED

    async def send_wanted(self, call: Call) -> Sent:
        request = json.loads(call.request)
        sent = await self._gateway.reverse(request, idem_key=call.idem_key)
        if not isinstance(sent, Refused):
            return sent
        seen = await self._gateway.transfer_seen(request["transfer"])
        # Where somebody else was first, the money is back all the same.
        return Done({"id": seen.reversal}) if seen.is_reversed else sent

    async def look_up(self, call: Call) -> Seen:
        seen = await self._gateway.transfer_seen(json.loads(call.request)["transfer"])
        return Done({"id": seen.reversal}) if seen.is_reversed else Absent()

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        advance(tx, call.subject, Happened(event=PayoutEvent.REVERSAL_MADE, reversal=outcome["id"]), actor=ACTOR)
