"""Who has which model loaded, and who could load it: kept up as providers change, so that nobody looks through the fleet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final, TypeAlias

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.wire.frames import ModelOffer

Offers: TypeAlias = Mapping[ModelId, ModelOffer]
Changed: TypeAlias = Callable[[ProviderId, Offers, Offers], None]
"""Hears of a provider of this worker, what it offered before and what it offers now; nothing when it is gone."""

_NONE: Final[Offers] = {}


class Places:
    """Providers by model, in the order in which they are looked at."""

    def __init__(self) -> None:
        self._of: dict[ModelId, dict[ProviderId, None]] = {}

    def __contains__(self, model: object) -> bool:
        return model in self._of

    def count(self, model: ModelId) -> int:
        return len(self._of.get(model, ()))

    def first(self, model: ModelId) -> ProviderId | None:
        return next(iter(self._of.get(model, ())), None)

    def members(self, model: ModelId) -> list[ProviderId]:
        return list(self._of.get(model, ()))

    def some(self, model: ModelId, most: int) -> list[ProviderId]:
        """Return up to `most` providers; they go to the end of the row, so that the next look is at others."""
        members = self._of.get(model, {})
        some = list(islice(members, most))
        for provider_id in some:
            del members[provider_id]
            members[provider_id] = None
        return some

    def add(self, provider_id: ProviderId, model: ModelId) -> None:
        self._of.setdefault(model, {})[provider_id] = None

    def remove(self, provider_id: ProviderId, model: ModelId) -> None:
        """Take a provider out; without effect when it is not there."""
        members = self._of.get(model)
        if members is not None and provider_id in members:
            del members[provider_id]
            if not members:
                del self._of[model]


class Stock:
    """The loaded and loadable models of the fleet. An offer without a `load_s` is of a provider that loads nothing on request."""

    def __init__(self, fleet: Fleet, on_change: Changed) -> None:
        self.warm, self.cold, self.elsewhere = Places(), Places(), Places()
        """Loaded here; loadable here; loaded at a provider of another worker."""
        self._fleet = fleet
        self._on_change = on_change
        self._offers: OrderedDict[ProviderId, tuple[Offers, bool]] = OrderedDict()
        fleet.watch(self._note)

    def is_cold(self, model: ModelId) -> bool:
        """Say whether nobody has `model` loaded and somebody here could load it."""
        return model in self.cold and model not in self.warm and model not in self.elsewhere

    def offer(self, model: ModelId) -> ModelOffer | None:
        """Return one of the offers of `model` here, of a provider that has it loaded if there is one."""
        provider_id = self.warm.first(model) or self.cold.first(model)
        return None if provider_id is None else self._offers[provider_id][0][model]

    def next_providers(self, most: int, *, offers_most: int) -> list[ProviderId]:
        """Return the providers whose turn it is to be looked at: so many, or as make so many offers."""
        some: list[ProviderId] = []
        for provider_id, (offers, _) in islice(self._offers.items(), most):
            some.append(provider_id)
            offers_most -= len(offers)
            if offers_most <= 0:
                break
        for provider_id in some:
            self._offers.move_to_end(provider_id)
        return some

    def has(self, model: ModelId) -> bool:
        """Say whether a provider of this worker has `model`, loaded or not."""
        return model in self.warm or model in self.cold

    def knows(self, provider_id: ProviderId) -> bool:
        """Say whether a provider may be sent requests, so that its going will be heard of here."""
        return provider_id in self._offers

    def offered_by(self, provider_id: ProviderId) -> Iterable[ModelId]:
        """Return what a provider offers."""
        return self._offers[provider_id][0].keys()

    def _note(self, provider: LiveProvider) -> None:
        """Take note of a provider that has changed in any way: nearly always nothing that matters here has."""
        provider_id = provider.provider_id
        present = self._fleet.get(provider_id)
        is_here = present is provider and provider.is_routable
        known = self._offers.get(provider_id)
        if known is None:
            if is_here:
                self._put(provider, _NONE)
        elif is_here:
            if known[0] is not provider.offers or known[1] is not provider.is_elsewhere:
                self._take_out(provider_id, *known)
                self._put(provider, _NONE if known[1] else known[0])
        elif present is None or present is provider:
            del self._offers[provider_id]
            self._take_out(provider_id, *known)
            self._on_change(provider_id, known[0], _NONE)

    def _put(self, provider: LiveProvider, before: Offers) -> None:
        provider_id, is_elsewhere = provider.provider_id, provider.is_elsewhere
        self._offers[provider_id] = provider.offers, is_elsewhere
        for model, offer in provider.offers.items():
            if offer.is_loaded:
                (self.elsewhere if is_elsewhere else self.warm).add(provider_id, model)
            elif offer.load_s and not is_elsewhere:
                self.cold.add(provider_id, model)
        self._on_change(provider_id, before, _NONE if is_elsewhere else provider.offers)

    def _take_out(self, provider_id: ProviderId, offers: Offers, is_elsewhere: bool) -> None:
        for model in offers:
            if is_elsewhere:
                self.elsewhere.remove(provider_id, model)
            else:
                self.warm.remove(provider_id, model)
                self.cold.remove(provider_id, model)
