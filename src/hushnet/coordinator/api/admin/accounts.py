"""The operator's interface: accounts, grants, keys, prices, providers. Every change can be sent twice without harm."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Account, Accounts, Caller, ProviderBook, ProviderRecord, Scope
from hushnet.coordinator.accounts.rules import parse_key_id, write_key_id
from hushnet.coordinator.api.account import shown_balance, shown_key, shown_new_key
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.catalog import Catalog, Tariff
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.reputation.explain import summary
from hushnet.coordinator.incentives.grants import Grants
from hushnet.coordinator.ledger.service import Ledger
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.foundation.ids import AccountId, ProviderId
from hushnet.foundation.money import PRICE_MICRO_USD_MAX, Price, parse_usd

PROVIDERS_MAX: Final = 200
_GRANT_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_PROVIDER_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIERS: Final = ("none", "self_signed", "measured", "hardware")

_Micros = Annotated[int, msgspec.Meta(ge=0, le=PRICE_MICRO_USD_MAX)]
_Note = Annotated[str, msgspec.Meta(max_length=200)]


class AccountWish(msgspec.Struct, forbid_unknown_fields=True):
    """`name` is the operator's handle: the same name always means the same account."""

    name: str


class KeyWish(msgspec.Struct, forbid_unknown_fields=True):
    """`scope` is `user` or `provider`: an operator's key that could make another would be two of them."""

    scope: Scope
    name: str = ""


class GrantWish(msgspec.Struct, forbid_unknown_fields=True):
    """`amount_usd` is text like 12.34; the same `grant_id` gives once. What is not spent by `expires_ms` is taken back."""

    amount_usd: str
    grant_id: str
    note: _Note = ""
    expires_ms: int | None = None


class PriceWish(msgspec.Struct, forbid_unknown_fields=True):
    """Micro-USD per 10^6 tokens; `from_ms` announces a price for later."""

    input: _Micros
    cached: _Micros
    output: _Micros
    minimum: _Micros = 0
    from_ms: int | None = None


class SuspensionWish(msgspec.Struct, forbid_unknown_fields=True):
    reason: _Note = ""


class AdminApi:
    """Routes for a key of scope `operator`."""

    def __init__(
        self,
        accounts: Accounts,
        ledger: Ledger,
        catalog: Catalog,
        *,
        grants: Grants,
        providers: ProviderBook,
        fleet: Fleet,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._catalog = catalog
        self._grants = grants
        self._providers = providers
        self._fleet = fleet
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            route("/v1/admin/accounts", {"POST": self.create_account}),
            route("/v1/admin/accounts/{account_id}", {"GET": self.show_account}),
            route("/v1/admin/accounts/{account_id}/grants", {"POST": self.grant}),
            route("/v1/admin/accounts/{account_id}/keys", {"GET": self.list_keys, "POST": self.create_key}),
            route("/v1/admin/accounts/{account_id}/keys/{key_id}", {"DELETE": self.revoke_key}),
            route("/v1/admin/models/{model:path}/price", {"GET": self.show_price, "PUT": self.set_price}),
            route("/v1/admin/providers", {"GET": self.list_providers}),
            route("/v1/admin/providers/{provider_id}/suspend", {"POST": self.suspend_provider}),
            route("/v1/admin/providers/{provider_id}/restore", {"POST": self.restore_provider}),
        ]

    # Accounts.

    async def create_account(self, request: Request) -> Response:
        """Make an account, or find the one of that name."""
        await self._operator(request)
        wish = await read_json(request, AccountWish)
        account, is_new = await self._accounts.create_account(wish.name)
        return json_response({**_shown_account(account), "created": is_new}, status=201 if is_new else 200)

    async def show_account(self, request: Request) -> Response:
        """Show an account and its balance."""
        await self._operator(request)
        account = await self._account(request)
        balance = shown_balance(await self._ledger.balance(account.id))
        return json_response({**_shown_account(account), "balance": balance})

    async def grant(self, request: Request) -> Response:
        """Give an account promo credit, once for each `grant_id`."""
        operator = await self._operator(request)
        account = await self._account(request)
        wish = await read_json(request, GrantWish)
        amount = parse_usd(wish.amount_usd)
        if amount < 1:
            raise RequestError("a grant has an amount above 0", code="out_of_range")
        if _GRANT_ID.fullmatch(wish.grant_id) is None:
            raise RequestError("a grant's id is 1 to 64 of A-Z a-z 0-9 . _ : -", code="out_of_range")
        actor = f"key:{write_key_id(operator.key_id)}"
        is_new = await self._grants.grant(
            account.id, amount, grant_id=wish.grant_id, actor=actor, note=wish.note, expires_ms=wish.expires_ms
        )
        shown = {"grant_id": wish.grant_id, "amount_micro_usd": amount, "outcome": "posted" if is_new else "already"}
        return json_response(shown, status=201 if is_new else 200)

    # Keys.

    async def list_keys(self, request: Request) -> Response:
        """List an account's keys, never their secrets."""
        await self._operator(request)
        account = await self._account(request)
        keys = await self._accounts.keys_of(account.id)
        return json_response({"object": "list", "data": [shown_key(key) for key in keys]})

    async def create_key(self, request: Request) -> Response:
        """Make a key of scope `user` or `provider`; operators' keys are made on the coordinator's machine."""
        await self._operator(request)
        account = await self._account(request)
        wish = await read_json(request, KeyWish)
        if wish.scope is Scope.OPERATOR:
            raise AccessError("no request makes an operator's key", code="operator_key")
        made = await self._accounts.create_key(account.id, wish.scope, wish.name)
        return json_response(shown_new_key(made), status=201, headers={"cache-control": "no-store"})

    async def revoke_key(self, request: Request) -> Response:
        """Revoke an account's key at once."""
        await self._operator(request)
        account = await self._account(request)
        key_id = parse_key_id(request.path_params["key_id"])
        if key_id is None or not await self._accounts.revoke_key(key_id, account_id=account.id):
            raise RequestError("this account has no such key", code="key_not_found")
        return json_response({"id": write_key_id(key_id), "revoked": True})

    # Prices.

    async def set_price(self, request: Request) -> Response:
        """Set what a model costs, now or from a moment to come."""
        await self._operator(request)
        wish = await read_json(request, PriceWish)
        price = Price(input=wish.input, cached=wish.cached, output=wish.output, minimum=wish.minimum)
        tariff = await self._catalog.set_price(request.path_params["model"], price, from_ms=wish.from_ms)
        return json_response(_shown_tariff(tariff))

    async def show_price(self, request: Request) -> Response:
        """List every price that a model has had and is announced to have, latest first."""
        await self._operator(request)
        history = await self._catalog.history(request.path_params["model"])
        return json_response({"object": "list", "data": [_shown_tariff(tariff) for tariff in history]})

    # Providers.

    async def list_providers(self, request: Request) -> Response:
        """List the providers that have registered, by id, from `after` on."""
        await self._operator(request)
        after = request.query_params.get("after", "")
        records = await self._providers.providers(after=after[:64], limit=PROVIDERS_MAX)
        return json_response({"object": "list", "data": [self._shown_provider(record) for record in records]})

    async def suspend_provider(self, request: Request) -> Response:
        """Refuse the provider from now on; its link ends, and requests that run there are tried elsewhere."""
        await self._operator(request)
        wish = await read_json(request, SuspensionWish)
        provider_id = _provider_id(request)
        before = self._fleet.get(provider_id)
        if not await self._providers.suspend(provider_id, reason=wish.reason):
            raise RequestError("there is no such provider", code="provider_not_found")
        # Another worker may have ended the link already, and one may have been admitted meanwhile.
        live = self._fleet.get(provider_id) or before
        if live is not None:
            live.link.close("suspended")
        return json_response({"provider_id": provider_id, "suspended": True, "was_connected": live is not None})

    async def restore_provider(self, request: Request) -> Response:
        """Let a provider that was suspended serve again."""
        await self._operator(request)
        provider_id = _provider_id(request)
        if not await self._providers.restore(provider_id):
            raise RequestError("there is no such provider", code="provider_not_found")
        return json_response({"provider_id": provider_id, "suspended": False})

    def _shown_provider(self, record: ProviderRecord) -> dict[str, Any]:
        live = self._fleet.get(record.id)
        return {
            "provider_id": record.id,
            "account_id": record.account,
            "agent_version": record.agent_version,
            "trust": live.tier.label if live is not None else _TIERS[record.trust],
            "is_connected": live is not None,
            "models": sorted(live.offers) if live is not None else [],
            "findings": dict(live.findings) if live is not None else {},
            "doubts": sorted(self._fleet.doubts(live)) if live is not None else [],
            "joins_last_minute": self._fleet.joins(record.id),
            "region": live.region if live is not None else "",
            "link_ms": live.link_ms if live is not None else None,
            "record": summary(self._fleet.records.known(record.id), self._clock.monotonic_s()),
            "first_ms": record.first_ms,
            "last_ms": record.last_ms,
            "suspended_ms": record.suspended_ms,
            "reason": record.reason,
        }

    async def _operator(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)

    async def _account(self, request: Request) -> Account:
        text = request.path_params["account_id"]
        account_id = AccountId(int(text)) if text.isascii() and text.isdigit() and len(text) <= 18 else None
        account = None if account_id is None else await self._accounts.account(account_id)
        if account is None:
            raise RequestError("there is no such account", code="account_not_found")
        return account


def _provider_id(request: Request) -> ProviderId:
    text = request.path_params["provider_id"]
    if _PROVIDER_ID.fullmatch(text) is None:
        raise RequestError("there is no such provider", code="provider_not_found")
    return ProviderId(text)


def _shown_account(account: Account) -> dict[str, Any]:
    return {
        "account_id": account.id,
        "name": account.name,
        "created_ms": account.created_ms,
        "closed_ms": account.closed_ms,
    }


def _shown_tariff(tariff: Tariff) -> dict[str, Any]:
    price = tariff.price
    shown = {"input": price.input, "cached": price.cached, "output": price.output, "minimum": price.minimum}
    return {"model": tariff.model, "price": shown, "from_ms": tariff.from_ms}
