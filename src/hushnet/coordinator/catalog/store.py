"""The stores that the catalogue needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hushnet.coordinator.catalog.model import Discount, Tariff
from hushnet.foundation.ids import AccountId, ModelId


class TariffStore(Protocol):
    """Rows of tariffs: added, never changed. Every method raises `StorageError` when the database fails."""

    async def tariffs(self) -> Sequence[Tariff]:
        """Return what is in force or announced, and what was in force before, in any order."""
        ...

    async def tariffs_of(self, model: ModelId) -> Sequence[Tariff]:
        """Return a model's whole history, latest first."""
        ...

    async def add_tariff(self, tariff: Tariff) -> bool:
        """Insert; False when the model already has a tariff from that very millisecond."""
        ...


class DiscountStore(Protocol):
    """Rows of discounts: added, never changed. Every method raises `StorageError` when the database fails."""

    async def discounts(self, *, now_ms: int, owner: AccountId | None = None) -> Sequence[Discount]:
        """Return what is in force or announced at `now_ms`, of everybody or of one owner, in any order."""
        ...

    async def add_discount(self, discount: Discount, *, since_ms: int, changes_max: int) -> bool | None:
        """Insert; False when the owner has one of that model from that very millisecond.

        None when it has said something of `changes_max` from `since_ms` on or for later: nothing is inserted.
        """
        ...
