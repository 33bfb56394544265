"""What requests cost, for everybody to read; and the discounts that an account gives on its own machines."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, Scope
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.catalog import DEFAULT_TARIFF_ID, EVERY_MODEL, Catalog, Discount, DiscountBook
from hushnet.coordinator.ledger.model import Tier
from hushnet.coordinator.serving.assembly import Serving
from hushnet.foundation.ids import ModelId
from hushnet.foundation.money import BASIS_POINTS_ONE, Price

PRICE_UNIT: Final = "micro-USD per 1000000 tokens"


class DiscountWish(msgspec.Struct, forbid_unknown_fields=True):
    """What every machine of the account takes off, in basis points; `from_ms` announces it for later.

    `model` is `*` for every model of which the account says nothing by name.
    """

    bps: Annotated[int, msgspec.Meta(ge=0, le=BASIS_POINTS_ONE)]
    model: str = EVERY_MODEL
    from_ms: int | None = None


class PricingApi:
    """One public route, and one for a key of scope `user` whose account has providers."""

    def __init__(self, accounts: Accounts, catalog: Catalog, discounts: DiscountBook, serving: Serving) -> None:
        self._accounts = accounts
        self._catalog = catalog
        self._discounts = discounts
        self._fleet = serving.fleet
        self._terms = serving.service.limits.terms
        self._clock = serving.clock

    def routes(self) -> list[Route]:
        return [
            route("/v1/pricing", {"GET": self.pricing}),
            route("/v1/provider/discounts", {"GET": self.discounts, "PUT": self.set_discount}),
        ]

    async def pricing(self, request: Request) -> Response:
        """Show the price in force and the announced ones of every model, and what tiers and fees make of them."""
        terms = self._terms
        tiers = [
            {"trust": tier.name.lower(), "price_bps": terms.tier_bps[tier], "share_bps": terms.share_bps[tier]}
            for tier in Tier
            if tier is not Tier.NONE  # nothing is served there
        ]
        models = sorted({*self._catalog.models(), *self._fleet.on_offer()})
        shown = {
            "object": "list",
            "price_unit": PRICE_UNIT,
            "default": _shown_price(self._catalog.default),
            "fee_bps": terms.fee_bps,
            "referral_bps": terms.referral_bps,
            "tiers": tiers,
            "data": [self._shown(model) for model in models],
        }
        return json_response(shown)

    async def discounts(self, request: Request) -> Response:
        """Show the caller's own discounts, those in force and those announced."""
        caller = await self._caller(request)
        rows = await self._discounts.of(caller.account_id)
        return json_response({"object": "list", "data": [self._shown_discount(row) for row in rows]})

    async def set_discount(self, request: Request) -> Response:
        """Set what the machines of the caller's account take off one model's price, or that of all others."""
        caller = await self._caller(request)
        wish = await read_json(request, DiscountWish)
        row = await self._discounts.set(caller.account_id, wish.model, wish.bps, from_ms=wish.from_ms)
        return json_response(self._shown_discount(row))

    def _shown(self, model: ModelId) -> dict[str, Any]:
        """`discount_bps_max` is the largest discount among the providers that serve the model now."""
        tariff = self._catalog.tariff_of(model)
        serving = self._fleet.serving(model)
        discounts = [self._discounts.bps_of(provider.owner.account_id, model) for provider in serving]
        return {
            "model": model,
            "price": _shown_price(tariff.price),
            "is_default": tariff.id == DEFAULT_TARIFF_ID,
            "from_ms": tariff.from_ms,
            "announced": [
                {"price": _shown_price(later.price), "from_ms": later.from_ms}
                for later in self._catalog.announced(model)
            ],
            "providers": len(serving),
            "discount_bps_max": max(discounts, default=0),
        }

    def _shown_discount(self, row: Discount) -> dict[str, Any]:
        return {
            "model": row.model,
            "bps": row.bps,
            "from_ms": row.from_ms,
            "is_in_force": row.from_ms <= self._clock.now_ms(),
        }

    async def _caller(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)


def _shown_price(price: Price) -> dict[str, int]:
    return {"input": price.input, "cached": price.cached, "output": price.output, "minimum": price.minimum}
