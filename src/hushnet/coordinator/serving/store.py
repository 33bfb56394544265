"""What serving needs of those it does not build itself: money, prices, and somebody who counts."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from hushnet.coordinator.ledger.model import Close, CloseOutcome, FreeUse, FreeUseOutcome, Hold, HoldOutcome
from hushnet.coordinator.routing.model import Decision
from hushnet.foundation.ids import AccountId, ModelId, RequestId
from hushnet.foundation.money import Price


class RequestLedger(Protocol):
    """The ledger, as far as a request needs it (`ledger.service.Ledger`)."""

    def next_request_id(self) -> RequestId: ...

    async def hold(self, hold: Hold) -> HoldOutcome: ...

    async def close(self, close: Close) -> CloseOutcome: ...

    async def record_free(self, use: FreeUse) -> FreeUseOutcome: ...

    def note_draft(self, draft: Close) -> None: ...


class Tariff(Protocol):
    """A model's price and the id of its row, 0 for the default."""

    @property
    def id(self) -> int: ...

    @property
    def price(self) -> Price: ...


class Tariffs(Protocol):
    """The catalogue, as far as a request needs it (`catalog.service.Catalog`)."""

    def tariff_of(self, model: ModelId) -> Tariff: ...


class HedgeState(StrEnum):
    """What becomes of a backup attempt: it is sent, and then either wins or not."""

    SENT = "sent"
    WON = "won"
    LOST = "lost"


class Telemetry(Protocol):
    """Counts; every word is one of a closed set, nothing names a person or holds content."""

    def request_ended(self, *, mode: str, outcome: str, seconds: float) -> None: ...

    def first_content(self, *, mode: str, seconds: float) -> None: ...

    def attempt_failed(self, *, reason: str) -> None: ...

    def finding(self, *, kind: str) -> None: ...

    def queued(self, *, seconds: float) -> None: ...

    def decided(self, decision: Decision, *, seconds: float) -> None: ...
    def hedged(self, *, state: str) -> None: ...
    def warmth(self, *, kind: str, reason: str) -> None:
        """Count what became of a model's being loaded: cold_start, load, unload, failed."""
        ...


class EnvelopeClaims(Protocol):
    """What several processes know together of the envelopes that were posted to any of them."""

    async def claim(self, account: AccountId, envelope_id: bytes, *, until: int) -> bool:
        """Say whether nobody has claimed this envelope before; it is remembered until the second `until`."""
        ...


class Silence:
    """Telemetry that counts nothing."""

    def request_ended(self, *, mode: str, outcome: str, seconds: float) -> None: ...

    def first_content(self, *, mode: str, seconds: float) -> None: ...

    def attempt_failed(self, *, reason: str) -> None: ...

    def finding(self, *, kind: str) -> None: ...

    def queued(self, *, seconds: float) -> None: ...

    def decided(self, decision: Decision, *, seconds: float) -> None: ...
    def hedged(self, *, state: str) -> None: ...
    def warmth(self, *, kind: str, reason: str) -> None: ...
