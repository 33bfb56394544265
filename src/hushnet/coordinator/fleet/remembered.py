"""What outlives a provider's links, in bounded memory: of those that are not here, the longest unseen goes first. Pure.

Who is here is never forgotten, however many identities come and go beside it: those are as many as there are links. Each is
found to be here once and set aside until it leaves, so that forgetting one looks at few.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, TypeVar

from hushnet.foundation.ids import ProviderId

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """One value a provider, `most` in all unless more than that are here."""

    def __init__(self, most: int, *, is_here: Callable[[ProviderId, Value], bool]) -> None:
        self._most = most
        self._is_here = is_here
        self._here: dict[ProviderId, Value] = {}
        self._others: OrderedDict[ProviderId, Value] = OrderedDict()
        """By when they were seen last; some may be here and not found to be yet."""

    def __len__(self) -> int:
        return len(self._here) + len(self._others)

    def __contains__(self, provider_id: ProviderId) -> bool:
        return provider_id in self._here or provider_id in self._others

    def items(self) -> Iterator[tuple[ProviderId, Value]]:
        """Iterate over all that is remembered."""
        return chain(self._here.items(), self._others.items())

    def get(self, provider_id: ProviderId) -> Value | None:
        """Return a provider's value to look at: that does not count as seeing it."""
        found = self._here.get(provider_id)
        return found if found is not None else self._others.get(provider_id)

    def seen(self, provider_id: ProviderId, new: Callable[[], Value]) -> Value:
        """Return a provider's value, `new()` where there is none, and forget another where it is one too many."""
        found = self._here.get(provider_id)
        if found is not None:
            return found
        if provider_id in self._others:
            self._others.move_to_end(provider_id)
            return self._others[provider_id]
        value = self._others[provider_id] = new()
        self._trim()
        return value

    def left(self, provider_id: ProviderId) -> None:
        """Let a provider that is gone be forgotten when its turn comes."""
        if provider_id in self._here:
            self._others[provider_id] = self._here.pop(provider_id)
            self._trim()
        elif provider_id in self._others:
            self._others.move_to_end(provider_id)

    def _trim(self) -> None:
        """Forget down to the bound; never whoever was seen last."""
        while len(self) > self._most and len(self._others) > 1:
            provider_id, value = self._others.popitem(last=False)
            if self._is_here(provider_id, value):
                self._here[provider_id] = value
