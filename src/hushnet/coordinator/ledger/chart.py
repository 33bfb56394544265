"""The chart of accounts: which accounts exist, whose they are, and how far each may go below or above zero.

Account ids are computed, never looked up: a user's is `owner << 4 | kind` with owner >= 2**16, an operator's is
`kind << 8 | lane`, always below 2**20. An operator account is one row per lane and a writer touches only its own
lane's rows; the balance is their sum. In operations operator accounts are named with lane 0; the planner puts its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

USD: Final = "USD"
OWNER_MIN: Final = 1 << 16
OWNER_MAX: Final = (1 << 59) - 1
OPERATOR_ACCOUNT_LIMIT: Final = 1 << 20
LANE_MASK: Final = 0xFF


class Kind(IntEnum):
    """What an account is for: 1..15 belong to a user, 16.. to the operator."""

    PROMO = 1
    PAID = 2
    EARNINGS = 3
    IN_TRANSIT = 4
    FROZEN = 5
    OWED = 6
    REVENUE = 16
    PAYOUT_FEES = 17
    REFERRAL_PAYABLE = 18
    PROMO_EXPENSE = 19
    REWARD_EXPENSE = 20
    GOODWILL_EXPENSE = 21
    PROCESSOR_FEES = 22
    BAD_DEBT = 23
    STRIPE = 24
    CONNECT = 25
    DISPUTED = 26
    BANK = 27
    X402 = 28
    RECEIVABLE = 29
    FX = 30
    SUSPENSE = 31
    UNCLAIMED = 32


SPENDABLE: Final = (Kind.PROMO, Kind.PAID, Kind.EARNINGS)
"""The buckets that a hold takes from, in this order."""


class Floor(IntEnum):
    """How a balance is bounded: never below zero, never above zero, or free."""

    NEVER_NEGATIVE = 1
    NEVER_POSITIVE = -1
    FREE = 0


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """What an account id says about itself; operator accounts have owner 0."""

    owner: int
    kind: Kind
    asset: str
    lane: int
    floor: Floor


def user_account(owner: int, kind: Kind) -> int:
    """Return the id of `owner`'s account of a user kind."""
    return owner << 4 | kind


def operator_account(kind: Kind, lane: int = 0) -> int:
    """Return the id of an operator account on `lane`; lane 0 in an operation means the writer's own lane."""
    return kind << 8 | lane


def is_operator(account: int) -> bool:
    return account < OPERATOR_ACCOUNT_LIMIT


def on_lane(account: int, lane: int) -> int:
    """Point an operator account at `lane`; a user account is returned as it is."""
    return account & ~LANE_MASK | lane if account < OPERATOR_ACCOUNT_LIMIT else account


@lru_cache(maxsize=1 << 14, typed=True)
def account_info(account: int) -> AccountInfo | None:
    """Return what the id says, or None when no such account can exist."""
    if type(account) is not int or account <= 0:
        return None
    if account < OPERATOR_ACCOUNT_LIMIT:
        kind = account >> 8
        if not Kind.REVENUE <= kind <= Kind.UNCLAIMED:
            return None
        return AccountInfo(0, Kind(kind), USD, account & LANE_MASK, Floor.FREE)
    owner, kind = account >> 4, account & 0xF
    if not (OWNER_MIN <= owner <= OWNER_MAX and Kind.PROMO <= kind <= Kind.OWED):
        return None
    floor = Floor.NEVER_POSITIVE if kind == Kind.OWED else Floor.NEVER_NEGATIVE
    return AccountInfo(owner, Kind(kind), USD, 0, floor)
