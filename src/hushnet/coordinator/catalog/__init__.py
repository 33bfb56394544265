"""The catalogue: which models have a price of their own, since when, and what the others cost.

Nouns: a *model* is a name that consumers ask for; a *tariff* is a model's price from a moment on.
A domain of the coordinator: it states its store in `store.py` and imports no other domain.
"""

from hushnet.coordinator.catalog.model import DEFAULT_TARIFF_ID, Tariff
from hushnet.coordinator.catalog.service import Catalog

__all__ = ["DEFAULT_TARIFF_ID", "Catalog", "Tariff"]
