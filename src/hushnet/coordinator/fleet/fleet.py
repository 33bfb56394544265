"""The registry of live providers, indexed by model for the router.

Candidates are rebuilt when something about their provider changes, never while routing: a decision reads an index.
Whoever waits for capacity subscribes and is told the models for which something has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, KeysView, Sequence, ValuesView
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.fleet.beliefs import DEFAULT_POLICY, BeliefPolicy, Doubt
from hushnet.coordinator.fleet.health import Health
from hushnet.coordinator.fleet.load import OthersWork
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.remembered import Remembered
from hushnet.coordinator.fleet.reputation.book import RecordBook
from hushnet.coordinator.fleet.reputation.latency import expected
from hushnet.coordinator.fleet.reputation.outcomes import Outcome, Service
from hushnet.coordinator.fleet.steadiness import Steadiness
from hushnet.coordinator.fleet.store import FULL_PRICE, Markups
from hushnet.coordinator.routing.cost import OUTPUT_EXPECTED_TOKENS_MAX
from hushnet.coordinator.routing.index import ModelIndex
from hushnet.coordinator.routing.model import Candidate, RouteRequest
from hushnet.coordinator.routing.router import View
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.sealing.statements import Statement, VerifiedStatement
from hushnet.wire.frames import Capacity, ModelOffer

MODELS_REMEMBERED_MAX: Final = 4096
HEALTH_REMEMBERED_MAX: Final = 16_384
"""Providers whose failures and joins outlive their links: one that dies at every attempt must not come back unblemished."""

_NOBODY: Final = ModelIndex()

Listener: TypeAlias = Callable[[Iterable[ModelId], LiveProvider | None], None]
Watcher: TypeAlias = Callable[[LiveProvider], None]


@dataclass(eq=False, slots=True)
class Slot:
    """Capacity of one provider, taken by one attempt until it is released."""

    provider: LiveProvider
    model: ModelId
    tokens: int
    output: int
    _fleet: Fleet = field(repr=False)
    _is_taken: bool = True
    candidate: Candidate | None = None
    """What the router saw when it was taken."""
    is_judged: bool = False
    """Whether the attempt has said something of its provider."""
    is_cold: bool = False
    """The provider must load the model first, which takes about `load_s`."""
    load_s: float = 0.0
    others: int = 0
    """How many attempts of others ran there when it was taken, as far as the router's view showed."""

    def release(self) -> None:
        """Give the capacity back; again is without effect."""
        if self._is_taken:
            self._is_taken = False
            self.provider.load.closed(self.model, tokens=self.tokens, output=self.output)
            self._fleet.recount(self.provider)

    @property
    def beside(self) -> int:
        """How many other attempts run there now, as far as that is known here.

        A provider's later word counts for fewer neighbours, never for more: those that it shows only when an answer ends
        would excuse how long it took, and cost it nothing when it was chosen.
        """
        offer = self.provider.offers.get(self.model)
        slots = offer.slots if offer is not None else 0
        load = self.provider.load
        shown = slots - load.slots_left(self.model, slots)
        return max(min(shown, load.open_total + self.others) - self._is_taken, 0)


class Fleet:
    """Every live provider that this process can reach, over a link of its own or of another worker."""

    def __init__(
        self, clock: Clock, policy: BeliefPolicy | None = None, *, remembered_max: int = HEALTH_REMEMBERED_MAX
    ) -> None:
        self.policy = policy or DEFAULT_POLICY
        self.markups: Markups = FULL_PRICE
        """Set before the first provider joins."""
        self._clock = clock
        self._providers: dict[ProviderId, LiveProvider] = {}
        self._by_model: dict[ModelId, ModelIndex] = {}
        self._keys: dict[bytes, set[ProviderId]] = {}
        self._seen: dict[ModelId, None] = {}
        self._listeners: list[Listener] = []
        self._watchers: list[Watcher] = []
        self._health: Remembered[dict[ModelId, Health]] = Remembered(remembered_max, is_here=self._is_here)
        self._steadiness: Remembered[Steadiness] = Remembered(remembered_max, is_here=self._is_here)
        self.records = RecordBook(clock)

    # Reading.

    def view(self, model: ModelId) -> View:
        """Return what the router needs to know for `model`: a live view, no copy; look at it within one step."""
        return View(self._by_model.get(model, _NOBODY), self._keys.keys())

    def get(self, provider_id: ProviderId) -> LiveProvider | None:
        return self._providers.get(provider_id)

    def providers(self) -> ValuesView[LiveProvider]:
        return self._providers.values()

    def serving(self, model: ModelId) -> list[LiveProvider]:
        """Return the routable providers that offer `model`."""
        return [self._providers[provider_id] for provider_id in self._by_model.get(model, ())]

    def models(self) -> dict[ModelId, list[ModelOffer]]:
        """Return the models on offer now with every routable provider's offer of each."""
        return {
            model: [self._providers[provider_id].offers[model] for provider_id in candidates]
            for model, candidates in self._by_model.items()
        }

    def on_offer(self) -> KeysView[ModelId]:
        """Return the models that some routable provider offers now."""
        return self._by_model.keys()

    def has_seen(self, model: ModelId) -> bool:
        """Say whether any provider has offered `model` since this process started."""
        return model in self._seen

    def may_join(self, provider_id: ProviderId) -> bool:
        """Say whether a provider has not joined too often lately."""
        known = self._steadiness.get(provider_id)
        return known is None or known.may_join(self._clock.monotonic_s())

    def joins(self, provider_id: ProviderId) -> int:
        """Return how often a provider has joined within the last minute, whether it is here or not."""
        known = self._steadiness.get(provider_id)
        return 0 if known is None else known.joins(self._clock.monotonic_s())

    def doubts(self, provider: LiveProvider) -> frozenset[Doubt]:
        """Return what of a provider's present claims is not believed."""
        return provider.doubts(self._clock.monotonic_s())

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with models whose candidates have changed: when a provider is named, only its room."""
        self._listeners.append(listener)

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` with every provider that has changed in any way, or left; cheap, and it changes nothing."""
        self._watchers.append(watcher)

    # Capacity.

    def take(self, provider_id: ProviderId, request: RouteRequest) -> Slot:
        """Take the capacity that `request` needs at a candidate of the last `view`."""
        provider = self._providers[provider_id]
        offer = provider.offers[request.model]
        context = offer.context_tokens
        tokens = min(request.prompt_tokens_max + request.output_tokens_max, context)
        output = min(request.output_tokens_max, OUTPUT_EXPECTED_TOKENS_MAX)
        index = self._by_model.get(request.model, _NOBODY)
        candidate = index.get(provider_id)
        busy = candidate.slots - candidate.slots_left if candidate is not None else 0
        others = max(busy - provider.load.open_total, 0)
        provider.load.opened(request.model, tokens=tokens, output=output)
        self._index(provider)
        is_cold = not provider.has_loaded(request.model, self._clock.monotonic_s())
        load_s = offer.load_s if is_cold else 0.0
        return Slot(
            provider,
            request.model,
            tokens,
            output,
            self,
            candidate=candidate,
            is_cold=is_cold,
            load_s=load_s,
            others=others,
        )

    def note_full(self, provider: LiveProvider, model: ModelId, refused: Slot | None = None) -> None:
        """The provider refused for want of capacity: leave it alone until it reports or frees a slot.

        `refused` is the slot, released, that the provider itself would not give: where its last report leaves room for
        that, the refusal counts against it.
        """
        offer = provider.offers.get(model)
        if refused is not None and offer is not None and provider.load.has_room(model, offer.slots, refused.tokens):
            provider.health_of(model).refused(self._clock.monotonic_s())
        provider.load.full.add(model)
        self._index(provider)

    def note_failed(self, provider: LiveProvider, model: ModelId) -> None:
        """Count a failure of the provider's own."""
        provider.health_of(model).failed(self._clock.monotonic_s())
        self._index(provider)

    def note_outrun(self, provider: LiveProvider, model: ModelId) -> None:
        """A backup was there first, though it began later: no failure, but others are tried before for a while."""
        provider.health_of(model).outrun(self._clock.monotonic_s())
        self._index(provider)

    def note_served(self, provider: LiveProvider, model: ModelId, *, began_s: float) -> None:
        """A whole answer came to an attempt that began at `began_s`: failures before that are forgiven."""
        health = provider.health.get(model)
        if health is not None and health.succeeded(began_s):
            self._index(provider)

    def note_outcome(self, slot: Slot, outcome: Outcome, service: Service | None = None) -> None:
        """Put into the provider's record how an attempt ended, and how it was served; only the first word counts.

        What says nothing of the provider changes nothing, and a later word may.
        """
        if slot.is_judged or not outcome.is_counted:
            return
        slot.is_judged = True
        record, now_s = slot.provider.record, self._clock.monotonic_s()
        record.note(slot.model, outcome, now_s)
        if service is not None and slot.candidate is not None:
            index = self._by_model.get(slot.model, _NOBODY)
            forecast = expected(slot.candidate, service, decode_unknown=index.decode_median)
            record.note_service(slot.model, service, forecast, busy=slot.beside, now_s=now_s)
        if outcome is not Outcome.SERVED:
            self._index(slot.provider)

    def note_challenge(self, provider: LiveProvider, *, is_answered: bool) -> None:
        """Put into the provider's record whether it has answered a challenge."""
        provider.record.note_challenge(is_answered=is_answered, now_s=self._clock.monotonic_s())

    # What links report (through the gate).

    def join(self, provider: LiveProvider) -> LiveProvider | None:
        """Publish a provider; returns the one with the same id that it replaces."""
        old = self._providers.get(provider.provider_id)
        if old is not None:
            self._unindex(old)
        self._providers[provider.provider_id] = provider
        provider.markups = self.markups
        self._remember_health(provider)
        self._count_join(provider)
        provider.record = self.records.of(provider.provider_id)
        is_flap = old is not None and not (old.is_draining or old.is_elsewhere or provider.is_elsewhere)
        provider.record.arrived(self._clock.monotonic_s(), is_flap=is_flap)
        provider.learn_keys()
        self.refresh(provider)
        return old

    def leave(self, provider: LiveProvider) -> bool:
        """Remove a provider whose link is gone; False when it had been replaced before."""
        if self._providers.get(provider.provider_id) is not provider:
            return False
        self._unindex(provider)
        del self._providers[provider.provider_id]
        provider.record.left(
            self._clock.monotonic_s(), is_announced=provider.is_draining, is_flap=not provider.is_elsewhere
        )
        provider.record.keep_standings(())
        for memory in (self._health, self._steadiness, self.records):
            memory.left(provider.provider_id)
        self._watched(provider)
        self._tell(provider.offers, None)
        return True

    def reported(self, provider: LiveProvider, capacity: Capacity) -> None:
        provider.reported(capacity)
        self.recount(provider)

    def judged(self, provider: LiveProvider, tier: Tier) -> None:
        if tier is not provider.tier:
            provider.tier = tier
            self.refresh(provider)

    def restated(self, provider: LiveProvider, statement: Statement, verified: VerifiedStatement) -> None:
        self._unindex(provider)
        provider.restate(statement, verified, now=self._clock.now_ms() // 1000)
        self.refresh(provider)

    def offered(self, provider: LiveProvider, models: Sequence[ModelOffer]) -> None:
        self._unindex(provider)
        before = provider.offers
        gone = set(before)
        provider.offer(models)
        provider.note_loads(before, self._clock.monotonic_s())
        provider.record.keep_standings(provider.offers)
        self.refresh(provider)
        self._tell(gone - set(provider.offers), None)

    def drained(self, provider: LiveProvider) -> None:
        provider.is_draining = True
        self.refresh(provider)

    def noted(self, provider: LiveProvider) -> None:
        """Show a provider to the watchers; nothing that a decision looks at has changed."""
        if self._providers.get(provider.provider_id) is provider:
            self._watched(provider)

    def told(self, provider: LiveProvider, work: OthersWork) -> None:
        """Take the news of a provider elsewhere from the worker that holds its link."""
        provider.told(work)
        self.recount(provider)

    def retire_stale(self) -> None:
        """Stop routing to providers whose statement has run out; called by the pulse."""
        now = self._clock.now_ms() // 1000
        for provider in list(self._providers.values()):
            if not provider.is_stale and now >= provider.verified.expires_at:
                provider.is_stale = True
                self.refresh(provider)

    def reprice(self) -> None:
        """Let the router see what providers' owners have set, and announced for a time that has come."""
        for provider in list(self._providers.values()):
            if provider.reprice():
                self.refresh(provider)

    def refresh(self, provider: LiveProvider) -> None:
        """Rebuild a provider's candidates and tell who waits; without effect once the provider is gone."""
        if self._providers.get(provider.provider_id) is provider:
            self._index(provider)
            self._tell(provider.offers, None)

    def recount(self, provider: LiveProvider) -> None:
        """The same for a provider of which nothing but its room has changed."""
        if self._providers.get(provider.provider_id) is provider:
            self._index(provider)
            self._tell(provider.offers, provider)

    def _index(self, provider: LiveProvider) -> None:
        if self._providers.get(provider.provider_id) is not provider:
            return
        self._watched(provider)
        if not provider.is_routable:
            self._unindex(provider)
            return
        now_s = self._clock.monotonic_s()
        for model, offer in provider.offers.items():
            index = self._by_model.get(model)
            if index is None:
                index = self._by_model[model] = ModelIndex()
            index.put(provider.candidate(offer, now_s=now_s, among=index))
            if model not in self._seen and len(self._seen) < MODELS_REMEMBERED_MAX:
                self._seen[model] = None
        if provider.indexed_keys is not provider.key_ids:
            provider.indexed_keys = provider.key_ids
            for key_id in provider.keys:
                self._keys.setdefault(key_id, set()).add(provider.provider_id)

    def _unindex(self, provider: LiveProvider) -> None:
        for model in provider.offers:
            index = self._by_model.get(model)
            if index is not None:
                index.remove(provider.provider_id)
                if not index:
                    del self._by_model[model]
        provider.indexed_keys = None
        # A key may be in several statements: whoever copies another's public key takes nothing away when it leaves.
        for key_id in provider.keys:
            holders = self._keys.get(key_id)
            if holders is not None:
                holders.discard(provider.provider_id)
                if not holders:
                    del self._keys[key_id]

    def _remember_health(self, provider: LiveProvider) -> None:
        """Let all links of one provider share one record; the attempts of a lost link are judged after it is gone."""
        provider.health = self._health.seen(provider.provider_id, lambda: provider.health)

    def _count_join(self, provider: LiveProvider) -> None:
        """Let all links of one provider share one record of its joins."""
        known = provider.steadiness = self._steadiness.seen(provider.provider_id, lambda: provider.steadiness)
        known.joined(self._clock.monotonic_s(), link=provider.connected_ms)

    def _is_here(self, provider_id: ProviderId, _: object) -> bool:
        return provider_id in self._providers

    def _watched(self, provider: LiveProvider) -> None:
        for watcher in self._watchers:
            watcher(provider)

    def _tell(self, models: Iterable[ModelId], provider: LiveProvider | None) -> None:
        for listener in self._listeners:
            listener(models, provider)
