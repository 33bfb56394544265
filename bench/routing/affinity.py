"""Where a conversation's prompt was read before: what the router is told as `cached`, learnt from what was served."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Protocol

from hushnet.foundation.ids import ProviderId

REMEMBERED_MAX: Final = 65_536


class Affinity(Protocol):
    """What the bench asks of a memory; an adapter of this shape puts another one in its place."""

    def likely(self, conversation: int) -> Mapping[ProviderId, int]:
        """Return how many tokens of the conversation each provider has likely kept."""
        ...

    def served(self, conversation: int, provider_id: ProviderId, tokens: int) -> None:
        """Learn that a provider has read and written `tokens` of the conversation."""
        ...


class Nothing:
    """The router by load alone."""

    def likely(self, conversation: int) -> Mapping[ProviderId, int]:
        return {}

    def served(self, conversation: int, provider_id: ProviderId, tokens: int) -> None: ...


class LastServed:
    """The provider that answered last, for as many conversations as fit."""

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        self._known: OrderedDict[int, dict[ProviderId, int]] = OrderedDict()
        self._remembered_max = remembered_max

    def likely(self, conversation: int) -> Mapping[ProviderId, int]:
        return self._known.get(conversation, {})

    def served(self, conversation: int, provider_id: ProviderId, tokens: int) -> None:
        self._known[conversation] = {provider_id: tokens}
        self._known.move_to_end(conversation)
        if len(self._known) > self._remembered_max:
            self._known.popitem(last=False)
