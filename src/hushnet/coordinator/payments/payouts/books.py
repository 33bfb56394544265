"""The fact of each step of a payout: who has the money now (design/ledger.md section 4, the payout rows).

The ledger gives money back only when the rail says that it is back with us.
"""

from __future__ import annotations

from typing import Final

from hushnet.coordinator.ledger.chart import Kind, coin_account, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg
from hushnet.coordinator.payments.payouts.model import COIN, LANDED_STATES, STRIPE, Payout
from hushnet.coordinator.payments.payouts.transitions import Posting

_STRIPE: Final = operator_account(Kind.STRIPE)
_CONNECT: Final = operator_account(Kind.CONNECT)
_FEES: Final = operator_account(Kind.PAYOUT_FEES)
_FX: Final = operator_account(Kind.FX)


def fact_of(payout: Payout, posting: Posting, *, actor: str) -> Fact:
    """Return the fact that `posting` is, of a payout as it stood before the step."""
    key = f"payout:{payout.id}:{posting}"
    return Fact(key, Code.PAYOUT, legs_of(payout, posting), actor=actor, owner=payout.owner)


def legs_of(payout: Payout, posting: Posting) -> tuple[Leg, ...]:
    """Return what moves; a fee of nothing moves nothing."""
    return tuple(leg for leg in _legs(payout, posting) if leg.amount)


def _legs(payout: Payout, posting: Posting) -> tuple[Leg, ...]:
    earnings = user_account(payout.owner, Kind.EARNINGS)
    in_transit = user_account(payout.owner, Kind.IN_TRANSIT)
    match posting:
        case Posting.REQUESTED:
            return (Leg(earnings, in_transit, payout.gross),)
        case Posting.LANDED:
            return (Leg(_CONNECT, _STRIPE, payout.net),)
        case Posting.REVERSED:
            return (Leg(_STRIPE, _CONNECT, payout.net),)
        case Posting.PAID:
            return (*_delivered(payout, in_transit), Leg(in_transit, _FEES, payout.fee))
        case Posting.UNPAID:
            return (Leg(_CONNECT, in_transit, payout.net), Leg(_FEES, in_transit, payout.fee))
        case Posting.RETURNED:
            back = (Leg(_STRIPE, _CONNECT, payout.net),) if is_at_connect(payout) else ()
            return (*back, Leg(in_transit, earnings, payout.gross))


def is_at_connect(payout: Payout) -> bool:
    """Whether the books have this payout's net in the connected account."""
    return payout.rail == STRIPE and payout.state in LANDED_STATES and not payout.is_reversed


def _delivered(payout: Payout, in_transit: int) -> tuple[Leg, ...]:
    if payout.rail != COIN:
        return (Leg(in_transit, _CONNECT, payout.net),)
    asset, network, units = payout.coins
    sold = Leg(coin_account(asset, network, "fx_coin"), coin_account(asset, network, "coin"), units)
    return (Leg(in_transit, _FX, payout.net), sold)
