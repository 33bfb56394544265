"""Questions about an owner's usage and income, and their answers. Amounts are micro-USD, times ms since 1970 UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from hushnet.coordinator.ledger.chart import Kind
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId

TIME_MAX_MS: Final = 1 << 52
"""Beyond any time that is asked for, and ids of it still fit."""
BUCKETS: Final = (Kind.PROMO, Kind.PAID, Kind.EARNINGS, Kind.IN_TRANSIT, Kind.FROZEN, Kind.OWED)
"""The accounts of an owner, in the order in which a statement shows them."""


class Side(StrEnum):
    """Whether an owner's requests are looked at, or those that its machines served."""

    CONSUMER = "consumer"
    PROVIDER = "provider"


class Part(StrEnum):
    """What a sum is split by."""

    DAY = "day"
    MODEL = "model"
    KEY = "key"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Scope:
    """The requests of one owner that were settled in `from_ms` (inclusive) .. `to_ms` (exclusive)."""

    owner: AccountId
    side: Side = Side.CONSUMER
    from_ms: int = 0
    to_ms: int = TIME_MAX_MS
    model: ModelId | None = None
    key: ApiKeyId | None = None


class Group(NamedTuple):
    """A sum over requests. `parts` says of which, in the order that was asked for; `amount` is what was paid for them:
    by the owner on the consumer's side, to the owner on the provider's."""

    parts: tuple[int | str, ...]
    requests: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    amount: int


class Income(NamedTuple):
    """What facts of one kind credited to an owner's earnings on one day (since 1970)."""

    code: int
    day: int
    amount: int


@dataclass(frozen=True, slots=True)
class Movement:
    """One fact as it moved an owner's balances. `reference` is its key, or the request's id."""

    fact: int
    at_ms: int
    code: int
    reference: str
    detail: str
    changes: Mapping[Kind, int]
