"""Stripe's objects, as far as they are read: decoded strictly (an amount is an int), fields that we don't read left out.

Amounts are in the smallest unit of the currency, cents for `usd`; times are seconds since 1970.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

USD: Final = "usd"
DEPOSIT: Final = "hush_deposit"
"""Metadata: the id of the deposit that a Checkout or a payment is for."""
OWNER: Final = "hush_owner"
REFUND: Final = "hush_refund"
"""Metadata: the id of the reversal that a refund was asked for."""


class Session(msgspec.Struct, frozen=True):
    """A Checkout session: `status` open, complete, expired; `payment_status` paid, unpaid, no_payment_required."""

    id: str
    status: str | None
    payment_status: str
    mode: str
    livemode: bool
    amount_total: int | None = None
    currency: str | None = None
    payment_intent: str | None = None
    customer: str | None = None
    metadata: dict[str, str] | None = None
    url: str | None = None
    expires_at: int = 0


class IntentError(msgspec.Struct, frozen=True):
    """Why the last try to pay failed."""

    code: str | None = None
    decline_code: str | None = None


class Intent(msgspec.Struct, frozen=True):
    """A payment intent: `status` succeeded means that the money is ours."""

    id: str
    status: str
    amount: int
    amount_received: int
    currency: str
    livemode: bool
    created: int
    customer: str | None = None
    payment_method: str | None = None
    latest_charge: str | None = None
    setup_future_usage: str | None = None
    metadata: dict[str, str] = {}
    last_payment_error: IntentError | None = None


class Transaction(msgspec.Struct, frozen=True):
    """A balance transaction: `amount` less `fee` is what our balance at Stripe gained."""

    id: str
    amount: int
    fee: int
    net: int
    currency: str
    type: str
    created: int
    source: str | None = None
    reporting_category: str = ""


class Charge(msgspec.Struct, frozen=True):
    """A charge; only what it belongs to, and what it brought."""

    id: str
    currency: str
    livemode: bool
    payment_intent: str | None = None
    balance_transaction: str | None = None


class Refund(msgspec.Struct, frozen=True):
    """A refund: `status` pending, requires_action, succeeded, failed, canceled."""

    id: str
    amount: int
    currency: str
    status: str | None = None
    charge: str | None = None
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None


class Dispute(msgspec.Struct, frozen=True):
    """A dispute; its balance transactions say what moved, its `status` how it stands."""

    id: str
    amount: int
    currency: str
    status: str
    livemode: bool
    charge: str
    payment_intent: str | None = None
    balance_transactions: list[Transaction] = []

    @property
    def withdrawal(self) -> Transaction | None:
        """The transaction that took the funds, if any has."""
        return next((one for one in self.balance_transactions if one.amount < 0), None)

    @property
    def is_reinstated(self) -> bool:
        """Whether as much came back as had been taken."""
        return self.withdrawal is not None and sum(one.amount for one in self.balance_transactions) >= 0


class Money(msgspec.Struct, frozen=True):
    """An amount of one currency."""

    amount: int
    currency: str


class Balance(msgspec.Struct, frozen=True):
    """What we have at Stripe."""

    available: list[Money]
    pending: list[Money]

    @property
    def usd_cents(self) -> int:
        return sum(one.amount for one in (*self.available, *self.pending) if one.currency == USD)


class Card(msgspec.Struct, frozen=True):
    """A payment method; one that was detached belongs to no customer."""

    id: str
    customer: str | None = None


class Named(msgspec.Struct, frozen=True):
    """Any object, of which only the id matters."""

    id: str


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, newest first."""

    data: list[T]
    has_more: bool


class _Data(msgspec.Struct, frozen=True):
    object: msgspec.Raw


class _Event(msgspec.Struct, frozen=True):
    data: _Data


def object_of(body: bytes, shape: type[T]) -> T:
    """Return the object that an event carries, as `shape`; raises `msgspec.ValidationError` when it is something else."""
    return msgspec.json.decode(msgspec.json.decode(body, type=_Event).data.object, type=shape)
