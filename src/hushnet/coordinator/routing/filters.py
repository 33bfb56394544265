"""Who may serve a request at all, whatever its cost: by the traits that many share, and by what is one candidate's own."""

from __future__ import annotations

from collections.abc import Hashable

from hushnet.coordinator.routing.model import NO_PREFERENCES, Candidate, Reason, RouteRequest, Traits
from hushnet.foundation.money import BASIS_POINTS_ONE


def filter_key(request: RouteRequest) -> Hashable:
    """Return everything of `request` that `trait_obstacle` looks at: equal keys have equal answers."""
    asked = request.preferences
    if asked is NO_PREFERENCES:
        return request.features, request.floor
    price = request.price if asked.price_max is not None else None
    return request.features, request.floor, asked.regions, asked.builds, asked.price_max, price


def trait_obstacle(traits: Traits, request: RouteRequest) -> Reason | None:
    """Return why no provider with `traits` can serve `request`, or None."""
    asked = request.preferences
    if not request.features <= traits.features:
        return Reason.FEATURES_UNAVAILABLE
    if traits.tier < request.floor:
        return Reason.TRUST_UNAVAILABLE
    if asked.regions and traits.region not in asked.regions:
        return Reason.REGION_UNAVAILABLE
    if asked.builds and traits.build not in asked.builds:
        return Reason.BUILD_UNAVAILABLE
    if asked.price_max is not None and not _is_affordable(traits, request):
        return Reason.PRICE_UNAVAILABLE
    return None


def own_obstacle(candidate: Candidate, request: RouteRequest) -> Reason | None:
    """Return why this very candidate can never serve `request`, traits aside, or None."""
    asked = request.preferences
    if candidate.provider_id in request.excluded:
        return Reason.EXHAUSTED
    if candidate.context_tokens < 1 or (
        candidate.tokens_max is not None and candidate.tokens_max < tokens_needed(candidate, request)
    ):
        return Reason.CONTEXT_UNAVAILABLE
    if candidate.provider_id in asked.ignore or (asked.only and candidate.provider_id not in asked.only):
        return Reason.PROVIDER_UNAVAILABLE
    if asked.own is not None and asked.own.is_only and candidate.owner != asked.own.account:
        return Reason.PROVIDER_UNAVAILABLE
    return None


def obstacle(candidate: Candidate, request: RouteRequest) -> Reason | None:
    """Return why `candidate` can never serve `request`, or None when it can once it has room."""
    return own_obstacle(candidate, request) or trait_obstacle(candidate.traits, request)


def has_room(candidate: Candidate, request: RouteRequest) -> bool:
    """Say whether `candidate` can start `request` at once."""
    if candidate.slots_left < 1:
        return False
    return candidate.tokens_left is None or candidate.tokens_left >= tokens_needed(candidate, request)


def tokens_needed(candidate: Candidate, request: RouteRequest) -> int:
    """Return how much of a token budget `request` takes: a sequence never outgrows the context, whatever its bounds say."""
    return min(request.prompt_tokens_max + request.output_tokens_max, candidate.context_tokens)


def is_beyond(traits: Traits, tokens: int) -> bool:
    """Say whether a request of `tokens` is sure to find too small a context or token budget wherever `traits` are."""
    return traits.context_floor < 1 or 0 < 2 * traits.tokens_floor <= min(tokens, traits.context_floor)


def _is_affordable(traits: Traits, request: RouteRequest) -> bool:
    price, most = request.price, request.preferences.price_max
    if price is None or most is None:
        return True
    share = traits.tier_bps * (BASIS_POINTS_ONE - traits.discount_bps)
    whole = BASIS_POINTS_ONE * BASIS_POINTS_ONE
    return price.input * share <= most.input * whole and price.output * share <= most.output * whole
