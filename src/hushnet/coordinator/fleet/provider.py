"""One live provider: what it proved, what it offers, what it has left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.fleet.beliefs import (
    DEFAULT_POLICY,
    NOTHING,
    BeliefPolicy,
    Doubt,
    believed_capacity,
    believed_load_ms,
    believed_offer,
    believed_rates,
    believed_strain_ms,
)
from hushnet.coordinator.fleet.health import Health
from hushnet.coordinator.fleet.link import ProviderLink
from hushnet.coordinator.fleet.load import Load, OthersWork
from hushnet.coordinator.fleet.reputation.record import Record
from hushnet.coordinator.fleet.steadiness import Steadiness
from hushnet.coordinator.fleet.store import FULL_PRICE, Markups, Owner
from hushnet.coordinator.routing.index import ModelIndex
from hushnet.coordinator.routing.model import Candidate, Traits, context_floor, tokens_floor
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.sealing.limits import KEY_GRACE
from hushnet.sealing.statements import Statement, VerifiedStatement
from hushnet.wire.frames import Capacity, ModelOffer


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A sealing key that the provider still opens with, and the receipt key of the statement that endorsed it."""

    receipt_key: bytes | None
    expires_at: int


@dataclass(eq=False, slots=True, kw_only=True)
class LiveProvider:
    """A provider on one link. A new registration makes a new one; the link is what tells them apart."""

    provider_id: ProviderId
    owner: Owner
    link: ProviderLink
    agent_version: str
    statement: Statement
    verified: VerifiedStatement
    tier: Tier
    load: Load
    connected_ms: int
    policy: BeliefPolicy = DEFAULT_POLICY
    region: str = ""
    """The word of whoever runs it."""
    link_ms: int = 0
    """The link's own round trip, measured where its socket is."""
    offers: dict[ModelId, ModelOffer] = field(default_factory=dict)
    keys: dict[bytes, LiveKey] = field(default_factory=dict)
    health: dict[ModelId, Health] = field(default_factory=dict)
    steadiness: Steadiness = field(default_factory=Steadiness)
    record: Record = field(default_factory=Record)
    findings: Counter[str] = field(default_factory=Counter)
    doubted: frozenset[Doubt] = NOTHING
    """The doubts that have been counted."""
    loads_failed: dict[ModelId, str] = field(default_factory=dict)
    """Models that it was asked to load and does not, and why, until the warm pool has taken note."""
    loaded_s: dict[ModelId, float] = field(default_factory=dict)
    """When it was heard that a model had been loaded on this link (monotonic)."""
    freeing: dict[ModelId, float] = field(default_factory=dict)
    """Models that it was asked to free, and until when (monotonic) what it then said of them may be overtaken by that."""
    key_ids: frozenset[bytes] = frozenset()
    indexed_keys: frozenset[bytes] | None = None
    """The keys that the fleet knows as its: looked at with every report, so they are not entered anew each time."""
    is_draining: bool = False
    is_lost: bool = False
    """Its link has ended; known to its attempts a step before the fleet hears of it."""
    is_stale: bool = False
    """Its statement has run out and no new one came."""
    is_elsewhere: bool = False
    """Its socket hangs on another worker; `link` reaches it there."""
    markups: Markups = FULL_PRICE
    _traits: dict[ModelId, tuple[ModelOffer, Traits]] = field(default_factory=dict, repr=False)
    _strain_ms: int = 0
    _doubts_of_report: frozenset[Doubt] = NOTHING
    _doubts_of_offers: frozenset[Doubt] = NOTHING
    _rates_doubted: set[ModelId] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self.reported(self.load.capacity)

    @property
    def is_routable(self) -> bool:
        """Whether requests may be sent there: an account earns, it is trusted, current, and not on its way out."""
        if self.owner.account_id < 1:  # nobody could be paid
            return False
        return self.tier >= Tier.SELF_SIGNED and not (self.is_draining or self.is_lost or self.is_stale)

    def restate(self, statement: Statement, verified: VerifiedStatement, *, now: int) -> None:
        """Take a rotated statement: new requests use it, old keys open until their grace is over."""
        self.statement, self.verified = statement, verified
        self.is_stale = False
        self.keys = {key_id: key for key_id, key in self.keys.items() if now < key.expires_at + KEY_GRACE}
        self.learn_keys()

    def learn_keys(self) -> None:
        """Remember the keys of the current statement."""
        live = LiveKey(self.verified.receipt_key, self.verified.expires_at)
        self.keys.update({key.key_id: live for key in self.verified.keys})
        self.key_ids = frozenset(self.keys)

    def offer(self, models: Sequence[ModelOffer]) -> None:
        """Replace what the provider serves with what is believed of `models`."""
        believed = [believed_offer(offer, self.policy, agent_version=self.agent_version) for offer in models]
        self.offers = {offer.model: offer for offer, _ in believed}
        self._doubts_of_offers = NOTHING.union(*(doubts for _, doubts in believed))
        self._traits.clear()
        self._rates_doubted.clear()

    def reprice(self) -> bool:
        """Look at what its owner and its tier make of the prices; says whether that has changed for a model."""
        changed = [model for model, (_, traits) in self._traits.items() if self._markup(model) != _markup_in(traits)]
        for model in changed:
            del self._traits[model]
        return bool(changed)

    def reported(self, capacity: Capacity) -> None:
        """Take what is believed of a fresh report."""
        believed, self._doubts_of_report = believed_capacity(capacity, self.policy)
        self._strain_ms = believed_strain_ms(believed)
        self.load.reported(believed)

    def told(self, work: OthersWork) -> None:
        """Take what the worker that holds the link says of a provider elsewhere."""
        self._strain_ms = believed_strain_ms(work.capacity)
        self.load.told(work)

    def doubts(self, now_s: float) -> frozenset[Doubt]:
        """Return what of its present claims is not believed."""
        own = {Doubt.RATE} if self._rates_doubted else set()
        if self.steadiness.penalty_ms(now_s):
            own.add(Doubt.UNSTEADY)
        return self._doubts_of_report | self._doubts_of_offers | own

    def has_loaded(self, model: ModelId, now_s: float) -> bool:
        """Say whether a request sent now finds `model` loaded, as far as can be told."""
        return self.offers[model].is_loaded and self.freeing.get(model, 0.0) <= now_s

    def note_loads(self, before: Mapping[ModelId, ModelOffer], now_s: float) -> None:
        """Remember which of the models are loaded now that were not `before`."""
        for model, offer in self.offers.items():
            if offer.is_loaded and model in before and not before[model].is_loaded:
                self.loaded_s[model] = now_s
        for model in [model for model in self.freeing if model not in self.offers or not self.offers[model].is_loaded]:
            del self.freeing[model]
        for model in self.loaded_s.keys() - self.offers.keys():
            del self.loaded_s[model]

    def health_of(self, model: ModelId) -> Health:
        return self.health.setdefault(model, Health())

    def reported_tokens_s(self, model: ModelId) -> float:
        """Return the decode rate that the provider claims with `model`; 0.0 when it claims none.

        The machine's rate is that of its fastest engine: it stands for a model only where no model has figures of its own.
        """
        capacity = self.load.capacity
        if not capacity.per_model:
            return capacity.decode_tokens_s
        return next((part.decode_tokens_s for part in capacity.per_model if part.model == model), 0.0)

    def reported_prefill_tokens_s(self, model: ModelId) -> float:
        """Return the prefill rate that the provider claims with `model`; 0.0 when it claims none.

        Agents that have no such figure of a model report the machine's: it counts where there is a single model.
        """
        capacity = self.load.capacity
        parts = capacity.per_model
        if not parts:
            return capacity.prefill_tokens_s if len(self.offers) <= 1 else 0.0
        for part in parts:
            if part.model == model:
                return part.prefill_tokens_s or (capacity.prefill_tokens_s if len(parts) == 1 else 0.0)
        return 0.0

    def candidate(self, offer: ModelOffer, *, now_s: float, among: ModelIndex) -> Candidate:
        """Return the router's view of one offer as of `now_s` (monotonic).

        Of its rates is believed what was seen here allows, and then what the rates of those of `among` do.
        """
        standing = self.record.standing(offer.model, now_s)
        seen = standing.believed(self.reported_tokens_s(offer.model))
        read = standing.believed_prefill(self.reported_prefill_tokens_s(offer.model))
        decode, prefill = self._rates(offer.model, seen, read, among)
        health = self.health.get(offer.model)
        return Candidate(
            provider_id=self.provider_id,
            traits=self._traits_of(offer),
            owner=self.owner.account_id,
            agent_version=self.agent_version,
            context_tokens=offer.context_tokens,
            key_ids=self.key_ids,
            slots=offer.slots,
            slots_left=self.load.slots_left(offer.model, offer.slots),
            tokens_ahead=self.load.tokens_ahead,
            tokens_left=self.load.tokens_left(),
            tokens_max=self.load.capacity.tokens_max or None,
            decode_tokens_s=decode,
            prefill_tokens_s=prefill,
            load_ms=believed_load_ms(offer, self.policy),
            link_ms=self.link_ms,
            strain_ms=self._strain_ms,
            failures_ms=(health.penalty_ms(now_s) if health is not None else 0) + self.steadiness.penalty_ms(now_s),
            record_ms=standing.record_ms,
            is_elsewhere=self.is_elsewhere,
        )

    def _rates(self, model: ModelId, decode: float, prefill: float, among: ModelIndex) -> tuple[float, float]:
        believed = believed_rates(
            decode,
            prefill,
            self.policy,
            decode_max=among.decode_believed_max,
            decode_typical=decode or among.decode_median,
        )
        if believed[0] != decode or believed[1] != prefill:
            self._rates_doubted.add(model)
        elif self._rates_doubted:
            self._rates_doubted.discard(model)
        return believed

    def _traits_of(self, offer: ModelOffer) -> Traits:
        """Return what filters look at; the same object as long as it is true, so that the index need not compare."""
        known = self._traits.get(offer.model)
        budget = tokens_floor(self.load.capacity.tokens_max)
        if known is None or known[0] is not offer or known[1].tier is not self.tier or known[1].tokens_floor != budget:
            tier_bps, discount_bps = self._markup(offer.model)
            traits = Traits(
                tier=self.tier,
                features=frozenset(offer.features),
                region=self.region,
                build=offer.build,
                tier_bps=tier_bps,
                discount_bps=discount_bps,
                context_floor=context_floor(offer.context_tokens),
                tokens_floor=budget,
            )
            known = self._traits[offer.model] = (offer, traits)
        return known[1]

    def _markup(self, model: ModelId) -> tuple[int, int]:
        return self.markups.tier_bps(self.tier), self.markups.discount_bps(self.owner.account_id, model)

    def __repr__(self) -> str:
        return f"LiveProvider({self.provider_id[:12]}, {self.tier.label}, {self.load.open_total} open)"


def _markup_in(traits: Traits) -> tuple[int, int]:
    return traits.tier_bps, traits.discount_bps
