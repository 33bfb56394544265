"""Tariffs as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hushnet.foundation.ids import ModelId
from hushnet.foundation.money import Price

DEFAULT_TARIFF_ID: Final = 0
"""The id that stands for the price in the settings: a model without a row."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """A model's price from `from_ms` on, until a later tariff of the same model takes over. Rows are never changed."""

    id: int
    model: ModelId
    price: Price
    from_ms: int
