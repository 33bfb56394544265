"""The store that the catalogue needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hushnet.coordinator.catalog.model import Tariff
from hushnet.foundation.ids import ModelId


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
