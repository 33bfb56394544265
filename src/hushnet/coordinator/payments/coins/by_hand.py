"""Payouts that the operator sends by hand: one signed file with everything that is waiting, and nothing else.

The file is a DSSE envelope, so that whoever sends the coins can check that the coordinator wrote it and nobody changed an
address. It is the same until a payout is confirmed or given back: sending from it twice is prevented by confirming.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hushnet.coordinator.ledger.transaction import View
from hushnet.coordinator.payments.coins.assets import pair_of
from hushnet.coordinator.payments.coins.rail import MANUAL
from hushnet.coordinator.payments.coins.units import format_units
from hushnet.coordinator.payments.payouts.coin_rail import CoinOrder, order_for
from hushnet.coordinator.payments.payouts.model import COIN, Payout, PayoutMethod, PayoutState
from hushnet.identity.keys import IdentityKey
from hushnet.sealing.encoding import pae

BATCH_TYPE: Final = "application/vnd.hushnet.coin-batch+json"
_PAGE_MAX: Final = 1000
_WAITING: Final = (PayoutState.SENDING, PayoutState.IN_TRANSIT)
"""Claimed with its quote: by hand there is nothing that could still refuse it."""


def waiting_by_hand(view: View) -> list[CoinOrder]:
    """Return the orders that the operator has to send, the oldest first.

    Only those that were handed to the operator, whoever pays their pair out by now: one that a gateway got is its own.
    """
    found = view.rows(Payout).find(state=_WAITING, rail=COIN, gateway=MANUAL, order_by="created_ms", limit=_PAGE_MAX)
    orders = []
    for payout in found:
        (method,) = view.rows(PayoutMethod).find(id=payout.method)
        orders.append(order_for(payout, method.address, method.tag))
    return orders


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
