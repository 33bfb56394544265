"""Which balance transactions of Stripe are payouts of ours: transfers to connected accounts, and what came back.

Reconciliation asks for each (`deposits/reconciling.py`); one that nobody knows becomes a finding there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hushnet.coordinator.ledger.transaction import View
from hushnet.coordinator.payments.payouts.fees import CENT
from hushnet.coordinator.payments.payouts.model import LANDED_STATES, Payout, PayoutState
from hushnet.coordinator.payments.stripe.objects import Transaction as Moved


def is_landed(view: View, moved: Moved) -> bool:
    """Say whether the books have the transfer that `moved` is of."""
    found = view.rows(Payout).find(transfer=moved.source, limit=1)
    ended = (PayoutState.PAID, PayoutState.RETURNED)
    return bool(found) and found[0].net == -moved.amount * CENT and found[0].state in (*LANDED_STATES, *ended)


def is_back(view: View, moved: Moved) -> bool:
    """Say whether the books have the reversal that `moved` is of."""
    found = view.rows(Payout).find(reversal=moved.source, limit=1)
    if not found or found[0].net != moved.amount * CENT:
        return False
    return found[0].is_reversed or found[0].state is PayoutState.RETURNED


MATCHERS: Final[Mapping[str, Callable[[View, Moved], bool]]] = {"transfer": is_landed, "transfer_refund": is_back}
"""By type of balance transaction."""
