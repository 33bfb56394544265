"""What a payout costs its owner: gross, fee and net, all whole cents.

Standard payouts are free; an instant one costs max(1.5 %, $0.50), rounded up to a cent (design/ledger.md section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import BASIS_POINTS_ONE, TRANSFER_MICRO_USD_MAX, require_int

CENT: Final = 10_000
"""Micro-USD of one cent."""


class PayoutTooSmallError(RequestError):
    """The payout is below the least that is sent."""

    code = "payout_too_small"


@dataclass(frozen=True, slots=True)
class Tariff:
    """What payouts cost and the least that is sent, in basis points and cents."""

    instant_fee_bps: int = 150
    instant_fee_cents_min: int = 50
    gross_cents_min: int = 100


@dataclass(frozen=True, slots=True)
class Split:
    """One payout's amounts in micro-USD: `gross` leaves the owner's earnings, `net` arrives."""

    gross: int
    fee: int
    net: int

    @property
    def net_cents(self) -> int:
        return self.net // CENT


def whole_cents(amount: int) -> int:
    """Return as much of `amount` (micro-USD, not negative) as is whole cents."""
    return amount - amount % CENT


def split(gross: int, tariff: Tariff, *, is_instant: bool) -> Split:
    """Split `gross` into fee and net; raises `AmountError` out of bounds, `PayoutTooSmallError` below the minimum."""
    require_int("a payout", gross, 1, TRANSFER_MICRO_USD_MAX)
    if gross % CENT:
        raise PayoutTooSmallError("a payout is whole cents", code="amount_out_of_bounds")
    if gross < tariff.gross_cents_min * CENT:
        raise PayoutTooSmallError(f"a payout is at least {tariff.gross_cents_min} cents")
    fee = _instant_fee(gross, tariff) if is_instant else 0
    if fee >= gross:
        raise PayoutTooSmallError("the fee of an instant payout leaves nothing of this amount")
    return Split(gross, fee, gross - fee)


def _instant_fee(gross: int, tariff: Tariff) -> int:
    share_cents = -(-gross * tariff.instant_fee_bps // (BASIS_POINTS_ONE * CENT))
    return max(share_cents, tariff.instant_fee_cents_min) * CENT
