"""Accounts and their API keys: who calls, what the key is for, how fast it may call.

Nouns: an *account* owns money and keys; a *key* has one scope and a secret that is shown once; a *caller* is an
authenticated key. A domain of the coordinator: it states its store in `store.py` and imports no other domain.
"""

from hushnet.coordinator.accounts.model import Account, ApiKey, Caller, NewKey, Scope
from hushnet.coordinator.accounts.providers import ProviderBook, ProviderRecord
from hushnet.coordinator.accounts.service import Accounts

__all__ = ["Account", "Accounts", "ApiKey", "Caller", "NewKey", "ProviderBook", "ProviderRecord", "Scope"]
