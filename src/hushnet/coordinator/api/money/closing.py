"""Closing accounts: for good, by their owner or an operator; or only barred, by an operator, until they are opened again."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, Scope
from hushnet.coordinator.accounts.rules import write_key_id
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.payments.closing import GIVES_UP_MAX, Closing
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId


class ClosingWish(msgspec.Struct, forbid_unknown_fields=True):
    """How much of deposits and earnings is left behind, at most, in micro-USD; with more in it the account stays open."""

    gives_up_micro_usd: Annotated[int, msgspec.Meta(ge=0, le=GIVES_UP_MAX)] = 0


class ClosingApi:
    """One route for a key of scope `user`, three for a key of scope `operator`. The operator's can be sent twice."""

    def __init__(self, accounts: Accounts, closing: Closing) -> None:
        self._accounts = accounts
        self._closing = closing

    def routes(self) -> list[Route]:
        return [
            route("/v1/account/close", {"POST": self.close_own}),
            route("/v1/admin/accounts/{account_id}/close", {"POST": self.close_anothers}),
            route("/v1/admin/accounts/{account_id}/bar", {"POST": self.bar_account}),
            route("/v1/admin/accounts/{account_id}/reopen", {"POST": self.reopen_account}),
        ]

    async def close_own(self, request: Request) -> Response:
        """Close the caller's account for good; its keys stop working at once."""
        caller = await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)
        wish = await read_json(request, ClosingWish)
        return await self._close(caller.account_id, wish, actor=f"owner:{caller.account_id}")

    async def close_anothers(self, request: Request) -> Response:
        """Close an account for good, as its owner would; again, to move what came in afterwards to unclaimed."""
        operator = await self._operator(request)
        wish = await read_json(request, ClosingWish)
        return await self._close(_account_id(request), wish, actor=f"key:{write_key_id(operator.key_id)}")

    async def bar_account(self, request: Request) -> Response:
        """Stop an account's keys at once; its money stays where it is until it is reopened or closed."""
        await self._operator(request)
        account_id = _account_id(request)
        await self._require_no_operators(account_id)
        if not await self._accounts.bar_account(account_id):
            raise RequestError("there is no such account", code="account_not_found")
        return json_response({"account_id": account_id, "barred": True})

    async def reopen_account(self, request: Request) -> Response:
        """Let the keys of a barred account work again."""
        await self._operator(request)
        account_id = _account_id(request)
        await self._closing.reopen(account_id)
        await self._accounts.refresh(account_id)
        return json_response({"account_id": account_id, "barred": False})

    async def _close(self, account_id: AccountId, wish: ClosingWish, *, actor: str) -> Response:
        await self._require_no_operators(account_id)
        closure = await self._closing.close(account_id, gives_up=wish.gives_up_micro_usd, actor=actor)
        await self._accounts.closed(account_id)
        shown: dict[str, Any] = {
            "account_id": account_id,
            "closed": True,
            "promo_taken_back_micro_usd": closure.promo,
            "paid_given_up_micro_usd": closure.paid,
            "earnings_given_up_micro_usd": closure.earnings,
        }
        return json_response(shown)

    async def _require_no_operators(self, account_id: AccountId) -> None:
        """Raise `RequestError` for the account of operators' keys: nobody could open it again, nor make a key that works."""
        if any(key.account == account_id for key in await self._accounts.operator_keys(is_revoked_too=True)):
            raise RequestError("an account with operators' keys stays open", code="account_not_closable")

    async def _operator(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)


def _account_id(request: Request) -> AccountId:
    text = request.path_params["account_id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise RequestError("there is no such account", code="account_not_found")
    return AccountId(int(text))
