"""Why a request goes where it goes: the router's own decision, and what became of every other candidate.

For operators, never on the path of a request: it looks at the whole fleet of a model. The decision is `route()`'s, made
before anything else; the look takes the candidates as they stood then, some at a time, so that whoever asks for it in an
event loop can let others have their turn. Laws (tests/property/routing): the parts of a cost add up to it but for the
rounding of each; every candidate is listed or counted; a loser always has its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import heappush, heappushpop
from itertools import islice
from typing import Final, TypeAlias

from hushnet.coordinator.routing.cost import Forecast, cost_ms, terms
from hushnet.coordinator.routing.explanation import Explained, Explanation, Note, facts_of, outcome_of
from hushnet.coordinator.routing.filters import has_room, obstacle
from hushnet.coordinator.routing.model import (
    Assignment,
    Candidate,
    Decision,
    Reason,
    Refusal,
    RouteRequest,
    Wait,
)
from hushnet.coordinator.routing.router import TIE_MS, TIE_SHARE, View, route
from hushnet.foundation.ids import ProviderId

LIMIT_DEFAULT: Final = 20
COST_SHARE: Final = 3
"""Of a list that is too short, so many places go to those that lost by cost for one to each other reason."""

_SHOWN_FIRST: Final = (Reason.COST, Reason.BUSY)
_ORDER: Final = {reason: number for number, reason in enumerate(dict.fromkeys((*_SHOWN_FIRST, *Reason)))}


_Seen: TypeAlias = tuple[int, ProviderId, Candidate, Forecast]
"""A candidate with its cost below zero, so that the dearest is the first of a heap; ids are unique and end a comparison."""


def explain(view: View, request: RouteRequest, *, seed: int, limit: int = LIMIT_DEFAULT) -> Explanation:
    """Explain what `route()` answers to the same; at most `limit` >= 1 candidates are listed."""
    survey = Survey(view, request, seed=seed, limit=limit)
    survey.look(survey.total)
    return survey.explanation()


class Survey:
    """An explanation in the making: `look` at all of `total`, some at a time, then take the `explanation`."""

    def __init__(self, view: View, request: RouteRequest, *, seed: int, limit: int) -> None:
        self.decision: Decision = route(view, request, seed=seed)
        self._request = request
        self._seed = seed
        self._limit = limit
        # Two plain lists, since places change meanwhile: nothing is made for each of them that is collected later.
        candidates = [place.candidate for place in view.index.everybody()]
        self.total = len(candidates)
        self._left = zip(candidates, [place.forecast for place in view.index.everybody()], strict=True)
        self._lost: Counter[Reason] = Counter()
        self._cheapest: dict[Reason, list[_Seen]] = {}
        chosen = view.index.get(self.decision.provider_id) if isinstance(self.decision, Assignment) else None
        self._chosen_owner = chosen.owner if chosen is not None else None
        self._chosen: _Seen | None = None

    def look(self, count: int) -> None:
        """Look at `count` more candidates, or at those that are left."""
        for candidate, view in islice(self._left, count):
            cost = cost_ms(candidate, view, self._request)
            seen = (-cost, candidate.provider_id, candidate, view)
            if isinstance(self.decision, Assignment) and candidate.provider_id == self.decision.provider_id:
                self._chosen = seen
            else:
                self._count(self._why_lost(candidate), seen)

    def explanation(self) -> Explanation:
        """Return what was found, as far as it was looked."""
        listed = list(self._listed())
        unlisted = self._lost - Counter(each.reason for each in listed if each.reason is not None)
        assigned = self.decision if isinstance(self.decision, Assignment) else None
        return Explanation(
            model=self._request.model,
            seed=self._seed,
            outcome=outcome_of(self.decision),
            provider_id=assigned.provider_id if assigned is not None else None,
            cost_ms=assigned.cost_ms if assigned is not None else None,
            next_ms=assigned.next_ms if assigned is not None else None,
            examined=assigned.examined if assigned is not None else None,
            after_s=self.decision.after_s if isinstance(self.decision, Wait) else None,
            reason=self.decision.reason if isinstance(self.decision, Refusal) else None,
            total=self.total,
            lost=dict(self._lost),
            unlisted=dict(unlisted),
            candidates=tuple(listed),
        )

    def _count(self, reason: Reason, seen: _Seen) -> None:
        self._lost[reason] += 1
        heap = self._cheapest.setdefault(reason, [])
        if len(heap) < self._limit:
            heappush(heap, seen)
        else:
            heappushpop(heap, seen)

    def _why_lost(self, candidate: Candidate) -> Reason:
        request = self._request
        if request.recipients is not None:
            entry = request.recipients.get(candidate.provider_id)
            if entry is None:
                return Reason.RECIPIENTS_UNAVAILABLE
            if entry.key_id not in candidate.key_ids:
                return Reason.KEYS_STALE
        reason = obstacle(candidate, request)
        if reason is not None:
            return reason
        if not has_room(candidate, request):
            return Reason.BUSY
        return Reason.PROVIDER_UNAVAILABLE if self._comes_after_own(candidate) else Reason.COST

    def _comes_after_own(self, candidate: Candidate) -> bool:
        own = self._request.preferences.own
        return own is not None and self._chosen_owner == own.account != candidate.owner

    def _listed(self) -> Iterator[Explained]:
        """The chosen, then the cheapest that lost by cost and, of every other reason, some: all within the limit."""
        if self._chosen is not None:
            yield self._explained(self._chosen, None)
        ranked = [
            (number // COST_SHARE if reason is Reason.COST else number, _ORDER[reason], number, reason, seen)
            for reason, heap in self._cheapest.items()
            for number, seen in enumerate(sorted(heap, key=_by_cost))
        ]
        ranked.sort(key=lambda each: each[:3])
        kept = ranked[: self._limit - (self._chosen is not None)]
        for _, _, _, reason, seen in sorted(kept, key=lambda each: each[1:3]):
            yield self._explained(seen, reason)

    def _explained(self, seen: _Seen, reason: Reason | None) -> Explained:
        cost, candidate, view = -seen[0], seen[2], seen[3]
        assigned = self.decision if isinstance(self.decision, Assignment) else None
        is_beaten = reason is Reason.COST and assigned is not None
        return Explained(
            provider_id=candidate.provider_id,
            is_chosen=reason is None,
            reason=reason,
            note=self._note(candidate, cost, reason),
            cost_ms=cost,
            behind_ms=cost - assigned.cost_ms if assigned is not None and is_beaten else None,
            terms=terms(candidate, view, self._request),
            facts=facts_of(candidate),
        )

    def _note(self, candidate: Candidate, cost: int, reason: Reason | None) -> Note | None:
        if reason is Reason.PROVIDER_UNAVAILABLE:
            return Note.OWN_FIRST if obstacle(candidate, self._request) is None else None
        if reason is not Reason.COST:
            return None
        if not isinstance(self.decision, Assignment):
            return Note.UNSEEN
        seen = (self.decision.cost_ms, self.decision.next_ms)
        best = min(each for each in seen if each is not None)
        if cost < best:
            return Note.UNSEEN
        return Note.TIED if cost <= best + max(TIE_MS, int(best * TIE_SHARE)) else None


def _by_cost(seen: _Seen) -> tuple[int, ProviderId]:
    return -seen[0], seen[1]
