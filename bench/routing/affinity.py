"""Where a conversation's prompt was read before: what the router is told as `cached`, learnt from what was served."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Protocol

from bench.routing.machines import Asked
from hushnet.foundation.ids import ProviderId

REMEMBERED_MAX: Final = 65_536


class Affinity(Protocol):
    """What the bench asks of a memory; an adapter of this shape puts another one in its place."""

    def likely(self, asked: Asked, now_s: float) -> Mapping[ProviderId, int]:
        """Return how many tokens of the prompt each provider has likely kept."""
        ...

    def served(self, asked: Asked, provider_id: ProviderId, now_s: float) -> None:
        """Learn that a provider has read the prompt of a turn."""
        ...


class Nothing:
    """The router by load alone."""

    def likely(self, asked: Asked, now_s: float) -> Mapping[ProviderId, int]:
        return {}

    def served(self, asked: Asked, provider_id: ProviderId, now_s: float) -> None: ...


class LastServed:
    """The provider that answered last, for as many conversations as fit.

    It knows the length of the prompt that was read there to its power of two, as a tag that is to tell little would say it.
    """

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        self._known: OrderedDict[int, dict[ProviderId, int]] = OrderedDict()
        self._remembered_max = remembered_max

    def likely(self, asked: Asked, now_s: float) -> Mapping[ProviderId, int]:
        return self._known.get(asked.conversation, {})

    def served(self, asked: Asked, provider_id: ProviderId, now_s: float) -> None:
        self._known[asked.conversation] = {provider_id: 1 << asked.prompt.bit_length() - 1}
        self._known.move_to_end(asked.conversation)
        if len(self._known) > self._remembered_max:
            self._known.popitem(last=False)
