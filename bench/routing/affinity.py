"""Where a conversation's prompt was read before: what the router is told as `cached`, learnt from what was served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from bench.routing.machines import Asked
from hushnet.coordinator.fleet.affinity import AffinityMemory
from hushnet.dialects.affinity import TAGS_MAX, PrefixTag
from hushnet.foundation.ids import AccountId, ModelId, ProviderId

ACCOUNT: Final = AccountId(1)
MODEL: Final = ModelId("bench")


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


class Remembered:
    """The coordinator's own memory: a tag for the prompt of each turn, all of one account."""

    def __init__(self) -> None:
        self._memory = AffinityMemory()

    def likely(self, asked: Asked, now_s: float) -> Mapping[ProviderId, int]:
        return self._memory.likely(ACCOUNT, MODEL, _tags(asked), now_s=now_s)

    def served(self, asked: Asked, provider_id: ProviderId, now_s: float) -> None:
        self._memory.note(ACCOUNT, MODEL, _tags(asked), provider_id, now_s=now_s)


def _tags(asked: Asked) -> list[PrefixTag]:
    """Return the tags of the latest turns, each with the size class of its prompt."""
    turns = list(enumerate(asked.prompts))[-TAGS_MAX:]
    return [PrefixTag(b"%d %d" % (asked.conversation, turn), prompt.bit_length() - 1) for turn, prompt in turns]
