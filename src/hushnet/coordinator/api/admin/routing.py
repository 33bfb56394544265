"""What the operator sees of routing: why a request would go where it goes, and what the router knows of each model.

Both look at a whole fleet, which may be large: some candidates at a time, so that requests are served in between, and one
such look at a time. Nothing is taken, queued or counted by a look.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.attestation.tiers import tier_of
from hushnet.coordinator.accounts import Accounts, Scope
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.catalog import Catalog
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.routing.cost import PROMPT_BYTES_PER_TOKEN
from hushnet.coordinator.routing.explain import LIMIT_DEFAULT, Survey
from hushnet.coordinator.routing.model import Preferences, RouteRequest, SelfRoute
from hushnet.coordinator.routing.router import View
from hushnet.coordinator.routing.summary import Tally
from hushnet.coordinator.serving.assembly import Serving
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ModelId, ProviderId
from hushnet.foundation.money import PRICE_MICRO_USD_MAX, Price

T = TypeVar("T")

LIMIT_MAX: Final = 200
MODELS_MAX: Final = 32
"""Models in one answer, which stays below 1 MiB however wordy the providers; `after` asks for more."""
SLICE: Final = 500
"""Candidates between two turns of the event loop: about a millisecond."""
_TOKENS_MAX: Final = 1 << 24
_WHOLE_ID: Final = 64

_Tokens = Annotated[int, msgspec.Meta(ge=1, le=_TOKENS_MAX)]
_Micros = Annotated[int, msgspec.Meta(ge=0, le=PRICE_MICRO_USD_MAX)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Words = Annotated[list[_Word], msgspec.Meta(max_length=64)]
_Ids = Annotated[list[Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8,64}\Z")]], msgspec.Meta(max_length=64)]
_Unroutable: TypeAlias = dict[ModelId, Counter[str]]
_Trust = Literal["none", "self_signed", "measured", "hardware"]


class PriceBound(msgspec.Struct, forbid_unknown_fields=True):
    """Micro-USD per 10^6 tokens, at most."""

    input: _Micros
    output: _Micros


class OwnWish(msgspec.Struct, forbid_unknown_fields=True):
    """An account whose own machines come first, or alone."""

    account_id: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    only: bool = False


class PreferencesWish(msgspec.Struct, forbid_unknown_fields=True):
    """Providers are named by their ids, or by the first eight characters or more of them."""

    only: _Ids = []
    ignore: _Ids = []
    regions: _Words = []
    builds: _Words = []
    price_max: PriceBound | None = None
    ms_per_micro_usd: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    own: OwnWish | None = None


class RouteWish(msgspec.Struct, forbid_unknown_fields=True):
    """A request in the router's terms. `prompt_tokens` are expected tokens; the bound that a request carries is bytes."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    prompt_tokens: _Tokens = 400
    output_tokens_max: _Tokens | None = None
    features: _Words = []
    trust: _Trust = "none"
    preferences: PreferencesWish = msgspec.field(default_factory=PreferencesWish)
    excluded: _Ids = []
    avoided: _Ids = []
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT


class AdminRoutingApi:
    """Routes for a key of scope `operator`."""

    def __init__(self, accounts: Accounts, catalog: Catalog, serving: Serving) -> None:
        self._accounts = accounts
        self._catalog = catalog
        self._fleet = serving.fleet
        self._service = serving.service
        self._turn = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [
            route("/v1/admin/route/explain", {"POST": self.explain}),
            route("/v1/admin/fleet", {"GET": self.show_fleet}),
        ]

    async def explain(self, request: Request) -> Response:
        """Decide as for a request that comes now, and say why; `waiting` requests would have their turn before it."""
        await self._operator(request)
        wish = await read_json(request, RouteWish)
        model = ModelId(wish.model)
        async with self._turn:
            unroutable = await self._unroutable(model)
            self._check_known(model, unroutable)
            view = self._fleet.view(model)
            survey = Survey(view, self._route_request(wish, view), seed=wish.seed, limit=wish.limit)
            for _ in range(0, survey.total, SLICE):
                survey.look(SLICE)
                await asyncio.sleep(0)
        return json_response(self._with_state(survey.explanation(), model, unroutable))

    async def show_fleet(self, request: Request) -> Response:
        """Summarise the models on offer, in the order of their names, from `after` on; `?model=` asks for one."""
        await self._operator(request)
        asked, after = request.query_params.get("model"), request.query_params.get("after", "")
        only = None if asked is None else ModelId(asked)
        async with self._turn:
            unroutable = await self._unroutable(only)
            if only is not None:
                self._check_known(only, unroutable)
                models = [only]
            else:
                models = [model for model in sorted({*self._fleet.on_offer(), *unroutable}) if model > after]
            shown = [await self._summary(model, unroutable) for model in models[:MODELS_MAX]]
        return json_response({"object": "list", "data": shown, "has_more": len(models) > MODELS_MAX})

    async def _summary(self, model: ModelId, unroutable: _Unroutable) -> dict[str, Any]:
        index = self._fleet.view(model).index
        tally = Tally(model, index)
        for some in _slices([place.candidate for place in index.everybody()]):
            tally.add(some)
            await asyncio.sleep(0)
        return self._with_state(tally.summary(), model, unroutable)

    def _with_state(self, found: msgspec.Struct, model: ModelId, unroutable: _Unroutable) -> dict[str, Any]:
        """Add to what the router knows who waits for it, and who is connected and hidden from it."""
        waiting, hidden = self._service.waiting_for(model), dict(unroutable.get(model, ()))
        return {**msgspec.to_builtins(found), "waiting": waiting, "unroutable": hidden}

    def _route_request(self, wish: RouteWish, view: View) -> RouteRequest:
        asked = wish.preferences
        limit = asked.price_max
        own = asked.own
        output = wish.output_tokens_max or self._service.limits.output_tokens_default
        return RouteRequest(
            model=ModelId(wish.model),
            prompt_tokens_max=wish.prompt_tokens * PROMPT_BYTES_PER_TOKEN,
            output_tokens_max=output,
            features=frozenset(wish.features),
            floor=tier_of(wish.trust),
            price=self._catalog.tariff_of(ModelId(wish.model)).price,
            excluded=_named(wish.excluded, view),
            avoided=_named(wish.avoided, view),
            preferences=Preferences(
                only=_named(asked.only, view),
                ignore=_named(asked.ignore, view),
                regions=frozenset(asked.regions),
                builds=frozenset(asked.builds),
                price_max=Price(input=limit.input, cached=0, output=limit.output) if limit is not None else None,
                ms_per_micro_usd=asked.ms_per_micro_usd,
                own=SelfRoute(AccountId(own.account_id), own.only) if own is not None else None,
            ),
        )

    def _check_known(self, model: ModelId, unroutable: _Unroutable) -> None:
        """Raise `model_not_found` for a model that nobody has offered and that has no price: as a request for it is."""
        if not self._fleet.has_seen(model) and self._catalog.tariff_of(model).id == 0 and model not in unroutable:
            raise RequestError("no provider serves this model", code="model_not_found")

    async def _unroutable(self, model: ModelId | None) -> _Unroutable:
        """Count the connected providers that the router does not see, of `model` or of all, by why."""
        found: _Unroutable = {}
        for some in _slices(list(self._fleet.providers())):
            for provider in some:
                if not provider.is_routable:
                    for offered in provider.offers if model is None else provider.offers.keys() & {model}:
                        found.setdefault(offered, Counter())[_why_unroutable(provider)] += 1
            await asyncio.sleep(0)
        return found

    async def _operator(self, request: Request) -> None:
        await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)


def _why_unroutable(provider: LiveProvider) -> str:
    if provider.is_lost:
        return "lost"
    if provider.is_draining:
        return "draining"
    return "statement_expired" if provider.is_stale else "untrusted"


def _named(ids: Sequence[str], view: View) -> frozenset[ProviderId]:
    """Return the providers with these ids, and those of the view whose ids begin so."""
    beginnings = tuple(each for each in ids if len(each) < _WHOLE_ID)
    found = (each for each in view.index if each.startswith(beginnings)) if beginnings else ()
    # One that fits nobody stays: a request that allows nobody else must not come to allow everybody.
    return frozenset((*found, *map(ProviderId, ids)))


def _slices(everything: Iterable[T]) -> Iterator[list[T]]:
    left = iter(everything)
    while some := list(islice(left, SLICE)):
        yield some
