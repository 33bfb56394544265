"""Money in the database of one process: domain rows and facts in one transaction.

store.py     transactions and views
rows.py      any table from the dataclass that describes its rows
"""

from hushnet.coordinator.storage.money.store import SqlMoneyStore

__all__ = ["SqlMoneyStore"]
