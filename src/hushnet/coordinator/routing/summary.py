"""What the router sees of one model, in numbers: how many can take a request now, and what kinds of them there are.

For operators, never on the path of a request: it looks at the whole fleet of a model, some at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from typing import Final

from msgspec import Struct

from hushnet.coordinator.routing.index import ModelIndex
from hushnet.coordinator.routing.model import Candidate, Traits
from hushnet.foundation.ids import ModelId

GROUPS_SHOWN_MAX: Final = 16
"""Builds and regions are the providers' own words: as many as there are providers, and the rare ones tell little."""


class GroupSummary(Struct, frozen=True, kw_only=True):
    """Candidates that every filter treats alike; `context_tokens` is the least that all of them offer, roughly."""

    trust: str
    features: tuple[str, ...]
    region: str
    build: str
    discount_bps: int
    context_tokens: int
    candidates: int
    ready: int
    slots_free: int


class ModelSummary(Struct, frozen=True, kw_only=True):
    """One model: `ready` have a free slot, `tokens_free` is the sum of the budgets left, None where nobody reports one."""

    model: ModelId
    candidates: int
    ready: int
    full: int
    elsewhere: int
    slots: int
    slots_free: int
    tokens_free: int | None
    decode_tokens_s: float
    """The median of what is reported; the rate that is assumed where nobody reports one."""
    groups: tuple[GroupSummary, ...]
    groups_unlisted: int


class _Group:
    __slots__ = ("candidates", "ready", "slots_free")

    def __init__(self) -> None:
        self.candidates = self.ready = self.slots_free = 0


class Tally:
    """A summary in the making: `add` every candidate, some at a time, then take the `summary`."""

    def __init__(self, model: ModelId, index: ModelIndex) -> None:
        self._model = model
        self._decode_tokens_s = index.decode_median
        self._groups: dict[Traits, _Group] = {}
        self._slots = self._elsewhere = 0
        self._tokens_free: int | None = None

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Count candidates in, each once."""
        for each in candidates:
            group = self._groups.get(each.traits)
            if group is None:
                group = self._groups[each.traits] = _Group()
            group.candidates += 1
            group.ready += each.slots_left > 0
            group.slots_free += each.slots_left
            self._slots += each.slots
            self._elsewhere += each.is_elsewhere
            if each.tokens_left is not None:
                self._tokens_free = (self._tokens_free or 0) + each.tokens_left

    def summary(self) -> ModelSummary:
        """Return the numbers of everybody who was added; the largest groups only."""
        groups = self._groups.values()
        candidates, ready = sum(group.candidates for group in groups), sum(group.ready for group in groups)
        largest = nlargest(GROUPS_SHOWN_MAX, self._groups.items(), key=lambda item: item[1].candidates)
        return ModelSummary(
            model=self._model,
            candidates=candidates,
            ready=ready,
            full=candidates - ready,
            elsewhere=self._elsewhere,
            slots=self._slots,
            slots_free=sum(group.slots_free for group in groups),
            tokens_free=self._tokens_free,
            decode_tokens_s=round(self._decode_tokens_s, 1),
            groups=tuple(_shown(traits, group) for traits, group in largest),
            groups_unlisted=len(groups) - len(largest),
        )


def _shown(traits: Traits, group: _Group) -> GroupSummary:
    return GroupSummary(
        trust=traits.tier.label,
        features=tuple(sorted(traits.features)),
        region=traits.region,
        build=traits.build,
        discount_bps=traits.discount_bps,
        context_tokens=traits.context_floor,
        candidates=group.candidates,
        ready=group.ready,
        slots_free=group.slots_free,
    )
