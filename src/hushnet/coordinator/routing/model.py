"""What the router looks at and what it answers: all frozen, all without I/O, all plain data that serialises."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from hushnet.attestation.tiers import Tier
from hushnet.foundation.ids import AccountId, ModelId, ProviderId
from hushnet.foundation.money import BASIS_POINTS_ONE, Price

_NOBODY: frozenset[ProviderId] = frozenset()


class Reason(StrEnum):
    """Why a candidate was passed over, or why a whole request was refused."""

    MODEL_UNAVAILABLE = "model_unavailable"
    """Nobody who is live and trusted offers the model."""
    FEATURES_UNAVAILABLE = "features_unavailable"
    CONTEXT_UNAVAILABLE = "context_unavailable"
    TRUST_UNAVAILABLE = "trust_unavailable"
    REGION_UNAVAILABLE = "region_unavailable"
    BUILD_UNAVAILABLE = "build_unavailable"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    """The request's own lists leave nobody, or nobody of its own account."""
    PRICE_UNAVAILABLE = "price_unavailable"
    RECIPIENTS_UNAVAILABLE = "recipients_unavailable"
    """A sealed request names providers, and none of them that is left serves it."""
    KEYS_STALE = "keys_stale"
    """A sealed request names keys that nobody in the fleet knows."""
    EXHAUSTED = "exhausted"
    """Everybody who could serve it has been tried."""
    BUSY = "busy"
    """No slot, or not enough of its token budget."""
    COST = "cost"
    """It could serve now; another was estimated to be done sooner."""


class Term(StrEnum):
    """The parts of a cost, each in estimated milliseconds until the request would be complete."""

    LOAD = "load"
    """Loading a model that is on the machine's disk."""
    QUEUE = "queue"
    """Tokens ahead of it keep every slot busy."""
    PREFILL = "prefill"
    """Reading the part of the prompt that the provider has not cached."""
    DECODE = "decode"
    """Writing the answer beside those that run already."""
    OVERFLOW = "overflow"
    """The request's bounds do not fit the offered context: it may end early and have to be made again."""
    LINK = "link"
    """The way there and back."""
    STRAIN = "strain"
    """Memory, processors and thermals of the machine."""
    FAILURES = "failures"
    """Its recent failures with this model."""
    RECORD = "record"
    """Its reputation: the share of requests that would have to be made again elsewhere."""
    PRICE = "price"
    """What a consumer who minds the price takes a micro-dollar for."""
    CROSSING = "crossing"
    """Its link hangs on another process: every chunk would cross."""
    AVOIDED = "avoided"
    """This request has failed there, or at the same version of the agent."""


class Traits(Struct, frozen=True, kw_only=True):
    """What many providers share and filters look at; the index groups by it.

    `features` are the features that the coordinator believes: of those offered, what the agent's version and its
    self-check allow. `region` is the operator's word ("" when it gave none), `build` the SHA-256 of the model's files,
    `context_floor` what `context_floor()` makes of the offered context, `tokens_floor` what `tokens_floor()` makes of the
    token budget, 0 where none is known. A model costs `tier_bps` of its price there, less `discount_bps`.
    """

    tier: Tier = Tier.SELF_SIGNED
    features: frozenset[str] = frozenset()
    region: str = ""
    build: str = ""
    tier_bps: int = BASIS_POINTS_ONE
    discount_bps: int = 0
    context_floor: int = 0
    tokens_floor: int = 0


def tokens_floor(tokens: int) -> int:
    """Round a token budget down to a power of two: it is less than twice that."""
    return 1 << tokens.bit_length() - 1 if tokens > 0 else 0


def context_floor(tokens: int) -> int:
    """Round a context down to one of four steps an octave, so that nearly equal ones share a group."""
    step = 1 << max(tokens.bit_length() - 3, 0)
    return tokens // step * step


def context_ceiling(tokens: int) -> int:
    """Round a need up to the smallest `context_floor` that covers it."""
    step = 1 << max(tokens.bit_length() - 3, 0)
    return -(-tokens // step) * step


class Candidate(Struct, frozen=True, kw_only=True):
    """One provider's offer of one model, with what was dispatched to it already counted in.

    `slots_left` and `tokens_left` are what a request may take, `tokens_max` what one may take when nothing else runs;
    None where the provider knows no budget.
    `tokens_ahead` is what still has to be generated before and beside it. Rates are tokens per second, 0 when unknown.
    """

    provider_id: ProviderId
    traits: Traits = Traits()
    owner: AccountId = AccountId(0)
    agent_version: str = ""
    context_tokens: int
    key_ids: frozenset[bytes] = frozenset()
    slots: int
    slots_left: int
    tokens_ahead: int = 0
    tokens_left: int | None = None
    tokens_max: int | None = None
    decode_tokens_s: float = 0.0
    prefill_tokens_s: float = 0.0
    load_ms: int = 0
    """How long it takes to load the model; 0 where it is loaded."""
    link_ms: int = 0
    strain_ms: int = 0
    failures_ms: int = 0
    record_ms: int = 0
    is_elsewhere: bool = False
    """Its link hangs on another worker of this machine: every chunk of an answer would cross (`cost.CROSSING_SHARE`)."""


class Entry(Struct, frozen=True):
    """One recipient of a sealed request: its place in the envelope and the key it was wrapped for."""

    index: int
    key_id: bytes


class SelfRoute(Struct, frozen=True):
    """The request's own account as a provider: its machines only, or before everybody else."""

    account: AccountId
    is_only: bool


class Preferences(Struct, frozen=True, kw_only=True):
    """What a request asks beyond what it needs; empty everywhere for a stock client."""

    only: frozenset[ProviderId] = _NOBODY
    """When not empty, nobody else."""
    ignore: frozenset[ProviderId] = _NOBODY
    regions: frozenset[str] = frozenset()
    builds: frozenset[str] = frozenset()
    price_max: Price | None = None
    """At most this for a million tokens, input and output each."""
    ms_per_micro_usd: float = 0.0
    """How many milliseconds a saved micro-dollar is worth to the consumer."""
    own: SelfRoute | None = None


NO_PREFERENCES = Preferences()


class RouteRequest(Struct, frozen=True, kw_only=True):
    """What a request needs of a provider. `recipients` is None where any provider may serve it (standard mode).

    `excluded` never serve it; `avoided` serve it only when nobody else can; providers whose agent has an avoided
    version come after others. `cached` says how many tokens of the prompt a provider is likely to have read before.
    """

    model: ModelId
    prompt_tokens_max: int
    output_tokens_max: int
    features: frozenset[str] = frozenset()
    floor: Tier = Tier.NONE
    price: Price | None = None
    recipients: Mapping[ProviderId, Entry] | None = None
    excluded: frozenset[ProviderId] = _NOBODY
    avoided: frozenset[ProviderId] = _NOBODY
    avoided_versions: frozenset[str] = frozenset()
    cached: Mapping[ProviderId, int] = {}
    preferences: Preferences = NO_PREFERENCES


class Assignment(Struct, frozen=True):
    """Send it there: `entry` is the envelope's entry in sealed mode, None in standard mode.

    `next_ms` is the cost of the cheapest other candidate that was looked at, None where there was no other.
    """

    provider_id: ProviderId
    entry: int | None
    cost_ms: int
    next_ms: int | None = None
    examined: int = 1


class Wait(Struct, frozen=True):
    """Somebody can serve it, not now; `after_s` is when room is likely."""

    after_s: float


class Refusal(Struct, frozen=True):
    """Nobody in the fleet can serve it, however long it waits. `passed` counts the candidates by reason."""

    reason: Reason
    passed: Mapping[Reason, int] = {}


Decision: TypeAlias = Assignment | Wait | Refusal
