"""What a gateway is to us: it quotes invoices, tells today's rates, says what came in, and some send coins out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from hushnet.coordinator.payments.coins.addresses import Destination
from hushnet.coordinator.payments.coins.assets import Pair
from hushnet.coordinator.payments.coins.model import CoinInvoice, Quote, Sighting
from hushnet.coordinator.payments.payouts.coin_rail import StillWanted

REFERENCE = "hush_reference"
"""The member of a gateway's metadata that names our side: an invoice's or a payout's id, and nothing about its owner."""


def invoice_reference(invoice: int) -> str:
    return f"hush-invoice-{invoice}"


def invoice_of(reference: str) -> int | None:
    """Return the invoice that a reference names, None for anything else."""
    prefix, _, number = reference.rpartition("-")
    is_ours = prefix == "hush-invoice" and number.isascii() and number.isdigit() and len(number) <= 19
    return int(number) if is_ours else None


@dataclass(frozen=True, slots=True)
class Webhook:
    """One verified delivery: its id for the inbox, its kind, whose it is, and the gateway's id of that."""

    event: str
    kind: str
    subject: str


class Word(Enum):
    """What a gateway's word for an event means to us; a word that is in no table means nothing."""

    NOTHING = "nothing"
    SEEN = "seen"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    FAILED = "failed"
    OBJECT = "object"
    """Look at the invoice itself."""
    PAYOUT = "payout"
    """Look at the payout itself."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Confirmed coins of a payment that no invoice of ours knows."""

    pair: Pair
    units: int


class Deliveries(Protocol):
    """What a gateway sends us."""

    @property
    def words(self) -> Mapping[str, Word]:
        """Every kind of event that is known; a kind is compared whole."""
        ...

    def is_genuine(self, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> bool:
        """Say whether the gateway signed these bytes, lately where it says when; `headers` by lower-case name."""
        ...

    def read(self, body: bytes) -> Webhook:
        """Say what a verified delivery is; raises `ValueError` when it cannot be read."""
        ...


class Gateway(Protocol):
    """Where invoices come from. Methods raise `GatewayError` when the gateway does not answer or refuses."""

    @property
    def name(self) -> str: ...

    @property
    def codes(self) -> Mapping[str, str]:
        """What the gateway calls each pair that it is used for, by the pair's name."""
        ...

    async def ask(self, invoice: CoinInvoice, *, is_repeated: bool) -> Quote:
        """Have an address made for an invoice; raises also `AddressError`, `RateError`, `UnitsError`.

        `is_repeated`: it may have been asked before, and no answer came.
        """
        ...

    async def rate(self, pair: Pair) -> int:
        """Return micro-USD per whole coin; raises `RateError`."""
        ...

    async def sighting(self, invoice: CoinInvoice, body: bytes, *, now_ms: int, is_fresh: bool) -> Sighting | None:
        """Return what a delivery says about an invoice; None where it says nothing that can be believed yet.

        What the delivery leaves out is fetched; `is_fresh` has everything fetched.
        """
        ...

    async def look(self, invoice: CoinInvoice, *, now_ms: int) -> Sighting:
        """Return what the gateway says about an invoice now."""
        ...

    async def stray(self, gateway_id: str) -> Stray | None:
        """Return what is confirmed of a payment that no invoice knows; None when it has nothing, or is not theirs."""
        ...


class Sending(Enum):
    """How far a gateway has come with a payout."""

    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    """It surely sent nothing, and won't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Coins to send: `reference` is ours, the same at every try."""

    reference: str
    pair: Pair
    to: Destination
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a gateway says about an order."""

    gateway_id: str
    state: Sending
    txid: str = ""


class PayoutGateway(Protocol):
    """A way to send coins."""

    @property
    def name(self) -> str: ...

    @property
    def codes(self) -> Mapping[str, str]: ...

    async def send(self, order: Order, *, is_wanted: StillWanted) -> Sent:
        """Send an order once, however often it is asked; raises `GatewayError`.

        Who has no idempotency keys asks `is_wanted` before the step that cannot be taken back, after what that step is
        about can be found by others: whoever goes on with the order from then on sees it.
        """
        ...

    async def find(self, order: Order) -> Sent | None:
        """Return what became of an order, None when the gateway shows that it has none that can still be sent."""
        ...
