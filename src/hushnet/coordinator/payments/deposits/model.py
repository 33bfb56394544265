"""The rows of deposits by card: a deposit, what takes money of it back, and the customer that an owner is at Stripe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

RAIL: Final = "stripe"
MICRO_USD_A_CENT: Final = 10_000


class DepositState(IntEnum):
    """Where a deposit stands; 3 never leaves, whatever comes later."""

    CREATED = 0
    """Written down; Stripe is being asked."""
    OPEN = 1
    """Stripe waits for the customer."""
    PROCESSING = 2
    """The customer is done, the bank is not."""
    PAID = 3
    FAILED = 4
    EXPIRED = 5
    HELD = 6
    """Money came that is not what was asked for; it is in suspense and a person decides."""


UNFINISHED: Final = (DepositState.CREATED, DepositState.OPEN, DepositState.PROCESSING)


class Origin(IntEnum):
    """How a deposit came to be."""

    CHECKOUT = 1
    TOPUP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """One deposit. `checkout` and `intent` are Stripe's ids, `refunded` and `disputed` micro-USD."""

    TABLE: ClassVar[str] = "deposits"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    cents: int
    currency: str = "usd"
    origin: Origin = Origin.CHECKOUT
    state: DepositState = DepositState.CREATED
    checkout: str | None = None
    intent: str | None = None
    refunded: int = 0
    disputed: int = 0
    created_ms: int
    updated_ms: int
    client_key: str | None = None
    """The owner's own id for it: asking again with it gives this deposit."""
    digest: str = ""
    """SHA-256 of what was asked, in hex: the same id with other content is a conflict."""
    url: str = ""
    """Where the customer pays."""
    reason: str = ""
    """Why it failed, a word of a closed set."""

    @property
    def amount(self) -> int:
        """Micro-USD."""
        return self.cents * MICRO_USD_A_CENT


class ReversalKind(IntEnum):
    """What takes money back."""

    REFUND = 1
    DISPUTE = 2


class ReversalState(IntEnum):
    """Where a reversal stands."""

    ASKED = 0
    """A refund asked here: its money is set aside, Stripe is being asked."""
    WITHDRAWN = 1
    """A dispute's funds, or a refund's that is on its way, have left our balance at Stripe."""
    BACK = 2
    """The refund failed, the dispute was won: the money is the owner's again."""
    FINAL = 3
    """The refund arrived, the dispute was lost."""
    REINSTATED = 4
    """Stripe gave back what had been lost: in suspense, a person decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """One refund or dispute of a deposit; `object` is Stripe's id, the three parts say where its money was taken."""

    TABLE: ClassVar[str] = "reversals"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    object: str | None = None
    deposit: int
    kind: ReversalKind
    amount: int
    state: ReversalState
    from_paid: int = 0
    from_earnings: int = 0
    from_owed: int = 0
    client_key: str | None = None
    """The operator's id of a refund asked here."""
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeCustomer:
    """Who an owner is at Stripe, the card that it saved, and how it wants to be topped up."""

    TABLE: ClassVar[str] = "stripe_customers"
    KEY: ClassVar[tuple[str, ...]] = ("owner",)

    owner: int
    customer: str | None = None
    """Whose card `method` is."""
    method: str | None = None
    method_ms: int = 0
    """When the payment was made that the card was saved with: of two, the later counts."""
    topup_on: bool = False
    topup_below: int = 0
    """Micro-USD."""
    topup_cents: int = 0
    topup_daily_cents: int = 0
    """At most so much is charged unasked in one day (UTC)."""
    topup_halt: str = ""
    """Why top-ups stopped until the owner acts: the word for the decline."""
    updated_ms: int = 0


@dataclass(frozen=True, slots=True)
class DepositLimits:
    """What a deposit may be, and how the rail behaves."""

    cents_min: int = 500
    cents_max: int = 1_000_000
    success_url: str = ""
    cancel_url: str = ""
    takes_earnings: bool = False
    """Whether a refund or dispute may take earnings when deposits don't cover it."""
