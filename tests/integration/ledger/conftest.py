"""An empty database of each kind."""

from support.ledger import ledger_url

__all__ = ["ledger_url"]
