"""What the router looks at and what it answers: all frozen, all without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from hushnet.attestation.tiers import Tier
from hushnet.foundation.ids import ModelId, ProviderId


class Reason(StrEnum):
    """Why a candidate was passed over, or why a whole request was refused."""

    MODEL_UNAVAILABLE = "model_unavailable"
    """Nobody who is live and trusted offers the model."""
    FEATURES_UNAVAILABLE = "features_unavailable"
    CONTEXT_UNAVAILABLE = "context_unavailable"
    TRUST_UNAVAILABLE = "trust_unavailable"
    RECIPIENTS_UNAVAILABLE = "recipients_unavailable"
    """A sealed request names providers, and none of them that is left serves it."""
    KEYS_STALE = "keys_stale"
    """A sealed request names keys that nobody in the fleet knows."""
    EXHAUSTED = "exhausted"
    """Everybody who could serve it has been tried."""
    BUSY = "busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One provider's offer of one model, with what was dispatched to it already counted in.

    `slots_left` and `tokens_left` are what this request may take; a `tokens_left` of None knows no budget.
    `tokens_ahead` is what still has to be generated before and beside it. Rates are tokens per second, 0 when unknown.
    """

    provider_id: ProviderId
    tier: Tier = Tier.SELF_SIGNED
    features: frozenset[str] = frozenset()
    context_tokens: int
    key_ids: frozenset[bytes] = frozenset()
    slots: int
    slots_left: int
    tokens_ahead: int = 0
    tokens_left: int | None = None
    decode_tokens_s: float = 0.0
    prefill_tokens_s: float = 0.0
    penalty_ms: int = 0
    is_elsewhere: bool = False
    """Its link hangs on another worker of this machine: every chunk of an answer would cross (`cost.CROSSING_SHARE`)."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """The candidates of one model, and every sealing key id that some live provider can open with."""

    candidates: Mapping[ProviderId, Candidate]
    key_ids: Set[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Entry:
    """One recipient of a sealed request: its place in the envelope and the key it was wrapped for."""

    index: int
    key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRequest:
    """What a request needs of a provider. `recipients` is None where any provider may serve it (standard mode).

    `excluded` never serve it; `avoided` serve it only when nobody else can.
    """

    model: ModelId
    prompt_tokens_max: int
    output_tokens_max: int
    features: frozenset[str] = frozenset()
    floor: Tier = Tier.NONE
    recipients: Mapping[ProviderId, Entry] | None = None
    excluded: frozenset[ProviderId] = frozenset()
    avoided: frozenset[ProviderId] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class Assignment:
    """Send it there: `entry` is the envelope's entry in sealed mode, None in standard mode."""

    provider_id: ProviderId
    entry: int | None
    cost_ms: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody can serve it, not now; `after_s` is when room is likely."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nobody in the fleet can serve it, however long it waits. `passed` counts the candidates by reason."""

    reason: Reason
    passed: Mapping[Reason, int] = field(default_factory=dict)


Decision: TypeAlias = Assignment | Wait | Refusal
