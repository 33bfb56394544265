"""Which providers have lately read the beginning of a conversation, by its keyed tags. Pure: time is passed in.

The memory is bounded three times: entries in all, entries of one account, providers of one prefix. A tag counts only for
the account that brought it and the model it was brought for, so that nobody gains by another's tag. What a provider
held is forgotten at once when it leaves or no longer offers the model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple, TypeAlias

from hushnet.dialects.affinity import TAGS_MAX, PrefixTag
from hushnet.foundation.ids import AccountId, ModelId, ProviderId

_NOBODY: Final[Mapping[ProviderId, int]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AffinityLimits:
    """What the memory may hold. An entry of one provider takes about 0.45 KiB: 30 MiB in all."""

    entries_max: int = 65_536
    entries_of_account_max: int = 8_192
    """Two thousand conversations of one account at a time: more than the caches of any providers it is likely to find."""
    providers_max: int = 4
    """The latest so many that served a prefix; older ones have less of it left."""
    life_s: float = 600.0
    """A provider's cache holds a prefix until other work takes its place: minutes, where there is any other work."""


class _Served(NamedTuple):
    """A provider served the prefix: when, and in which of its epochs."""

    provider_id: ProviderId
    epoch: int
    at_s: float


_Key: TypeAlias = tuple[ModelId, bytes]
_Entries: TypeAlias = OrderedDict[_Key, tuple[_Served, ...]]
_DEFAULT: Final = AffinityLimits()


class AffinityMemory:
    """Prefix → providers, least recently used first, in accounts of which the one that was idle longest comes first."""

    def __init__(self, limits: AffinityLimits = _DEFAULT) -> None:
        self._limits = limits
        self._accounts: OrderedDict[AccountId, _Entries] = OrderedDict()
        self._size = 0
        self._epochs: dict[ProviderId, dict[ModelId, int]] = {}
        self._next_epoch = count(1)

    def __len__(self) -> int:
        return self._size

    def likely(
        self, account: AccountId, model: ModelId, tags: Sequence[PrefixTag], *, now_s: float
    ) -> Mapping[ProviderId, int]:
        """Return how many tokens of a prompt with these prefixes each provider is likely to have read before."""
        entries = self._accounts.get(account) if tags else None
        if entries is None:
            return _NOBODY
        cached: dict[ProviderId, int] = {}
        for tag in tags:
            for served in entries.get((model, tag.tag), ()):
                if self._holds(served, model, now_s) and tag.tokens > cached.get(served.provider_id, 0):
                    cached[served.provider_id] = tag.tokens
        return cached

    def note(
        self, account: AccountId, model: ModelId, tags: Sequence[PrefixTag], provider_id: ProviderId, *, now_s: float
    ) -> None:
        """Remember that `provider_id` has read prompts up to these prefixes for `account`."""
        if not tags:
            return
        epochs = self._epochs.setdefault(provider_id, {})
        epoch = epochs.get(model)
        if epoch is None:
            epoch = epochs[model] = next(self._next_epoch)
        entries = self._accounts.setdefault(account, OrderedDict())
        self._accounts.move_to_end(account)
        for tag in tags:
            self._put(entries, (model, tag.tag), _Served(provider_id, epoch, now_s), now_s)
        self._shrink(account, entries)
        self._expire(now_s)

    def offered(self, provider_id: ProviderId, models: Collection[ModelId]) -> None:
        """Forget what a provider held of models other than `models`: none of them where it has left."""
        epochs = self._epochs.get(provider_id)
        if epochs is None:
            return
        for model in [model for model in epochs if model not in models]:
            del epochs[model]
        if not epochs:
            del self._epochs[provider_id]

    def _holds(self, served: _Served, model: ModelId, now_s: float) -> bool:
        is_fresh = now_s - served.at_s < self._limits.life_s
        return is_fresh and self._epochs.get(served.provider_id, {}).get(model) == served.epoch

    def _put(self, entries: _Entries, key: _Key, served: _Served, now_s: float) -> None:
        before = entries.get(key)
        if before is None:
            self._size += 1
            entries[key] = (served,)
            return
        others = (
            each for each in before if each.provider_id != served.provider_id and self._holds(each, key[0], now_s)
        )
        entries[key] = (served, *others)[: self._limits.providers_max]
        entries.move_to_end(key)

    def _shrink(self, account: AccountId, entries: _Entries) -> None:
        while len(entries) > self._limits.entries_of_account_max:
            self._drop(account, entries)
        while self._size > self._limits.entries_max:
            # Whoever has more than an equal share gives way to the others, and nobody else for it.
            if len(entries) * len(self._accounts) > self._limits.entries_max:
                self._drop(account, entries)
            else:
                idle, its_entries = next(iter(self._accounts.items()))
                self._drop(idle, its_entries)

    def _expire(self, now_s: float) -> None:
        """Drop a few entries that are too old: more than a request brings, so that the memory shrinks when little is new."""
        for _ in range(2 * TAGS_MAX):
            account, entries = next(iter(self._accounts.items()))
            latest = next(iter(entries.values()))[0]
            if now_s - latest.at_s < self._limits.life_s:
                return
            self._drop(account, entries)

    def _drop(self, account: AccountId, entries: _Entries) -> None:
        entries.popitem(last=False)
        self._size -= 1
        if not entries:
            del self._accounts[account]
