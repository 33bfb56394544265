"""The nouns of an explanation: what an operator is shown of a decision, all plain data that serialises."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from hushnet.coordinator.routing.model import (
    Assignment,
    Candidate,
    Decision,
    Reason,
    Refusal,
    Term,
    Wait,
)
from hushnet.foundation.ids import AccountId, ModelId, ProviderId


class Outcome(StrEnum):
    """What was decided."""

    ASSIGNED = "assigned"
    WAITING = "waiting"
    REFUSED = "refused"


class Note(StrEnum):
    """What a reason and a cost alone do not tell of a loser."""

    TIED = "tied"
    """Its cost counts as equal to the best: the seed chose, another request may well go there."""
    UNSEEN = "unseen"
    """It is cheaper, or has room, and the decision was made before it came to it: in a large fleet not everybody is
    costed."""
    OWN_FIRST = "own_first"
    """The request asks for its own account's machines before everybody else's."""


class Facts(Struct, frozen=True, kw_only=True):
    """What the router knows of a candidate. Rates are tokens per second, 0 when unknown; None knows no token budget."""

    account_id: AccountId
    agent_version: str
    trust: str
    features: tuple[str, ...]
    region: str
    build: str
    discount_bps: int
    context_tokens: int
    slots: int
    slots_left: int
    tokens_ahead: int
    tokens_left: int | None
    decode_tokens_s: float
    prefill_tokens_s: float
    is_elsewhere: bool


class Explained(Struct, frozen=True, kw_only=True):
    """One candidate: `reason` says why it lost, None for the chosen alone.

    `cost_ms` is what the request would cost there, whether or not it may go there; `terms` are its parts. `behind_ms` is
    how much more that is than at the chosen, where cost decided.
    """

    provider_id: ProviderId
    is_chosen: bool
    reason: Reason | None
    note: Note | None
    cost_ms: int
    behind_ms: int | None
    terms: Mapping[Term, int]
    facts: Facts


class Explanation(Struct, frozen=True, kw_only=True):
    """A decision and its reasons; `lost` counts all losers by reason, `unlisted` those that are not in `candidates`."""

    model: ModelId
    seed: int
    outcome: Outcome
    provider_id: ProviderId | None
    cost_ms: int | None
    next_ms: int | None
    examined: int | None
    after_s: float | None
    reason: Reason | None
    total: int
    lost: Mapping[Reason, int]
    unlisted: Mapping[Reason, int]
    candidates: tuple[Explained, ...]


def outcome_of(decision: Decision) -> Outcome:
    """Return the one word for a decision."""
    match decision:
        case Assignment():
            return Outcome.ASSIGNED
        case Wait():
            return Outcome.WAITING
        case Refusal():
            return Outcome.REFUSED


def facts_of(candidate: Candidate) -> Facts:
    """Return what the router knows of `candidate`, as it is shown."""
    traits = candidate.traits
    return Facts(
        account_id=candidate.owner,
        agent_version=candidate.agent_version,
        trust=traits.tier.label,
        features=tuple(sorted(traits.features)),
        region=traits.region,
        build=traits.build,
        discount_bps=traits.discount_bps,
        context_tokens=candidate.context_tokens,
        slots=candidate.slots,
        slots_left=candidate.slots_left,
        tokens_ahead=candidate.tokens_ahead,
        tokens_left=candidate.tokens_left,
        decode_tokens_s=candidate.decode_tokens_s,
        prefill_tokens_s=candidate.prefill_tokens_s,
        is_elsewhere=candidate.is_elsewhere,
    )
