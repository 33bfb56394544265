"""The subject of the suite: an open ledger on each store."""

from support.ledger import books

__all__ = ["books"]
