"""The row of a coin invoice, its states, and what a gateway tells about one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from hushnet.coordinator.payments.coins.addresses import Destination
from hushnet.coordinator.payments.coins.assets import Pair, pair_of


class InvoiceState(IntEnum):
    """Where an invoice stands (docs/payments-coins.md has the table)."""

    CREATING = 0
    """The gateway has not answered yet: no address, no amount."""
    PENDING = 1
    DETECTED = 2
    """Coins are on their way or have come in part; confirmed ones are credited already."""
    PAID = 3
    UNDERPAID = 4
    EXPIRED = 5
    REVIEW = 6
    """Coins came more than a day after the end; a person decides about them."""
    REVERSED = 7
    REFUSED = 8


OPEN = (InvoiceState.CREATING, InvoiceState.PENDING, InvoiceState.DETECTED)
"""States in which an invoice is shown again to who asks for the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinInvoice:
    """One ask for coins. Amounts in the pair's units but `usd`, `credited`, `suspended` (micro-USD); times in ms.

    `units_in`: confirmed, cumulative, never less than it was. `seen_prompt`, `seen_late`: cumulative units that the
    gateway had seen, confirmed or not, by the end and by a day after it; both grow only, so the order of events does not
    matter. `late_rate` is fixed when the first late coins are applied. `raw` is the gateway's text of the last amount.
    """

    TABLE: ClassVar[str] = "coin_invoices"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    owner: int
    usd: int
    asset: str
    network: str
    units_due: int = 0
    rate: int = 0
    gateway: str
    gateway_id: str | None = None
    address: str = ""
    tag: int | None = None
    url: str = ""
    state: InvoiceState = InvoiceState.CREATING
    units_in: int = 0
    seen_prompt: int = 0
    seen_late: int = 0
    late_rate: int = 0
    credited: int = 0
    suspended: int = 0
    raw: str = ""
    expires_ms: int
    as_of_ms: int = 0
    created_ms: int

    @property
    def pair(self) -> Pair:
        return pair_of(self.asset, self.network)

    @property
    def destination(self) -> Destination:
        return Destination(self.address, self.tag)

    @property
    def subject(self) -> str:
        """How findings name this invoice."""
        return f"coin_invoice:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A gateway's answer to an ask: what to pay, where, until when."""

    gateway_id: str
    destination: Destination
    units_due: int
    expires_ms: int
    url: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a gateway says about the coins of one invoice; amounts are cumulative units of the pair.

    `is_seen` with no amount (a detection often has none) stands for what is due. `at_ms` is the gateway's time of what
    it says; `prompt` and `late` are known where payments are listed one by one, and otherwise follow from `at_ms`.
    """

    at_ms: int
    confirmed: int = 0
    seen: int = 0
    is_seen: bool = False
    prompt: int | None = None
    late: int | None = None
    is_expired: bool = False
    is_failed: bool = False
    is_invalid: bool = False
    raw: str = ""
