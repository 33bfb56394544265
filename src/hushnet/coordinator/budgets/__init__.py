"""Budgets: how much a key, an account or one request may cost, per reset period.

Nouns: a *cap* is a ceiling of one scope, subject and period; a *window* is one run of its period, with what was spent and is
held in it; an *allowance* is every cap that a request counts against, as of now.
A domain of the coordinator above the ledger: the ledger enforces caps under its locks, this package says which apply.
"""

from hushnet.coordinator.budgets.model import Budget, Cap, CapScope, CapWindow, Period
from hushnet.coordinator.budgets.service import BudgetBook

__all__ = ["Budget", "BudgetBook", "Cap", "CapScope", "CapWindow", "Period"]
