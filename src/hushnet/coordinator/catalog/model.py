"""Tariffs and discounts as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hushnet.foundation.ids import AccountId, ModelId
from hushnet.foundation.money import Price

DEFAULT_TARIFF_ID: Final = 0
"""The id that stands for the price in the settings: a model without a row."""
EVERY_MODEL: Final = ModelId("*")
"""In a discount: the models for which its owner has named none."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """A model's price from `from_ms` on, until a later tariff of the same model takes over. Rows are never changed."""

    id: int
    model: ModelId
    price: Price
    from_ms: int


@dataclass(frozen=True, slots=True)
class Discount:
    """What all machines of `owner` take off a model's price from `from_ms` on, until a later one takes over.

    Rows are never changed. `model` may be `EVERY_MODEL`; what is said of one model counts before that.
    """

    owner: AccountId
    model: ModelId
    bps: int
    from_ms: int
