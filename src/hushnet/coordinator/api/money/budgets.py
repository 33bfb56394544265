"""Budgets over HTTP: an account's own, those of its keys, and those that the operator sets.

An account sees every budget that its requests count against, also the operator's, and changes its own; through a key that
has a budget itself it changes nothing (bounded_keys.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, Scope
from hushnet.coordinator.accounts.rules import parse_key_id
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.budgets import Budget, BudgetBook, CapScope, Period
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ApiKeyId
from hushnet.foundation.money import parse_usd

Subject: TypeAlias = tuple[AccountId, CapScope, int]
"""Whose account, and what is bounded."""
_SCOPES: Final = {CapScope.KEY: "key", CapScope.ACCOUNT: "account", CapScope.OPERATOR: "account"}
_NO_STORE: Final = {"cache-control": "no-store"}


class PeriodName(StrEnum):
    """The periods by name; `request` bounds each request by itself."""

    REQUEST = "request"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    LIFE = "life"

    @property
    def period(self) -> Period:
        return Period[self.name]


class BudgetWish(msgspec.Struct, forbid_unknown_fields=True):
    """`amount_usd` is text like 12.34, and 0 lets nothing be spent; a budget of the same period is replaced."""

    period: PeriodName
    amount_usd: str


def ceilings_of(wishes: Sequence[BudgetWish]) -> dict[Period, int]:
    """Read wishes; raises `RequestError` for a bad amount and for a period that is named twice."""
    found = {wish.period.period: int(parse_usd(wish.amount_usd)) for wish in wishes}
    if len(found) < len(wishes):
        raise RequestError("there is one budget a period", code="out_of_range")
    return found


class BudgetsApi:
    """Routes for keys of scope `user`, and of scope `operator` under /v1/admin."""

    def __init__(self, accounts: Accounts, book: BudgetBook) -> None:
        self._accounts = accounts
        self._book = book

    def routes(self) -> list[Route]:
        return [
            route("/v1/budgets", {"GET": self.own, "PUT": self.set_own, "DELETE": self.remove_own}),
            route(
                "/v1/keys/{key_id}/budgets",
                {"GET": self.of_key, "PUT": self.set_of_key, "DELETE": self.remove_of_key},
            ),
            route(
                "/v1/admin/accounts/{account_id}/budgets",
                {"GET": self.of_account, "PUT": self.set_of_account, "DELETE": self.remove_of_account},
            ),
        ]

    async def own(self, request: Request) -> Response:
        """List every budget that requests of the caller's key count against."""
        caller = await self._caller(request)
        found = await self._book.budgets_of(
            (CapScope.OPERATOR, caller.account_id), (CapScope.ACCOUNT, caller.account_id), (CapScope.KEY, caller.key_id)
        )
        return _listed(found)

    async def set_own(self, request: Request) -> Response:
        """Set one budget of the caller's account."""
        return await self._set(request, await self._own_account(request))

    async def remove_own(self, request: Request) -> Response:
        """Remove the budget of the account that `?period=` names."""
        return await self._remove(request, await self._own_account(request))

    async def of_key(self, request: Request) -> Response:
        """List the budgets of one key of the caller's account."""
        _, scope, key_id = await self._key(request, await self._caller(request))
        return _listed(await self._book.budgets_of((scope, key_id)))

    async def set_of_key(self, request: Request) -> Response:
        """Set one budget of a key."""
        return await self._set(request, await self._key(request, await self._caller(request)))

    async def remove_of_key(self, request: Request) -> Response:
        """Remove the budget of a key that `?period=` names."""
        return await self._remove(request, await self._key(request, await self._caller(request)))

    async def of_account(self, request: Request) -> Response:
        """List an account's budgets: the operator's for it and its own."""
        account_id, scope, subject = await self._account(request)
        return _listed(await self._book.budgets_of((scope, subject), (CapScope.ACCOUNT, account_id)))

    async def set_of_account(self, request: Request) -> Response:
        """Set one budget that the account itself can't change."""
        return await self._set(request, await self._account(request))

    async def remove_of_account(self, request: Request) -> Response:
        """Remove the operator's budget that `?period=` names."""
        return await self._remove(request, await self._account(request))

    # Inside.

    async def _set(self, request: Request, subject: Subject) -> Response:
        wish = await read_json(request, BudgetWish)
        (budget,) = await self._book.put(*subject, ceilings_of([wish]))
        return json_response(shown_budget(budget), headers=_NO_STORE)

    async def _remove(self, request: Request, subject: Subject) -> Response:
        name = request.query_params.get("period", "")
        if name not in set(PeriodName) or not await self._book.remove(*subject, PeriodName(name).period):
            raise RequestError("there is no such budget; name one with ?period=", code="budget_not_found")
        return json_response({"period": name, "removed": True}, headers=_NO_STORE)

    async def _caller(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)

    async def _own_account(self, request: Request) -> Subject:
        caller = await self._caller(request)
        return caller.account_id, CapScope.ACCOUNT, caller.account_id

    async def _key(self, request: Request, caller: Caller) -> Subject:
        """Return the key of the path; somebody else's looks exactly like one that never was."""
        key_id = parse_key_id(request.path_params["key_id"])
        if not any(key.id == key_id for key in await self._accounts.keys_of(caller.account_id)):
            raise RequestError("this account has no such key", code="key_not_found")
        return caller.account_id, CapScope.KEY, ApiKeyId(key_id or 0)

    async def _account(self, request: Request) -> Subject:
        await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)
        text = request.path_params["account_id"]
        account_id = AccountId(int(text)) if text.isascii() and text.isdigit() and len(text) <= 18 else None
        if account_id is None or await self._accounts.account(account_id) is None:
            raise RequestError("there is no such account", code="account_not_found")
        return account_id, CapScope.OPERATOR, account_id


def shown_budget(budget: Budget) -> dict[str, Any]:
    """Show a budget; what is spent, held and left is of the current window, None for a single request's."""
    cap = budget.cap
    shown: dict[str, Any] = {
        "object": "budget",
        "scope": _SCOPES[cap.scope],
        "set_by": "operator" if cap.scope is CapScope.OPERATOR else "account",
        "period": cap.period.name.lower(),
        "amount_micro_usd": cap.ceiling,
    }
    is_counted = cap.period is not Period.REQUEST
    counts = {"spent": budget.spent, "held": budget.held, "left": budget.left}
    shown |= {f"{name}_micro_usd": value if is_counted else None for name, value in counts.items()}
    return shown | {"window_start_ms": budget.start_ms if is_counted else None, "resets_ms": budget.resets_ms}


def _listed(budgets: Sequence[Budget]) -> Response:
    return json_response({"object": "list", "data": [shown_budget(budget) for budget in budgets]}, headers=_NO_STORE)
