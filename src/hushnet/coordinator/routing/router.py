"""The decision: filter, rank by cost, spread near ties.

Laws (tests/property/routing): the choice passes every filter; in a fleet of up to `EXACT_MAX` nobody who passes costs
less by more than the tie window, in a larger one nobody of those that were looked at, which are the cheapest for an
ordinary request; a refusal never hides a candidate that could serve; the same index, request and seed give the same
answer. The work of a decision does not grow with the fleet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import chain, islice
from typing import Final

from msgspec import Struct

from hushnet.coordinator.routing.cost import Costing, expected_tokens, wait_s
from hushnet.coordinator.routing.filters import has_room, obstacle, own_obstacle, trait_obstacle
from hushnet.coordinator.routing.index import ModelIndex, Place, climb
from hushnet.coordinator.routing.model import (
    NO_PREFERENCES,
    Assignment,
    Decision,
    Entry,
    Reason,
    Refusal,
    RouteRequest,
    Wait,
)
from hushnet.foundation.ids import ProviderId

TIE_MS: Final = 50
TIE_SHARE: Final = 0.1
"""Costs within 50 ms or a tenth of the best are equal: estimates are no better than that, and spreading beats herding."""
EXACT_MAX: Final = 24
"""Up to so many candidates, all are ranked."""
COSTED_MAX: Final = 8
"""Of more, the first so many that can take the request, from the cheapest rung on. 4 to 64 give completion times within 5 %
of each other on a heterogeneous fleet of 1,000 (bench/routing); below 8 the last percent grows."""
COSTED_WISHES_MAX: Final = 16
"""As many for a request with wishes of its own (price, regions, machines): the rungs are not in its order."""
EXAMINED_MAX: Final = 256
"""And among at most so many that a decision looks at: the others may have no token budget left, or be excluded."""
WAIT_S_MIN: Final = 1.0
WAIT_S_MAX: Final = 60.0

_PRECEDENCE: Final = (
    Reason.TRUST_UNAVAILABLE,
    Reason.REGION_UNAVAILABLE,
    Reason.BUILD_UNAVAILABLE,
    Reason.PRICE_UNAVAILABLE,
    Reason.CONTEXT_UNAVAILABLE,
    Reason.FEATURES_UNAVAILABLE,
    Reason.PROVIDER_UNAVAILABLE,
    Reason.EXHAUSTED,
)
"""Of several reasons the first of these names the refusal: it says what the caller could change."""


class View(Struct, frozen=True):
    """What a decision sees: the candidates of one model, and every sealing key that some live provider can open with."""

    index: ModelIndex
    key_ids: Set[bytes] = frozenset()


def route(view: View, request: RouteRequest, *, seed: int) -> Decision:
    """Choose a provider for `request`; `seed` >= 0 spreads near ties and is the only source of variety."""
    if request.recipients is not None:
        return _route_sealed(view, request, request.recipients, seed)
    index, asked = view.index, request.preferences
    if asked.own is not None:
        own = index.places(index.owned_by(asked.own.account))
        choice = _cheapest(own, request, seed)
        if choice is not None:
            return choice
        if asked.own.is_only:
            return _nobody(index.places(index.owned_by(asked.own.account)), request)
    if asked.only:
        return _cheapest(index.places(asked.only), request, seed) or _nobody(index.places(asked.only), request)
    if len(index) <= EXACT_MAX:
        return _cheapest(index.everybody(), request, seed) or _nobody(index.everybody(), request)
    return _route_many(index, request, seed)


def _route_many(index: ModelIndex, request: RouteRequest, seed: int) -> Decision:
    costed_max = COSTED_MAX if request.preferences is NO_PREFERENCES else COSTED_WISHES_MAX
    fitting = index.passing(request, tokens=sum(expected_tokens(request)))
    needed = request.prompt_tokens_max + request.output_tokens_max
    climbed = index.ready(fitting, seed, tokens=needed)
    places = chain(_likely(index, request), climbed) if request.cached else climbed
    choice = _cheapest(places, request, seed, costed_max=costed_max, is_sifted=True)
    if choice is not None:
        return choice
    passing = index.passing(request)
    if len(fitting) < len(passing):
        climbed = index.ready(passing, seed, tokens=needed)
        choice = _cheapest(climbed, request, seed, costed_max=costed_max, is_sifted=True)
    return choice or _nobody_of_many(index, passing, request, seed)


def _likely(index: ModelIndex, request: RouteRequest) -> Iterator[Place]:
    """Iterate over those that have a part of the prompt, as far as they are ready and their traits will do."""
    for place in index.places(request.cached):
        if place.ladder is not index.full and trait_obstacle(place.candidate.traits, request) is None:
            yield place


def _route_sealed(view: View, request: RouteRequest, recipients: Mapping[ProviderId, Entry], seed: int) -> Decision:
    if not any(entry.key_id in view.key_ids for entry in recipients.values()):
        return Refusal(Reason.KEYS_STALE)
    named = [
        place
        for place in view.index.places(recipients)
        if recipients[place.candidate.provider_id].key_id in place.candidate.key_ids
    ]
    own = request.preferences.own
    choice = None
    if own is not None and not own.is_only:
        choice = _cheapest((place for place in named if place.candidate.owner == own.account), request, 0)
    choice = choice or _cheapest(named, request, 0)
    if choice is not None:
        entry = recipients[choice.provider_id].index
        return Assignment(choice.provider_id, entry, choice.cost_ms, choice.next_ms, choice.examined)
    outcome = _nobody(named, request)
    if isinstance(outcome, Refusal) and outcome.reason in (Reason.MODEL_UNAVAILABLE, Reason.EXHAUSTED):
        return Refusal(Reason.RECIPIENTS_UNAVAILABLE, outcome.passed)
    return outcome


def _cheapest(
    places: Iterable[Place],
    request: RouteRequest,
    seed: int,
    *,
    costed_max: int = EXAMINED_MAX,
    is_sifted: bool = False,
) -> Assignment | None:
    """Rank those that can serve now; ties go by the seed, in sealed mode (seed 0) by the sealer's own order.

    `is_sifted` places have a free slot and traits that will do: only what is a candidate's own is left to look at. Of
    others those without a free slot are passed over unexamined: of an account's machines the free ones may be the last.
    """
    costing = Costing(request)
    is_choosy = not is_sifted or bool(request.excluded) or request.preferences is not NO_PREFERENCES
    bar = own_obstacle if is_sifted else obstacle
    costs: list[int] = []
    found: list[Place] = []
    examined = 0
    for place in islice(places if is_sifted else _with_slots(places), EXAMINED_MAX):
        examined += 1
        candidate = place.candidate
        if not (is_sifted and candidate.tokens_left is None) and not has_room(candidate, request):
            continue
        if (is_choosy or candidate.context_tokens < 1) and bar(candidate, request) is not None:
            continue
        costs.append(costing.at(candidate, place.forecast))
        found.append(place)
        if len(costs) >= costed_max:
            break
    if not costs:
        return None
    chosen = _tie_broken(costs, found, request, seed)
    cost = costs.pop(chosen)
    return Assignment(found[chosen].candidate.provider_id, None, cost, min(costs, default=None), examined)


def _with_slots(places: Iterable[Place]) -> Iterator[Place]:
    return (place for place in places if place.candidate.slots_left > 0)


def _tie_broken(costs: list[int], found: list[Place], request: RouteRequest, seed: int) -> int:
    """Return the position of the one to choose: of equals those that have read the prompt before, for they stay free sooner."""
    best = min(costs)
    limit = best + max(TIE_MS, int(best * TIE_SHARE))
    ties = [number for number, cost in enumerate(costs) if cost <= limit]
    if request.cached:
        ties = [number for number in ties if found[number].candidate.provider_id in request.cached] or ties
    return ties[seed % len(ties)]


def _nobody(places: Iterable[Place], request: RouteRequest) -> Wait | Refusal:
    passed: Counter[Reason] = Counter()
    waits: list[float] = []
    for place in places:
        reason = obstacle(place.candidate, request)
        if reason is None:
            waits.append(wait_s(place.candidate))
        passed[reason or Reason.BUSY] += 1
    return _wait(waits) if waits else _refusal(passed)


def _nobody_of_many(index: ModelIndex, passing: Set[int], request: RouteRequest, seed: int) -> Wait | Refusal:
    """Say why nobody of a large fleet takes the request, from the sizes of its groups and the first to come free."""
    asked = request.preferences
    barred = {
        place.candidate.provider_id: reason
        for place in index.places(request.excluded | asked.ignore)
        if (reason := own_obstacle(place.candidate, request)) and place.group in passing
    }
    passed: Counter[Reason] = Counter(barred.values())
    size = index.size_of(passing)
    if size > len(barred):
        places = chain(climb((index.full,), passing, seed), index.ready(passing, seed, tokens=0))
        busy = islice(places, EXAMINED_MAX)
        able = (wait_s(place.candidate) for place in busy if obstacle(place.candidate, request) is None)
        waits = list(islice(able, COSTED_WISHES_MAX))
        needed = request.prompt_tokens_max + request.output_tokens_max
        if waits or (size > EXAMINED_MAX and not index.is_beyond(passing, needed)):
            return _wait(waits)
        passed[Reason.CONTEXT_UNAVAILABLE] += size - len(barred)  # of what is a candidate's own, nothing else is left
    for traits, size in index.groups():
        reason = trait_obstacle(traits, request)
        if reason is not None:
            passed[reason] += size
    return _refusal(passed)


def _wait(waits: Iterable[float]) -> Wait:
    return Wait(min(max(min(waits, default=WAIT_S_MIN), WAIT_S_MIN), WAIT_S_MAX))


def _refusal(passed: Counter[Reason]) -> Refusal:
    return Refusal(next((reason for reason in _PRECEDENCE if passed[reason]), Reason.MODEL_UNAVAILABLE), dict(passed))
