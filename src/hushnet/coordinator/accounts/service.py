"""The service of accounts: make them, make and revoke keys, and say who calls.

A key that was seen lately is answered from memory, without a database. A revocation here empties that memory before it
returns, also for look-ups that are under way, and that of the other workers (`spread`); processes that are not joined to
this one follow within `key_cache_s`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from hushnet.coordinator.accounts import rules
from hushnet.coordinator.accounts.model import Account, ApiKey, Caller, KeyStanding, NewKey, Scope
from hushnet.coordinator.accounts.store import AccountStore
from hushnet.coordinator.settings import AccessSettings
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import AccessError, CapacityError, RequestError
from hushnet.foundation.ids import AccountId, ApiKeyId

_LOG = logging.getLogger(__name__)

LOOKUPS_MAX: Final = 16
"""Look-ups in the database at once: a flood of made-up keys must not take the database from those who pay."""
STALE_READS_MAX: Final = 4
OPERATOR_ACCOUNT: Final = "operator"


Spread: TypeAlias = Callable[[AccountId, ApiKeyId | None, bool], Awaitable[None]]
"""Tells the other processes that a key, or with None all of an account, must be looked up again; and whether it is barred."""
Barred: TypeAlias = Callable[[AccountId, ApiKeyId | None], None]
"""Hears of a key of an account that was revoked; of None when the whole account was closed."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    standing: KeyStanding
    caller: Caller
    until_s: float


class Accounts:
    """Accounts and keys of one coordinator; one instance a process."""

    def __init__(self, store: AccountStore, clock: Clock, *, settings: AccessSettings | None = None) -> None:
        settings = settings or AccessSettings()
        self._store = store
        self._clock = clock
        self._memory: OrderedDict[ApiKeyId, _Remembered] = OrderedDict()
        self._memory_max = settings.keys_cached_max
        self._memory_s = settings.key_cache_s
        self._epoch = 0
        self._listeners: list[Barred] = []
        self.spread: Spread | None = None
        """Set where other processes serve the same accounts: what is barred here is barred there before this returns."""
        self._lookups = asyncio.Semaphore(LOOKUPS_MAX)
        self._rate = rules.RateLimit(
            rate=settings.requests_per_s, burst=settings.burst, keys_max=settings.keys_cached_max
        )

    def subscribe(self, listener: Barred) -> None:
        """Have `listener` called when this process bars a key or an account: what they opened has to end."""
        self._listeners.append(listener)

    async def authenticate(self, authorization_header: str | None, scope: Scope) -> Caller:
        """Return the caller behind an `Authorization` header.

        Raises `AccessError` `invalid_api_key` (missing, malformed, unknown, wrong or revoked: the same answer),
        `wrong_scope`, `account_closed`; `CapacityError` `rate_limited`; `StorageError`.
        """
        parsed = rules.parse_key(rules.bearer_of(authorization_header))
        if parsed is None:
            raise _invalid_key()
        known = self._remembered(parsed.id) or await self._look_up(parsed.id)
        if known is None or not rules.is_secret_of(parsed.secret, known.standing.key.digest):
            raise _invalid_key()
        if known.standing.key.revoked_ms is not None or known.caller.scope is not parsed.scope:
            raise _invalid_key()
        if known.caller.scope is not scope:
            raise AccessError(f"this needs a key of scope {scope}", code="wrong_scope")
        if known.standing.is_account_closed:
            raise AccessError("this account is closed", code="account_closed")
        wait_s = self._rate.take(parsed.id, self._clock.monotonic_s())
        if wait_s:
            raise CapacityError("this key calls too fast", code="rate_limited", retry_after_s=wait_s)
        return known.caller

    async def create_account(self, name: str) -> tuple[Account, bool]:
        """Return the account of that name and whether it is new; the same name gives the same account."""
        wanted = Account(rules.new_account_id(), rules.checked_name(name, at_least=1), self._clock.now_ms())
        account = await self._store.add_account(wanted)
        return account, account.id == wanted.id

    async def account(self, account_id: AccountId) -> Account | None:
        return await self._store.account(account_id)

    async def bar_account(self, account_id: AccountId) -> bool:
        """Bar an account; its keys stop working at once. False when there is none."""
        found = await self._store.bar_account(account_id, self._clock.now_ms())
        await self._spread(account_id, is_barred=found)
        return found

    async def closed(self, account_id: AccountId) -> None:
        """Have every process stop the keys of an account whose row was closed elsewhere, and end what they opened."""
        await self._spread(account_id, is_barred=True)

    async def refresh(self, account_id: AccountId) -> None:
        """Have every process look an account's keys up again: what goes with them has changed."""
        await self._spread(account_id, is_barred=False)

    async def _spread(self, account_id: AccountId, *, is_barred: bool) -> None:
        self.changed(account_id, None, is_barred=is_barred)
        if self.spread is not None:
            await self.spread(account_id, None, is_barred)

    def changed(self, account_id: AccountId, key_id: ApiKeyId | None, *, is_barred: bool) -> None:
        """Forget a key, or with None all keys of an account; `is_barred`: what they have opened ends."""
        held = (id_ for id_, known in self._memory.items() if known.caller.account_id == account_id)
        self._forget(*(tuple(held) if key_id is None else (key_id,)))
        if is_barred:
            for listener in self._listeners:
                listener(account_id, key_id)

    async def create_key(self, account_id: AccountId, scope: Scope, name: str) -> NewKey:
        """Make a key; its text is in the answer and nowhere else.

        Raises `RequestError` `account_not_found`, `too_many_keys`, or for a bad name.
        """
        if await self._store.account(account_id) is None:
            raise RequestError("there is no such account", code="account_not_found")
        secret = rules.new_secret()
        key = ApiKey(
            id=rules.new_key_id(),
            account=account_id,
            scope=scope,
            name=rules.checked_name(name),
            digest=rules.digest_of(secret),
            created_ms=self._clock.now_ms(),
        )
        if not await self._store.add_key(key, live_max=rules.KEYS_LIVE_MAX):
            raise RequestError(f"an account has at most {rules.KEYS_LIVE_MAX} live keys", code="too_many_keys")
        _LOG.info("key created", extra={"account_id": account_id, "key_id": key.id, "scope": scope.value})
        return NewKey(key, rules.write_key(scope, key.id, secret))

    async def keys_of(self, account_id: AccountId) -> Sequence[ApiKey]:
        """Return the account's keys, oldest first, revoked ones too."""
        return await self._store.keys_of(account_id)

    async def operator_keys(self, *, is_revoked_too: bool = False) -> Sequence[ApiKey]:
        """Return the operators' keys of every account, oldest first: those that work, or all."""
        found = await self._store.keys_of_scope(Scope.OPERATOR)
        return [key for key in found if is_revoked_too or key.revoked_ms is None]

    async def revoke_key(self, key_id: ApiKeyId, *, account_id: AccountId) -> bool:
        """Revoke a key of that account, at once; True also when it was revoked before, False when it has none such."""
        found = await self._store.revoke_key(key_id, account_id=account_id, at_ms=self._clock.now_ms())
        self.changed(account_id, key_id, is_barred=found)
        if found:
            _LOG.info("key revoked", extra={"account_id": account_id, "key_id": key_id})
        if self.spread is not None:
            await self.spread(account_id, key_id, found)
        return found

    async def is_initialised(self) -> bool:
        """Say whether somebody holds an operator key."""
        return bool(await self.operator_keys())

    def _remembered(self, key_id: ApiKeyId) -> _Remembered | None:
        known = self._memory.get(key_id)
        if known is None or known.until_s < self._clock.monotonic_s():
            return None
        self._memory.move_to_end(key_id)
        return known

    async def _look_up(self, key_id: ApiKeyId) -> _Remembered | None:
        for _ in range(STALE_READS_MAX):
            epoch = self._epoch
            async with self._lookups:
                standing = await self._store.key(key_id)
            if standing is None:
                return None
            key = standing.key
            known = _Remembered(
                standing,
                Caller(key.account, key.id, key.scope, standing.referrer),
                self._clock.monotonic_s() + self._memory_s,
            )
            if epoch == self._epoch:
                self._memory[key_id] = known
                if len(self._memory) > self._memory_max:
                    self._memory.popitem(last=False)
                return known
        raise CapacityError("keys change too fast", code="busy")

    def _forget(self, *key_ids: ApiKeyId) -> None:
        self._epoch += 1
        for key_id in key_ids:
            self._memory.pop(key_id, None)


def _invalid_key() -> AccessError:
    return AccessError("the API key is missing, unknown or revoked", code="invalid_api_key")
