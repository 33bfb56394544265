"""Keeps models loaded where they will be asked for: carries demand and the fleet's state to the policy, and its plan out.

Rules: `routing.warmth` decides. Only providers whose socket hangs here are asked, and by this worker alone. A plan looks at
a bounded number of them, in turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from hushnet.coordinator.fleet.fleet import Fleet, Slot
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.stock import Offers, Stock
from hushnet.coordinator.fleet.store import WarmthCounts
from hushnet.coordinator.fleet.warm_count import WarmCount
from hushnet.coordinator.routing.holdings import Action, Holding, Load, Machine, ModelState
from hushnet.coordinator.routing.warmth import WarmPolicy
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.wire.frames import ModelOffer

_LOG = logging.getLogger(__name__)

LOOKED_AT_MAX: Final = 256
"""Providers that one plan looks at, a few microseconds each; of a larger fleet the next plan looks at the next."""
OFFERS_MAX: Final = 1024
"""Or as many as make so many offers: a provider may make 64."""
ABLE_MAX: Final = 32
"""Providers looked at for a model that somebody waits for, beside those whose turn it is."""
HURRY_S: Final = 0.25
"""How often a model that somebody waits for is planned for outside the pulse (the reference system's one plan per 250 ms)."""
MEMORY_SHARE_MIN: Final = 0.1
"""A machine with less of its memory free gives up a model before it loads another."""
NO_MEMORY: Final = "memory"
"""The code of a refusal for want of memory."""


class WarmPool:
    """The models of this worker's providers. `tick` is called about once a second by the pulse."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        policy: WarmPolicy,
        *,
        waiting: Callable[[ModelId], int],
        telemetry: WarmthCounts,
    ) -> None:
        """Plan for `fleet`; `waiting` tells how many requests wait for a model."""
        self._fleet = fleet
        self._clock = clock
        self._policy = policy
        self._waiting = waiting
        self._telemetry = telemetry
        self._used_s: dict[tuple[ProviderId, ModelId], float] = {}
        """When each model that is loaded here was loaded or last seen in use."""
        self._proven: set[tuple[ProviderId, ModelId]] = set()
        """Who has served a model since it was loaded here: that a model is loaded is otherwise only its machine's word."""
        self._full: set[ProviderId] = set()
        """Who has refused a load for want of memory and has freed nothing since."""
        self._hurried_s: dict[ModelId, float] = {}
        self._stock = Stock(fleet, self._changed)
        self._warm = WarmCount(fleet, self._stock, self._proven)
        fleet.watch(self._note)

    @property
    def loading(self) -> int:
        """How many loads are under way."""
        return self._policy.loading

    def is_cold(self, model: ModelId) -> bool:
        """Say whether whoever asks for `model` now has to wait until it is loaded."""
        return self._stock.is_cold(model)

    # What routing tells.

    def arrived(self, model: ModelId) -> None:
        """A request for `model` came to be routed; what nobody here has, nobody can be asked to load."""
        if self._stock.has(model):
            self._policy.arrived(model, self._clock.monotonic_s())

    def placed(self, slot: Slot) -> None:
        """A request was sent to a provider; where the model is not loaded, that loads it."""
        pair, now_s = (slot.provider.provider_id, slot.model), self._clock.monotonic_s()
        if slot.is_cold:
            self._telemetry.warmth(kind="cold_start", reason="request")
            if not (slot.provider.is_elsewhere or slot.provider.offers[slot.model].is_loaded):
                self._policy.began(*pair, load_s=slot.load_s, now_s=now_s, owner=slot.provider.owner.account_id)
        elif pair in self._used_s:
            self._used_s[pair] = now_s

    def served(self, slot: Slot, seconds: float) -> None:
        """An answer held `slot` for `seconds`."""
        pair = slot.provider.provider_id, slot.model
        if pair in self._used_s:
            self._proven.add(pair)
        if not slot.is_cold:
            self._policy.served(slot.model, seconds)

    def waits(self, model: ModelId) -> None:
        """Requests wait for `model`: where nobody has it loaded, do not leave it to the next tick."""
        if not self.is_cold(model):
            return
        now_s = self._clock.monotonic_s()
        if now_s - self._hurried_s.get(model, -HURRY_S) >= HURRY_S:
            self._hurried_s[model] = now_s
            self._plan((model,), self._stock.cold.some(model, ABLE_MAX), now_s)

    # What the pulse calls.

    def tick(self) -> None:
        """Plan once for all models that are asked for, pinned, or held by those whose turn it is to be looked at."""
        now_s, stock = self._clock.monotonic_s(), self._stock
        self._hurried_s = {model: at_s for model, at_s in self._hurried_s.items() if now_s - at_s < HURRY_S}
        wanted = {*self._policy.asked_for, *(model for model in self._policy.pins if stock.has(model))}
        self._warm.tick(now_s)
        looked_at = dict.fromkeys(stock.next_providers(LOOKED_AT_MAX, offers_most=OFFERS_MAX))
        models = {model for provider_id in looked_at for model in stock.offered_by(provider_id)}
        for model in wanted:
            if self._waiting(model) or self._policy.pins.get(model, 0) > self._warm.of(model, now_s).warm:
                looked_at.update(dict.fromkeys(stock.cold.some(model, ABLE_MAX)))
        self._plan({*models, *wanted}, looked_at, now_s)

    def _plan(self, models: Iterable[ModelId], providers: Iterable[ProviderId], now_s: float) -> None:
        machines = [machine for each in providers if (machine := self._machine(each, now_s)) is not None]
        states = {model: state for model in models if (state := self._state(model, now_s)) is not None}
        for action in self._policy.plan(states, machines, now_s):
            self._ask(action)

    def _ask(self, action: Action) -> None:
        provider = self._fleet.get(action.provider_id)
        if provider is None:
            return
        is_load = isinstance(action, Load)
        if is_load:
            provider.link.load_model(action.model)
        else:
            provider.link.unload_model(action.model)
            provider.freeing[action.model] = self._clock.monotonic_s() + self._policy.limits.unload_s
        self._telemetry.warmth(kind="load" if is_load else "unload", reason=action.why.value)
        _LOG.info(
            "a provider is asked to load a model" if is_load else "a provider is asked to free a model",
            extra={"provider_id": action.provider_id, "model": action.model, "reason": action.why.value},
        )

    def _state(self, model: ModelId, now_s: float) -> ModelState | None:
        offer = self._stock.offer(model)
        if offer is None:
            return None
        warm = self._warm.of(model, now_s)
        return ModelState(
            warm=warm.warm,
            owners=warm.owners,
            proven=warm.proven,
            slots=float(offer.slots),
            load_s=offer.load_s,
            queue=self._waiting(model),
        )

    def _machine(self, provider_id: ProviderId, now_s: float) -> Machine | None:
        provider = self._fleet.get(provider_id)
        if provider is None or provider.is_elsewhere or not any(offer.load_s for offer in provider.offers.values()):
            return None
        capacity = provider.load.capacity
        is_tight = capacity.memory_bytes_free < capacity.memory_bytes_total * MEMORY_SHARE_MIN
        holdings = {model: self._holding(provider, offer, now_s) for model, offer in provider.offers.items()}
        return Machine(provider_id, holdings, not is_tight and provider_id not in self._full, provider.owner.account_id)

    def _holding(self, provider: LiveProvider, offer: ModelOffer, now_s: float) -> Holding:
        load, pair = provider.load, (provider.provider_id, offer.model)
        running = load.open_by_model[offer.model] + load.others_by_model.get(offer.model, 0)
        if running and pair in self._used_s:
            self._used_s[pair] = now_s
        return Holding(offer.is_loaded, offer.load_s, running, self._used_s.get(pair, now_s), pair in self._proven)

    # What the fleet tells.

    def _changed(self, provider_id: ProviderId, before: Offers, now: Offers) -> None:
        now_s = self._clock.monotonic_s()
        if not now:
            self._policy.left(provider_id)
            self._full.discard(provider_id)
        for model, offer in before.items():
            is_held = model in now and now[model].is_loaded
            if not is_held:
                self._used_s.pop((provider_id, model), None)
                self._proven.discard((provider_id, model))
            if offer.is_loaded and not is_held:
                self._full.discard(provider_id)
                self._policy.unloaded(provider_id, model)
            if not self._stock.has(model):
                self._policy.forgotten(model)
            if model not in now:
                self._policy.failed(provider_id, model, now_s)
        for model, offer in now.items():
            if offer.is_loaded:
                self._policy.loaded(provider_id, model)
                self._used_s.setdefault((provider_id, model), now_s)

    def _note(self, provider: LiveProvider) -> None:
        if not provider.loads_failed:
            return
        now_s = self._clock.monotonic_s()
        for model, code in provider.loads_failed.items():
            self._policy.failed(provider.provider_id, model, now_s)
            self._telemetry.warmth(kind="failed", reason=NO_MEMORY if code == NO_MEMORY else "other")
            if code == NO_MEMORY and self._stock.knows(provider.provider_id):
                self._full.add(provider.provider_id)
        provider.loads_failed.clear()
