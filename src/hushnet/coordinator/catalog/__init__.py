"""The catalogue: which models have a price of their own, since when, what the others cost, and what owners take off.

Nouns: a *model* is a name that consumers ask for; a *tariff* is a model's price from a moment on; a *discount* is what the
machines of one account take off it.
A domain of the coordinator: it states its store in `store.py` and imports no other domain.
"""

from hushnet.coordinator.catalog.discounts import DiscountBook
from hushnet.coordinator.catalog.model import DEFAULT_TARIFF_ID, EVERY_MODEL, Discount, Tariff
from hushnet.coordinator.catalog.service import Catalog

__all__ = ["DEFAULT_TARIFF_ID", "EVERY_MODEL", "Catalog", "Discount", "DiscountBook", "Tariff"]
