"""What serving needs of those it does not build itself: money, prices, and somebody who counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from hushnet.coordinator.ledger.model import (
    Capped,
    CapUse,
    Close,
    CloseOutcome,
    FreeUse,
    FreeUseOutcome,
    Hold,
    HoldOutcome,
)
from hushnet.coordinator.routing.model import Decision
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, RequestId
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


class Allowance(Protocol):
    """What one request may cost, None for no bound of its own, and the budget windows that its hold counts in."""

    @property
    def request_max(self) -> int | None: ...

    @property
    def caps(self) -> tuple[CapUse, ...]: ...


class Budgets(Protocol):
    """The budgets of keys and accounts (`budgets.service.BudgetBook`)."""

    async def allowance(self, account_id: AccountId, key_id: ApiKeyId) -> Allowance:
        """Return what a request of a key may cost and counts against. Raises `StorageError`: then it is not served."""
        ...

    def words(self, key_id: ApiKeyId, refusal: Capped) -> str | None:
        """Say, for the key's own holder, which budget refused its hold; None when that is not known any more."""
        ...

    def words_of_maximum(self, request_max: int, amount: int) -> str:
        """Say that one request may cost `amount`, more than the `request_max` that one may."""
        ...


@dataclass(frozen=True, slots=True)
class _Unbounded:
    request_max: int | None = None
    caps: tuple[CapUse, ...] = ()


_UNBOUNDED: Final = _Unbounded()


class NoBudgets:
    """Nobody has a budget."""

    async def allowance(self, account_id: AccountId, key_id: ApiKeyId) -> Allowance:
        return _UNBOUNDED

    def words(self, key_id: ApiKeyId, refusal: Capped) -> str | None:
        return None

    def words_of_maximum(self, request_max: int, amount: int) -> str:
        return ""


class RequestClaim(Protocol):
    """The id that a request has been given under its client's own key, before anything of it is held."""

    @property
    def request_id(self) -> RequestId: ...

    async def release(self) -> None:
        """Forget the claim: nothing was held or sent, so the client's key may be used for another try."""
        ...


KEYED_MS: Final = 86_400_000
"""A client's own key stands for its request for a day."""


class KeyedRequest(NamedTuple):
    """What a client's key stands for. Of key and body only SHA-256 digests are kept."""

    owner: AccountId
    key: bytes
    body: bytes
    request_id: RequestId
    at_ms: int


class RequestKeys(Protocol):
    """The rows of keyed requests. Every method raises `StorageError` when the database fails."""

    async def claim(self, wanted: KeyedRequest) -> KeyedRequest:
        """Insert, unless the owner's key stands for another request, and return the one that it stands for.

        Of two at the same time one is first. Raises `CapacityError` `too_many_request_keys`.
        """
        ...

    async def release(self, claimed: KeyedRequest) -> None:
        """Forget exactly this one."""
        ...


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
