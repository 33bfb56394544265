"""The decision: filter, rank by cost, spread near ties.

Laws (tests/property/routing): the choice passes every filter; nobody who passes costs less by more than the tie window;
a refusal never hides a candidate that could serve; the same view, request and seed give the same answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from hushnet.coordinator.routing.cost import cost_ms, wait_s
from hushnet.coordinator.routing.model import (
    Assignment,
    Candidate,
    Decision,
    FleetView,
    Reason,
    Refusal,
    RouteRequest,
    Wait,
)

TIE_MS: Final = 50
TIE_SHARE: Final = 0.1
"""Costs within 50 ms or a tenth of the best are equal: estimates are no better than that, and spreading beats herding."""
SAMPLE_MAX: Final = 128
"""Above this many candidates a window of them is ranked first, so that a choice stays in microseconds at 10,000."""
WAIT_S_MIN: Final = 1.0
WAIT_S_MAX: Final = 60.0

_PRECEDENCE: Final = (
    Reason.TRUST_UNAVAILABLE,
    Reason.CONTEXT_UNAVAILABLE,
    Reason.FEATURES_UNAVAILABLE,
    Reason.EXHAUSTED,
)
"""Of several reasons the first of these names the refusal: it says what the caller could change."""


def route(view: FleetView, request: RouteRequest, *, seed: int) -> Decision:
    """Choose a provider for `request`; `seed` >= 0 spreads near ties and is the only source of variety."""
    if request.recipients is not None:
        return _route_sealed(view, request)
    candidates = view.candidates
    if len(candidates) > SAMPLE_MAX and (choice := _cheapest(_window(candidates.values(), seed), request, seed)):
        return choice
    return _cheapest(candidates.values(), request, seed) or _nobody(candidates.values(), request)


def obstacle(candidate: Candidate, request: RouteRequest) -> Reason | None:
    """Return why `candidate` can never serve `request`, or None when it can once it has room."""
    if candidate.provider_id in request.excluded:
        return Reason.EXHAUSTED
    if not request.features <= candidate.features:
        return Reason.FEATURES_UNAVAILABLE
    if candidate.context_tokens < 1:
        return Reason.CONTEXT_UNAVAILABLE
    if candidate.tier < request.floor:
        return Reason.TRUST_UNAVAILABLE
    return None


def has_room(candidate: Candidate, request: RouteRequest) -> bool:
    """Say whether `candidate` can start `request` at once."""
    if candidate.slots_left < 1:
        return False
    if candidate.tokens_left is None:
        return True
    # A sequence never outgrows the context, whatever its bounds say.
    return candidate.tokens_left >= min(request.prompt_tokens_max + request.output_tokens_max, candidate.context_tokens)


def _route_sealed(view: FleetView, request: RouteRequest) -> Decision:
    recipients = request.recipients or {}
    if not any(entry.key_id in view.key_ids for entry in recipients.values()):
        return Refusal(Reason.KEYS_STALE)
    named = [
        candidate
        for provider_id, entry in recipients.items()
        if (candidate := view.candidates.get(provider_id)) is not None and entry.key_id in candidate.key_ids
    ]
    choice = _cheapest(named, request, 0)
    if choice is not None:
        return Assignment(choice.provider_id, recipients[choice.provider_id].index, choice.cost_ms)
    outcome = _nobody(named, request)
    if isinstance(outcome, Refusal) and outcome.reason in (Reason.MODEL_UNAVAILABLE, Reason.EXHAUSTED):
        return Refusal(Reason.RECIPIENTS_UNAVAILABLE, outcome.passed)
    return outcome


def _cheapest(candidates: Iterable[Candidate], request: RouteRequest, seed: int) -> Assignment | None:
    """Rank those that can serve now; ties go by the seed, in sealed mode (seed 0) by the sealer's own order."""
    costs = [
        (cost_ms(candidate, request), candidate)
        for candidate in candidates
        if has_room(candidate, request) and obstacle(candidate, request) is None
    ]
    if not costs:
        return None
    best = min(cost for cost, _ in costs)
    limit = best + max(TIE_MS, int(best * TIE_SHARE))
    ties = [(cost, candidate) for cost, candidate in costs if cost <= limit]
    cost, chosen = ties[seed % len(ties)]
    return Assignment(chosen.provider_id, None, cost)


def _nobody(candidates: Iterable[Candidate], request: RouteRequest) -> Wait | Refusal:
    passed: Counter[Reason] = Counter()
    waits: list[float] = []
    for candidate in candidates:
        reason = obstacle(candidate, request)
        if reason is None:
            waits.append(wait_s(candidate))
        passed[reason or Reason.BUSY] += 1
    if waits:
        return Wait(min(max(min(waits), WAIT_S_MIN), WAIT_S_MAX))
    return Refusal(next((reason for reason in _PRECEDENCE if passed[reason]), Reason.MODEL_UNAVAILABLE), dict(passed))


def _window(candidates: Iterable[Candidate], seed: int) -> Sequence[Candidate]:
    """Take SAMPLE_MAX neighbours from a start that the seed picks."""
    everyone = list(candidates)
    start = (seed * 2654435761) % len(everyone)  # Knuth's multiplier: consecutive seeds land far apart
    window = everyone[start : start + SAMPLE_MAX]
    return window + list(islice(everyone, max(SAMPLE_MAX - len(window), 0)))
