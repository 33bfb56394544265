"""What an account sees of itself: its keys, its balance, its requests. Every look-up is bound to the caller's account."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, ApiKey, Caller, NewKey, Scope
from hushnet.coordinator.accounts.rules import parse_key_id, write_key_id
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.api.money.budgets import BudgetWish, ceilings_of
from hushnet.coordinator.budgets import BudgetBook, CapScope, Period
from hushnet.coordinator.ledger.chart import SPENDABLE
from hushnet.coordinator.ledger.model import Balance, UsageRecord
from hushnet.coordinator.ledger.reports.store import ReportStore
from hushnet.coordinator.ledger.service import Ledger
from hushnet.foundation.errors import AccessError, RequestError
from hushnet.foundation.ids import RequestId

SETTLED_S_MAX: Final = 2.0
"""An answer and its settlement are a commit apart; a caller that asks between the two waits this long."""
_FIRST_PAUSE_S: Final = 0.02
_PAUSE_S_MAX: Final = 0.25
_REQUEST_ID_MAX: Final = 2**63 - 2
GENERATIONS_MAX: Final = 100


class KeyWish(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/keys: a key opens less than an operator's. `budgets` bound it from its first request on."""

    name: str = ""
    scope: Scope = Scope.USER
    budgets: list[BudgetWish] = []


class AccountApi:
    """Routes for a key of scope `user`."""

    def __init__(self, accounts: Accounts, ledger: Ledger, reports: ReportStore, budgets: BudgetBook) -> None:
        self._accounts = accounts
        self._budgets = budgets
        self._ledger = ledger
        self._reports = reports

    def routes(self) -> list[Route]:
        return [
            route("/v1/keys", {"GET": self.list_keys, "POST": self.create_key}),
            route("/v1/keys/{key_id}", {"DELETE": self.revoke_key}),
            route("/v1/balance", {"GET": self.balance}),
            route("/v1/generations", {"GET": self.generations}),
            route("/v1/generations/{request_id}", {"GET": self.generation}),
        ]

    async def create_key(self, request: Request) -> Response:
        """Make a key of scope `user` or `provider`; `budgets` bound what it may spend."""
        caller = await self._caller(request)
        wish = await read_json(request, KeyWish)
        if wish.scope is Scope.OPERATOR:
            raise AccessError("no request makes an operator's key", code="operator_key")
        ceilings = ceilings_of(wish.budgets)
        if ceilings and wish.scope is not Scope.USER:
            raise RequestError("only a key of scope `user` spends", code="unsupported_value")
        made = await self._accounts.create_key(caller.account_id, wish.scope, wish.name)
        if ceilings:
            await self._bound(made, ceilings)
        return json_response(shown_new_key(made), status=201, headers={"cache-control": "no-store"})

    async def _bound(self, made: NewKey, ceilings: Mapping[Period, int]) -> None:
        """Give a key its budgets before anybody has its text; without them it is of no use to anybody."""
        account_id, key_id = made.key.account, made.key.id
        try:
            await self._budgets.put(account_id, CapScope.KEY, key_id, ceilings)
        except BaseException:
            await self._accounts.revoke_key(key_id, account_id=account_id)
            raise

    async def list_keys(self, request: Request) -> Response:
        """List the account's keys, never their secrets."""
        caller = await self._caller(request)
        keys = await self._accounts.keys_of(caller.account_id)
        return json_response({"object": "list", "data": [shown_key(key) for key in keys]})

    async def revoke_key(self, request: Request) -> Response:
        """Revoke one of the account's keys at once."""
        caller = await self._caller(request)
        key_id = parse_key_id(request.path_params["key_id"])
        if key_id is None or not await self._accounts.revoke_key(key_id, account_id=caller.account_id):
            raise RequestError("this account has no such key", code="key_not_found")
        return json_response({"id": write_key_id(key_id), "revoked": True})

    async def balance(self, request: Request) -> Response:
        """Show what the account has, in micro-USD."""
        caller = await self._caller(request)
        return json_response(shown_balance(await self._ledger.balance(caller.account_id)))

    async def generations(self, request: Request) -> Response:
        """List the caller's finished requests, newest first; `before` is the last id of the page before."""
        caller = await self._caller(request)
        before = request.query_params.get("before")
        before_id = None if before is None else parse_request_id(before)
        records = await self._ledger.usage(caller.account_id, before=before_id, limit=GENERATIONS_MAX)
        return json_response({"object": "list", "data": [shown_record(record) for record in records]})

    async def generation(self, request: Request) -> Response:
        """Answer with one request of the caller's own; somebody else's looks exactly like one that never was."""
        caller = await self._caller(request)
        record = await self._settled(parse_request_id(request.path_params["request_id"]), caller)
        if record is None:
            raise RequestError("this account has no such request, or it is not settled yet", code="not_settled_yet")
        spent = await self._reports.spent_from(record.id) if record.cost else {}
        paid_from = {f"{kind.name.lower()}_micro_usd": spent.get(kind, 0) for kind in SPENDABLE}
        is_archived = record.cost and not spent
        return json_response({**shown_record(record), "paid_from": None if is_archived else paid_from})

    async def _settled(self, request_id: RequestId, caller: Caller) -> UsageRecord | None:
        pause_s = _FIRST_PAUSE_S
        waited_s = 0.0
        while True:
            record = await self._ledger.usage_record(request_id)
            if record is not None and record.owner == caller.account_id:
                return record
            if waited_s >= SETTLED_S_MAX:
                return None
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    async def _caller(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)


def parse_request_id(text: str) -> RequestId:
    """Read a request's id as it stands in `Hushnet-Request-Id`; raises `RequestError` `request_not_found`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _REQUEST_ID_MAX):
        raise RequestError("that is not a request's id", code="request_not_found")
    return RequestId(int(text))


def shown_new_key(made: NewKey) -> dict[str, Any]:
    """Show a key with its text: the one answer that ever carries it."""
    return {"key": made.text.reveal(), **shown_key(made.key)}


def shown_key(key: ApiKey) -> dict[str, Any]:
    return {
        "id": write_key_id(key.id),
        "object": "key",
        "name": key.name,
        "scope": key.scope.value,
        "created_ms": key.created_ms,
        "revoked_ms": key.revoked_ms,
    }


def shown_balance(balance: Balance) -> dict[str, int]:
    names = ("promo", "paid", "earnings", "held", "spendable", "withdrawable")
    return {f"{name}_micro_usd": getattr(balance, name) for name in names}


def shown_record(record: UsageRecord) -> dict[str, Any]:
    """Show a request to who made it: what it cost, never how that was shared out."""
    usage = record.usage
    return {
        "id": str(record.id),
        "object": "generation",
        "model": usage.model,
        "provider_id": usage.machine or None,
        "trust": usage.tier.name.lower(),
        "mode": usage.mode.name.lower(),
        "outcome": usage.outcome.name.lower(),
        "input_tokens": usage.tokens_in,
        "cached_tokens": usage.tokens_cached,
        "output_tokens": usage.tokens_out,
        "key_id": write_key_id(usage.api_key),
        "price_id": usage.price or None,
        "cost_micro_usd": record.cost,
        "held_micro_usd": record.held,
        "settled_ms": record.at_ms,
    }
