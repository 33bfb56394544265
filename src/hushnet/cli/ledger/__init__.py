"""`hush ledger`: the operator's books, beside a live coordinator or without one."""

from hushnet.cli.ledger.check import app, checked_books

__all__ = ["app", "checked_books"]
