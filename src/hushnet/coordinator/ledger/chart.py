"""The chart of accounts: which accounts exist, whose they are, and how far each may go below or above zero.

Account ids are computed, never looked up: a user's is `owner << 4 | kind` with owner >= 2**16, an operator's is
`kind << 8 | lane`, always below 2**20. An operator account is one row per lane and a writer touches only its own
lane's rows; the balance is their sum. In operations operator accounts are named with lane 0; the planner puts its own.
Each asset is a ledger of its own. A coin on one network is an asset with three operator accounts, in that coin's units,
whose ids have `256 + 4 * (its place in COINS)` + 0, 1, 2 where the kind stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, Literal

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
    COIN = 256
    FX_COIN = 257
    GATEWAY_FEES = 258


COINS: Final = (
    *("BTC.bitcoin", "BCH.bitcoin-cash", "ETH.ethereum", "SOL.solana", "POL.polygon"),
    *("BNB.bsc", "XRP.ripple", "ADA.cardano", "DOGE.dogecoin"),
    *("USDT.ethereum", "USDT.polygon", "USDT.solana"),
    *("USDC.ethereum", "USDC.polygon", "USDC.solana", "USDC.base"),
)
"""Assets that are not dollars: a coin and the network it is on. The order is in account ids and never changes."""

_COIN_KINDS: Final = {"coin": Kind.COIN, "fx_coin": Kind.FX_COIN, "gateway_fees": Kind.GATEWAY_FEES}


SPENDABLE: Final = (Kind.PROMO, Kind.PAID, Kind.EARNINGS)
"""The buckets that a hold takes from, in this order."""
OF_USERS: Final = (*SPENDABLE, Kind.IN_TRANSIT, Kind.FROZEN, Kind.OWED)


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


def coin_account(asset: str, network: str, what: Literal["coin", "fx_coin", "gateway_fees"], lane: int = 0) -> int:
    """Return the id of one of the three accounts of a coin on a network; raises `ValueError` for one not in `COINS`."""
    return (_COIN_KINDS[what] + 4 * COINS.index(f"{asset}.{network}")) << 8 | lane


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
        return _operator_info(account >> 8, account & LANE_MASK)
    owner, kind = account >> 4, account & 0xF
    if not (OWNER_MIN <= owner <= OWNER_MAX and Kind.PROMO <= kind <= Kind.OWED):
        return None
    floor = Floor.NEVER_POSITIVE if kind == Kind.OWED else Floor.NEVER_NEGATIVE
    return AccountInfo(owner, Kind(kind), USD, 0, floor)


def _operator_info(kind: int, lane: int) -> AccountInfo | None:
    if Kind.REVENUE <= kind <= Kind.UNCLAIMED:
        return AccountInfo(0, Kind(kind), USD, lane, Floor.FREE)
    coin, what = divmod(kind - Kind.COIN, 4)
    if not (0 <= coin < len(COINS) and what < len(_COIN_KINDS)):
        return None
    return AccountInfo(0, Kind(Kind.COIN + what), COINS[coin], lane, Floor.FREE)
