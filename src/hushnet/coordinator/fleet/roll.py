"""The roll of live providers by what a consumer may call them: the first digits of their ids, and whose they are."""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Final, Protocol, TypeVar

from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.foundation.ids import AccountId, ProviderId

PREFIX_DIGITS: Final = 12
"""The shortest name: 48 bits, of which no two honest providers of one network have the same."""
_Key = TypeVar("_Key")
_NONE: Final[Set[ProviderId]] = frozenset()


class Live(Protocol):
    """Who is there now (`fleet.Fleet`)."""

    def get(self, provider_id: ProviderId) -> LiveProvider | None: ...


class Roll:
    """Kept by watching the fleet (`fleet.watch(roll.changed)`); nothing here looks at every provider."""

    def __init__(self, fleet: Live) -> None:
        self._fleet = fleet
        self._owners: dict[ProviderId, AccountId] = {}
        self._owned: dict[AccountId, set[ProviderId]] = {}
        self._named: dict[str, set[ProviderId]] = {}

    def changed(self, provider: LiveProvider) -> None:
        """Take note of a provider that has come, left, or changed in any way."""
        provider_id = provider.provider_id
        live, known = self._fleet.get(provider_id), self._owners.get(provider_id)
        owner = None if live is None else live.owner.account_id
        if owner == known:
            return
        if known is not None:
            del self._owners[provider_id]
            _remove(self._owned, known, provider_id)
            _remove(self._named, provider_id[:PREFIX_DIGITS], provider_id)
        if owner is not None:
            self._owners[provider_id] = owner
            self._owned.setdefault(owner, set()).add(provider_id)
            self._named.setdefault(provider_id[:PREFIX_DIGITS], set()).add(provider_id)

    def owned_by(self, account: AccountId) -> Set[ProviderId]:
        """Return the live providers of an account, whatever they serve."""
        return self._owned.get(account, _NONE)

    def named(self, prefix: str) -> Collection[ProviderId]:
        """Return the live providers whose ids begin with `prefix`, of at least `PREFIX_DIGITS` digits."""
        return [each for each in self._named.get(prefix[:PREFIX_DIGITS], ()) if each.startswith(prefix)]


def _remove(sets: dict[_Key, set[ProviderId]], key: _Key, provider_id: ProviderId) -> None:
    members = sets[key]
    members.discard(provider_id)
    if not members:
        del sets[key]
