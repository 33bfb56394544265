"""What is needed of a coin's gateway for payouts, and the call to it. The quote is fixed before a coin is sent.

Coins that are sent do not come back: a payout is returned only on a definite refusal, or on proof that nothing left.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.coordinator.payments.calls import Again, Caller, Seen, Sent, is_still_claimed
from hushnet.coordinator.payments.model import Call, note_finding
from hushnet.coordinator.payments.payouts.calling import PayoutCall
from hushnet.coordinator.payments.payouts.model import COIN, Payout, PayoutState
from hushnet.coordinator.payments.payouts.moves import Happened, Moved, advance
from hushnet.coordinator.payments.payouts.transitions import PayoutEvent, RailCall

ACTOR: Final = "gateway"
NO_GATEWAY: Final = "no_gateway"
"""The gateway of an order is not configured for its coin any more; it may have sent the coins."""
GONE_FINDING: Final = "coin_gateway_gone"
_STATUS_EVENTS: Final = {"confirmed": PayoutEvent.COINS_CONFIRMED, "lost": PayoutEvent.COINS_LOST}


@dataclass(frozen=True, slots=True)
class CoinOrder:
    """Coins to be sent: `units` of `asset` on `network`; `reference` is the same for every try of one payout.

    `gateway` was named with the quote: whoever pays the coin out by now, no other may take an order that it may have sent.
    """

    payout: int
    asset: str
    network: str
    address: str
    tag: int | None
    units: int
    reference: str
    gateway: str


StillWanted: TypeAlias = Callable[[], Awaitable[bool]]
"""Says whether an order is still to be sent, and by whoever asks: another process may have gone on with it."""


class CoinRail(Protocol):
    """A gateway that sends coins. `Done` carries `txid` (or "") and `status`: `accepted`, `confirmed` or `lost`."""

    async def send(self, order: CoinOrder, *, is_wanted: StillWanted) -> Sent: ...

    async def look_up(self, order: CoinOrder) -> Seen:
        """Find the order by its reference; `lost` and `Absent` only on proof."""
        ...


def coin_callers(store: MoneyStore, rail: CoinRail) -> dict[tuple[str, str], Caller]:
    """Return the caller of this rail, as `Calls` wants it."""
    return {(COIN, RailCall.SEND.value): CoinCall(store, rail)}


def claim_coins(tx: Transaction, payout_id: int, *, units: int, rate: int, gateway: str, actor: str) -> Moved:
    """Fix the quote and the gateway of a requested payout and make its sending due; `rate` in micro-USD per whole coin."""
    claimed = Happened(event=PayoutEvent.CLAIMED, units=units, rate=rate, gateway=gateway)
    return advance(tx, payout_id, claimed, actor=actor)


def told_by_gateway(status: str, txid: str | None) -> tuple[Happened, ...]:
    """Return what a gateway's word says; raises `KeyError` on a word that is none of ours."""
    accepted = Happened(event=PayoutEvent.COINS_ACCEPTED, txid=txid or None)
    if status == "accepted":
        return (accepted,)
    reason = "failed:lost" if status == "lost" else ""
    return (accepted, Happened(event=_STATUS_EVENTS[status], txid=txid or None, reason=reason))


def order_of(call: Call) -> CoinOrder:
    """Read the order that a call carries. Its reference outlives attempts: the gateway knows the payout by it."""
    asked = json.loads(call.request)
    place = (asked["asset"], asked["network"], asked["address"], asked["tag"])
    return CoinOrder(call.subject, *place, asked["units"], _reference(call.subject), asked["gateway"])


def _reference(payout_id: int) -> str:
    return f"payout:{payout_id}"


def order_for(payout: Payout, address: str, tag: int | None) -> CoinOrder:
    """Return the order of a payout that was sent, to look it up."""
    asset, network, units = payout.coins
    return CoinOrder(payout.id, asset, network, address, tag, units, _reference(payout.id), payout.gateway or "")


class CoinCall(PayoutCall):
    """Coins to the owner's address."""

    waited_in = PayoutState.SENDING

    def __init__(self, store: MoneyStore, rail: CoinRail) -> None:
        super().__init__(store)
        self._rail = rail

    async def send_wanted(self, call: Call) -> Sent:
        sent = await self._rail.send(order_of(call), is_wanted=lambda: self._is_wanted(call))
        if sent == Again(NO_GATEWAY):
            await self._store.transact(
                lambda tx: note_finding(tx, GONE_FINDING, str(call.subject), order_of(call).gateway)
            )
        return sent

    async def _is_wanted(self, call: Call) -> bool:
        payout = await self.payout_of(call)
        return payout is not None and payout.state is self.waited_in and await is_still_claimed(self._store, call)

    async def look_up(self, call: Call) -> Seen:
        return await self._rail.look_up(order_of(call))

    def done(self, tx: Transaction, call: Call, outcome: Mapping[str, Any]) -> None:
        advance(tx, call.subject, *told_by_gateway(outcome["status"], outcome.get("txid")), actor=ACTOR)

    def refused(self, tx: Transaction, call: Call, code: str) -> None:
        refused = Happened(event=PayoutEvent.COINS_REFUSED, reason=f"refused:{code}")
        advance(tx, call.subject, refused, actor=ACTOR)
