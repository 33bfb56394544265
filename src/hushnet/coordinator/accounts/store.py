"""The store that accounts need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hushnet.coordinator.accounts.model import Account, ApiKey, KeyStanding
from hushnet.foundation.ids import AccountId, ApiKeyId


class AccountStore(Protocol):
    """Rows of accounts and keys. Every method raises `StorageError` when the database fails."""

    async def add_account(self, account: Account) -> Account:
        """Insert `account`, or return the account that already has its name."""
        ...

    async def account(self, account_id: AccountId) -> Account | None: ...

    async def bar_account(self, account_id: AccountId, at_ms: int | None) -> bool:
        """Bar the account, or open it again with None; False when there is none."""
        ...

    async def add_key(self, key: ApiKey, *, live_max: int) -> bool:
        """Insert `key`; False when its account already has `live_max` live keys."""
        ...

    async def key(self, key_id: ApiKeyId) -> KeyStanding | None: ...

    async def keys_of(self, account_id: AccountId) -> Sequence[ApiKey]:
        """Return the account's keys, oldest first, revoked ones too."""
        ...

    async def keys_of_scope(self, scope: str) -> Sequence[ApiKey]:
        """Return the keys of a scope of every account, oldest first, revoked ones too; there are few operators'."""
        ...

    async def revoke_key(self, key_id: ApiKeyId, *, account_id: AccountId, at_ms: int) -> bool:
        """Mark a key of that account revoked; True also when it was before; False when the account has none such."""
        ...
