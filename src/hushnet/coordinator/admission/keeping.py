"""For whom room is kept: a request that needs more of a token budget than ever comes free at once.

One provider for each request that has waited for long, and never more: what others lose is that provider's room, for as
long as the request waits. Pure: whoever keeps time says who has waited.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from typing import Final

from hushnet.coordinator.routing.filters import obstacle, tokens_needed
from hushnet.coordinator.routing.index import Place, climb
from hushnet.coordinator.routing.model import Candidate, RouteRequest
from hushnet.coordinator.routing.router import View
from hushnet.foundation.ids import ModelId, ProviderId

KEPT_MAX: Final = 8
"""Providers of one model."""
LOOKED_AT_MAX: Final = 64
"""Candidates that are looked at to find the one that is kept."""


class Keeping:
    """Who is kept for whom, a model at a time; `who` is anything that tells the waiting apart."""

    def __init__(self) -> None:
        self._kept: dict[ModelId, dict[ProviderId, Hashable]] = {}

    def renew(self, model: ModelId, starved: Iterable[tuple[Hashable, RouteRequest]], view: View) -> set[ProviderId]:
        """Keep a provider for each of `starved`, the same as before where it still fits; returns who is free again."""
        before = self._kept.pop(model, {})
        held_for = {who: provider_id for provider_id, who in before.items()}
        kept: dict[ProviderId, Hashable] = {}
        for who, request in islice(starved, KEPT_MAX):
            chosen = self._choose(request, view, held_for.get(who), taken=kept)
            if chosen is not None:
                kept[chosen] = who
        if kept:
            self._kept[model] = kept
        return set(before) - set(kept)

    def release(self, model: ModelId, who: Hashable) -> ProviderId | None:
        """Keep nobody for `who` any more; returns who is free again."""
        kept = self._kept.get(model, {})
        freed = next((provider_id for provider_id, owner in kept.items() if owner is who), None)
        if freed is not None:
            del kept[freed]
        return freed

    def barred(self, model: ModelId, who: Hashable) -> frozenset[ProviderId]:
        """Return the providers that are kept for others than `who`."""
        kept = self._kept.get(model)
        if kept is None:
            return frozenset()
        return frozenset(provider_id for provider_id, owner in kept.items() if owner is not who)

    @property
    def models(self) -> tuple[ModelId, ...]:
        """The models of which somebody is kept."""
        return tuple(self._kept)

    def _choose(
        self, request: RouteRequest, view: View, before: ProviderId | None, *, taken: dict[ProviderId, Hashable]
    ) -> ProviderId | None:
        """Choose who is nearest to having the room: the most of its budget is free."""
        best: Candidate | None = None
        for place in islice(_able(request, view, before), LOOKED_AT_MAX):
            candidate = place.candidate
            left = candidate.tokens_left
            if left is None or left >= tokens_needed(candidate, request):
                continue  # it waits for a slot alone, and slots are given in turn
            if candidate.provider_id in taken or not fits(candidate, request):
                continue
            if candidate.provider_id == before:
                return before
            if best is None or (candidate.tokens_left or 0) > (best.tokens_left or 0):
                best = candidate
        return None if best is None else best.provider_id


def fits(candidate: Candidate, request: RouteRequest) -> bool:
    """Whether a provider could ever serve a request; in sealed mode only those can that its envelope names."""
    entry = None if request.recipients is None else request.recipients.get(candidate.provider_id)
    if request.recipients is not None and (entry is None or entry.key_id not in candidate.key_ids):
        return False
    return obstacle(candidate, request) is None


def _able(request: RouteRequest, view: View, before: ProviderId | None) -> Iterator[Place]:
    if before is not None:
        yield from view.index.places((before,))
    if request.recipients is not None:
        yield from view.index.places(request.recipients)
    elif request.preferences.only:
        yield from view.index.places(request.preferences.only)
    elif request.preferences.own is not None and request.preferences.own.is_only:
        yield from view.index.places(view.index.owned_by(request.preferences.own.account))
    else:
        passing = view.index.passing(request)
        yield from view.index.ready(passing, 0, tokens=0)
        yield from climb((view.index.full,), passing, 0)
