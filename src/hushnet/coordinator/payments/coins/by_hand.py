"""Payouts that the operator sends by hand: one signed file with everything that is waiting, and nothing else.

The file is a DSSE envelope, so that whoever sends the coins can check that the coordinator wrote it and nobody changed an
address. It is the same until a payout is confirmed or given back: sending from it twice is prevented by confirming.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hushnet.coordinator.ledger.transaction import View
from hushnet.coordinator.payments.coins.assets import pair_of
from hushnet.coordinator.payments.coins.rail import MANUAL, GatewayRail
from hushnet.coordinator.payments.coins.units import format_units
from hushnet.coordinator.payments.model import Call, CallState
from hushnet.coordinator.payments.payouts.coin_rail import CoinOrder, order_for
from hushnet.coordinator.payments.payouts.model import COIN, Payout, PayoutMethod, PayoutState
from hushnet.coordinator.payments.payouts.transitions import RailCall
from hushnet.identity.keys import IdentityKey
from hushnet.sealing.encoding import pae

BATCH_TYPE: Final = "application/vnd.hushnet.coin-batch+json"
_PAGE_MAX: Final = 1000
_WAITING: Final = (PayoutState.SENDING, PayoutState.IN_TRANSIT)
"""Claimed with its quote: by hand there is nothing that could still refuse it."""


def waiting_by_hand(view: View, rail: GatewayRail) -> list[CoinOrder]:
    """Return the orders that the operator has to send, the oldest first.

    Only those that were handed to the operator, whoever pays their pair out by now: one that a gateway took is its own.
    """
    found = view.rows(Payout).find(state=_WAITING, rail=COIN, order_by="created_ms", limit=_PAGE_MAX)
    orders = []
    for payout in found:
        if _is_in_our_hands(view, payout, rail):
            (method,) = view.rows(PayoutMethod).find(id=payout.method)
            orders.append(order_for(payout, method.address, method.tag))
    return orders


def _is_in_our_hands(view: View, payout: Payout, rail: GatewayRail) -> bool:
    calls = view.rows(Call).find(rail=COIN, action=RailCall.SEND.value, subject=payout.id)
    done = (call.outcome if call.state is CallState.DONE else "{}" for call in calls)
    takers = {json.loads(outcome).get("gateway", "") for outcome in done}
    asset, network, _ = payout.coins
    # Nobody has taken it yet, or it is so long ago that it was forgotten: then the settings say.
    return MANUAL in takers or (takers == {""} and rail.is_by_hand(pair_of(asset, network)))


def batch_document(orders: Sequence[CoinOrder], *, network: str, made_ms: int, key: IdentityKey) -> dict[str, Any]:
    """Return the file's content: what is to be sent, with the signature over exactly that."""
    payload = msgspec.json.encode({"network": network, "made_ms": made_ms, "payouts": [_shown(one) for one in orders]})
    signature = key.sign(pae(BATCH_TYPE, payload))
    return {
        "object": "coin.batch",
        "payouts": [_shown(one) for one in orders],
        "public_key": key.public_key.hex(),
        "signed": {
            "payloadType": BATCH_TYPE,
            "payload": b64encode(payload).decode(),
            "signatures": [{"keyid": key.provider_id, "sig": b64encode(signature).decode()}],
        },
    }


def _shown(order: CoinOrder) -> dict[str, Any]:
    return {
        "payout": str(order.payout),
        "reference": order.reference,
        "asset": order.asset,
        "network": order.network,
        "amount": format_units(order.units, pair_of(order.asset, order.network).scale),
        "address": order.address,
        "destination_tag": order.tag,
    }
