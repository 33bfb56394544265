"""Coins out: the rail that sends a payout's coins through the gateway of their pair (`payouts.coin_rail.CoinRail`).

Coins that are sent do not come back, so a failure is a refusal only when the gateway did nothing for certain. Pairs that
no gateway pays out may be paid by hand: such an order counts as accepted, stands in the signed batch file, and waits for
the operator's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hushnet.coordinator.ledger.transaction import Transaction
from hushnet.coordinator.payments.calls import Absent, Again, CannotTell, Done, Refused, Seen, Unknown
from hushnet.coordinator.payments.calls import Sent as Answer
from hushnet.coordinator.payments.coins.addresses import Destination
from hushnet.coordinator.payments.coins.assets import pair_of
from hushnet.coordinator.payments.coins.gateways.base import Order, PayoutGateway, Sending, Sent, Webhook
from hushnet.coordinator.payments.coins.gateways.btcpay import BtcPay
from hushnet.coordinator.payments.coins.gateways.http import (
    GatewayBusyError,
    GatewayError,
    GatewayRefusedError,
    GatewayUnclearError,
)
from hushnet.coordinator.payments.inbox import Applied, Ignored, Verdict, Waiting
from hushnet.coordinator.payments.model import note_finding
from hushnet.coordinator.payments.payouts.coin_rail import ACTOR, NO_GATEWAY, CoinOrder, StillWanted, told_by_gateway
from hushnet.coordinator.payments.payouts.model import Payout, PayoutState
from hushnet.coordinator.payments.payouts.moves import UnknownPayoutError, advance

MANUAL: Final = "manual"
_STATUS: Final = {Sending.ACCEPTED: "accepted", Sending.CONFIRMED: "confirmed", Sending.FAILED: "lost"}


class ByHand:
    """`PayoutGateway` for pairs that the operator pays out: whatever is ordered is in the operator's hands."""

    name = MANUAL

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self.codes = dict(pairs)

    async def send(self, order: Order, *, is_wanted: StillWanted) -> Sent:
        """See `PayoutGateway.send`."""
        del is_wanted
        return Sent(gateway_id=order.reference, state=Sending.ACCEPTED)

    async def find(self, order: Order) -> Sent | None:
        """See `PayoutGateway.find`."""
        return Sent(gateway_id=order.reference, state=Sending.ACCEPTED)


class GatewayRail:
    """Sends each order through the gateway that it names; new ones name the first that pays their pair out."""

    def __init__(self, *gateways: PayoutGateway) -> None:
        self.gateways: dict[str, PayoutGateway] = {
            pair: gateway for gateway in reversed(gateways) for pair in gateway.codes
        }
        """Who pays a pair out from now on, by the pair's name."""
        self._each = {(gateway.name, pair): gateway for gateway in gateways for pair in gateway.codes}

    async def send(self, order: CoinOrder, *, is_wanted: StillWanted) -> Answer:
        """See `CoinRail.send`."""
        gateway, ordered = self._of(order)
        if gateway is None:
            return Again(NO_GATEWAY)  # one that was configured once: its orders wait until it is again
        try:
            return _done(gateway, await gateway.send(ordered, is_wanted=is_wanted))
        except GatewayRefusedError:
            return Refused("gateway_refused")
        except GatewayBusyError:
            return Again("gateway_busy")
        except GatewayUnclearError as error:
            return Unknown(error.reason)

    async def look_up(self, order: CoinOrder) -> Seen:
        """See `CoinRail.look_up`."""
        gateway, ordered = self._of(order)
        if gateway is None:
            return CannotTell(NO_GATEWAY)
        try:
            found = await gateway.find(ordered)
        except GatewayError:
            return CannotTell("gateway_silent")
        return Absent() if found is None else _done(gateway, found)

    def _of(self, order: CoinOrder) -> tuple[PayoutGateway | None, Order]:
        pair = pair_of(order.asset, order.network)
        to = Destination(order.address, order.tag)
        gateway = self._each.get((order.gateway, pair.name))
        return gateway, Order(reference=order.reference, pair=pair, to=to, units=order.units)


async def payout_told(gateway: BtcPay, webhook: Webhook) -> Callable[[Transaction], Verdict]:
    """Fetch the payout that a webhook is about; return what to do about it inside the transaction."""
    reference, sent = await gateway.payout(webhook.subject)
    prefix, _, number = reference.partition(":")
    is_ours = prefix == "payout" and number.isascii() and number.isdigit() and len(number) <= 19

    def work(tx: Transaction) -> Verdict:
        if not is_ours:
            return Ignored("not_ours")
        if sent is None:
            return Ignored("says_nothing")
        payout = tx.rows(Payout).get(int(number))
        if sent.state is Sending.FAILED and payout is not None and payout.state is PayoutState.SENDING:
            return Waiting("call_open")  # whoever sends it may be about to approve another one
        try:
            advance(tx, int(number), *told_by_gateway(_STATUS[sent.state], sent.txid), actor=ACTOR)
        except UnknownPayoutError:
            note_finding(tx, "unknown_payout", f"{gateway.name}:{webhook.subject}", webhook.kind)
            return Ignored("unknown_payout")
        return Applied()

    return work


def _done(gateway: PayoutGateway, sent: Sent) -> Done:
    return Done({"status": _STATUS[sent.state], "txid": sent.txid, "gateway": gateway.name})
