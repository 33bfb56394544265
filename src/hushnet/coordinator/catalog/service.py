"""The service of the catalogue: prices from a snapshot in memory, changes through the store.

`price_of` is on the hot path: two dictionary look-ups, no await. Other processes see a change at their next `refresh`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from hushnet.coordinator.catalog import rules
from hushnet.coordinator.catalog.model import DEFAULT_TARIFF_ID, Tariff
from hushnet.coordinator.catalog.store import TariffStore
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import ModelId
from hushnet.foundation.money import Price

_LOG = logging.getLogger(__name__)

SAME_MS_TRIES: Final = 8
_ID_BITS: Final = 52


class Catalog:
    """Prices of every model; `load` before the first use."""

    def __init__(self, store: TariffStore, clock: Clock, *, default: Price) -> None:
        self._store = store
        self._clock = clock
        self._default = default
        self._tariffs: Mapping[ModelId, Sequence[Tariff]] = {}
        self.spread: Callable[[], Awaitable[None]] | None = None
        """Tells the other workers to load again; set where there are any."""

    async def load(self) -> None:
        """Read every tariff into memory; call again to see what other processes changed."""
        self._tariffs = rules.by_model(await self._store.tariffs())

    def price_of(self, model: ModelId) -> Price:
        """Return what `model` costs now: its own price, else the default."""
        return self.tariff_of(model).price

    def tariff_of(self, model: ModelId) -> Tariff:
        """Return the tariff that holds now; id 0 is the default price of the settings."""
        tariffs = self._tariffs.get(model)
        found = rules.in_force(tariffs, self._clock.now_ms()) if tariffs else None
        return found or Tariff(DEFAULT_TARIFF_ID, model, self._default, 0)

    def models(self) -> Sequence[ModelId]:
        """Return the models that have a price of their own, now or announced, by name."""
        return sorted(self._tariffs)

    def announced(self, model: ModelId) -> Sequence[Tariff]:
        """Return the tariffs that the model will have, the next one first."""
        now_ms = self._clock.now_ms()
        return [tariff for tariff in reversed(self._tariffs.get(model, ())) if tariff.from_ms > now_ms]

    @property
    def default(self) -> Price:
        """What a model costs that has no price of its own."""
        return self._default

    async def set_price(self, model: str, price: Price, *, from_ms: int | None = None) -> Tariff:
        """Add a tariff from `from_ms` (now when None); the same price again adds nothing.

        Raises `RequestError` for a name that no model can have, and a moment in the past or more than a year ahead.
        """
        name = rules.checked_model(model)
        now_ms = self._clock.now_ms()
        current = self.tariff_of(name)
        if from_ms is None and current.id != DEFAULT_TARIFF_ID and current.price == price:
            return current
        if from_ms is not None and not now_ms <= from_ms <= now_ms + rules.AHEAD_MS_MAX:
            raise RequestError("a price holds from now or a moment within a year", code="out_of_range")
        start_ms = now_ms if from_ms is None else from_ms
        for shift_ms in range(SAME_MS_TRIES):
            tariff = Tariff(1 + secrets.randbits(_ID_BITS), name, price, start_ms + shift_ms)
            if await self._store.add_tariff(tariff):
                await self.load()
                _LOG.info("price set", extra={"model": name, "serial": tariff.id})
                if self.spread is not None:
                    await self.spread()
                return tariff
        raise RequestError("this model's price was just set by somebody else", code="conflict")

    async def history(self, model: str) -> Sequence[Tariff]:
        """Return every tariff the model has had and is announced to have, latest first."""
        return await self._store.tariffs_of(rules.checked_model(model))
