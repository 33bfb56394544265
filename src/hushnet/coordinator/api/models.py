"""The models on offer, in OpenAI's shape with what a consumer of this network asks next: price, providers, trust."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.api.bodies import json_response
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.catalog import Catalog
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import ModelId

OWNED_BY: Final = "hushnet"


class ModelsApi:
    """Public routes: they show live offers, and nothing about any consumer."""

    def __init__(self, fleet: Fleet, catalog: Catalog, clock: Clock) -> None:
        self._fleet = fleet
        self._catalog = catalog
        self._started_s = clock.now_ms() // 1000

    def routes(self) -> list[Route]:
        return [
            route("/v1/models", {"GET": self.list_models}),
            route("/v1/models/{model:path}", {"GET": self.show_model}),
        ]

    async def list_models(self, request: Request) -> Response:
        """List the models on offer: price, context, features, providers."""
        models = [self._shown(model, self._fleet.serving(model)) for model in sorted(self._fleet.models())]
        return json_response({"object": "list", "data": models})

    async def show_model(self, request: Request) -> Response:
        """Show one model on offer."""
        model = ModelId(request.path_params["model"])
        providers = self._fleet.serving(model)
        if not providers:
            raise RequestError("no provider serves this model", code="model_not_found")
        return json_response(self._shown(model, providers))

    def _shown(self, model: ModelId, providers: list[LiveProvider]) -> dict[str, Any]:
        """`trust` is the best tier on offer; `context_tokens` the longest; `features` what at least one provider has."""
        offers = [provider.offers[model] for provider in providers]
        tariff = self._catalog.tariff_of(model)
        price = tariff.price
        tiers = [provider.tier.label for provider in providers]
        return {
            "id": model,
            "object": "model",
            "created": tariff.from_ms // 1000 or self._started_s,
            "owned_by": OWNED_BY,
            "context_tokens": max(offer.context_tokens for offer in offers),
            "features": sorted({feature for offer in offers for feature in offer.features}),
            "price": {"input": price.input, "cached": price.cached, "output": price.output, "minimum": price.minimum},
            "price_unit": "micro-USD per 1000000 tokens",
            "providers": len(providers),
            "trust": max(providers, key=lambda provider: provider.tier).tier.label,
            "trust_tiers": {label: tiers.count(label) for label in sorted(set(tiers))},
        }
