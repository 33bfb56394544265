"""The models of a provider: which are loaded, which could be, within a memory budget.

Nouns: shelved model, shelf (loads, frees, supervises), offer and activity (what the link tells of them), budget.
"""

from hushnet.provider.shelf.shelf import Shelf, ShelfLimits

__all__ = ["Shelf", "ShelfLimits"]
