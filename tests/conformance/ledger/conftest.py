from support.ledger import books

__all__ = ["books"]
