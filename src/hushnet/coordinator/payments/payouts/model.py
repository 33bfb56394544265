"""The rows of payouts: where an owner wants money to go, each payout on its way, and each account at Stripe Connect.

Amounts are micro-USD and whole cents; `units` are a coin's smallest units here (design/ledger.md section 1). Rows are
values: a change is a new row that is saved in the transaction that read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from hushnet.foundation.errors import LocalProtocolError

STRIPE: Final = "stripe"
COIN: Final = "coin"
RAILS: Final = (STRIPE, COIN)


class PayoutState(IntEnum):
    """Where a payout is (design/ledger.md section 7)."""

    REQUESTED = 0
    """The money is set aside; nothing has been sent, and the owner may still cancel."""
    SENDING = 1
    """The first call to the rail is on its way, with whatever outcome."""
    LANDED = 2
    """Stripe: the money is in the connected account."""
    IN_TRANSIT = 3
    """On its way to the bank, or the coins are sent and not yet confirmed."""
    PAID = 4
    REVERSING = 5
    """Stripe: the payout failed; the money is being fetched back from the connected account."""
    RETURNED = 6
    """The owner has the money back."""
    CANCELLED = 7
    STUCK = 8
    """Stripe: only a person can say where the money is."""


OPEN_STATES: Final = (
    PayoutState.REQUESTED,
    PayoutState.SENDING,
    PayoutState.LANDED,
    PayoutState.IN_TRANSIT,
    PayoutState.REVERSING,
    PayoutState.STUCK,
)
"""The gross of a payout in these is in in_transit. No owner may ask for another one meanwhile; one that was paid may fail."""

LANDED_STATES: Final = (PayoutState.LANDED, PayoutState.IN_TRANSIT, PayoutState.REVERSING, PayoutState.STUCK)
"""The net of a Stripe payout in these is in the connected account, unless `reversed` says that it came back."""


class OnboardingState(IntEnum):
    """How far an owner's account at Stripe Connect is."""

    CREATING = 0
    """Asked for; its id has not been seen."""
    PENDING = 1
    """Stripe needs something of its owner."""
    REVIEWING = 2
    """Stripe has what it needs and looks at it."""
    READY = 3
    """Stripe pays out to it."""
    REJECTED = 4


@dataclass(frozen=True, slots=True)
class PayoutMethod:
    """One place that an owner's earnings may go to. It is never deleted: payouts name it for ever.

    `address` is a coin's address, or the connected account at Stripe; `asset` and `network` are `usd` and `bank` there.
    """

    TABLE: ClassVar[str] = "payout_methods"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    rail: str
    asset: str
    network: str
    address: str
    tag: int | None
    is_default: bool
    usable_ms: int
    """Not before: a new place cools down."""
    removed_ms: int | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class Payout:
    """One payout. `gross` = `fee` + `net`; `transfer`, `payout` and `reversal` are Stripe's ids, `txid` the chain's.

    `client` is the caller's own id for it, once an owner, and `wish` what was asked under it.
    """

    TABLE: ClassVar[str] = "payouts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    method: int
    rail: str
    instant: bool
    gross: int
    fee: int
    net: int
    state: PayoutState
    transfer: str | None
    payout: str | None
    reversal: str | None
    asset: str | None
    network: str | None
    units: int | None
    rate: int | None
    gateway: str | None
    """Who sends its coins, fixed with the quote: nobody else is ever asked to."""
    txid: str | None
    is_reversed: bool
    """Somebody else reversed the transfer: the money is out of the connected account."""
    reason: str
    """Why it did not arrive, one word of a closed set or of the rail's; empty while nothing went wrong."""
    client: str
    wish: str
    created_ms: int
    updated_ms: int

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def coins(self) -> tuple[str, str, int]:
        """Return asset, network and units of a coin payout that has its quote; raises `LocalProtocolError` without."""
        if self.asset is None or self.network is None or self.units is None:
            raise LocalProtocolError("coins are quoted before they are sent")
        return self.asset, self.network, self.units


@dataclass(frozen=True, slots=True)
class ConnectAccount:
    """An owner's account at Stripe Connect; `account` is empty until Stripe has told its id."""

    TABLE: ClassVar[str] = "connect_accounts"
    KEY: ClassVar[tuple[str, ...]] = ("owner",)

    owner: int
    account: str | None
    state: OnboardingState
    payouts_enabled: bool
    created_ms: int
    updated_ms: int


class Period(IntEnum):
    """How often a plan asks for a payout: Mondays, or the first of a month, at midnight UTC."""

    WEEKLY = 1
    MONTHLY = 2


@dataclass(frozen=True, slots=True)
class PayoutPlan:
    """An owner's wish to be paid regularly: everything that may leave, when it is at least `threshold`."""

    TABLE: ClassVar[str] = "payout_plans"
    KEY: ClassVar[tuple[str, ...]] = ("owner",)

    owner: int
    period: Period
    threshold: int
    method: int | None
    """None: the default one of then."""
    next_ms: int
    reason: str
    """Why the last time asked for nothing, a stable code; empty when it did."""
    created_ms: int
