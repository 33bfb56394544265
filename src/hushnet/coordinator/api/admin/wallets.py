"""Wallets that pay per use, for the operator: look at one, bar it, let it pay again."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Scope
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction, View
from hushnet.coordinator.payments.x402.model import Wallet
from hushnet.coordinator.payments.x402.wallets import payer_named, seen, set_barred

_LOG = logging.getLogger(__name__)


class BarWish(msgspec.Struct, forbid_unknown_fields=True):
    """A wallet that is `barred` buys nothing more."""

    barred: bool


class WalletsApi:
    """Routes for a key of scope `operator`."""

    def __init__(self, accounts: Accounts, store: MoneyStore) -> None:
        self._accounts = accounts
        self._store = store

    def routes(self) -> list[Route]:
        return [route("/v1/admin/x402/wallets/{wallet}", {"GET": self.show, "POST": self.bar})]

    async def show(self, request: Request) -> Response:
        """Show a wallet, named by its address or by a request that it paid."""
        await self._operator(request)

        def work(view: View) -> dict[str, Any]:
            payer = payer_named(view, request.path_params["wallet"])
            return _shown(payer, seen(view, payer))

        return json_response(await self._store.read(work))

    async def bar(self, request: Request) -> Response:
        """Bar a wallet, or let it pay again; the same again changes nothing."""
        await self._operator(request)
        wish = await read_json(request, BarWish)

        def work(tx: Transaction) -> dict[str, Any]:
            payer = payer_named(tx, request.path_params["wallet"])
            return _shown(payer, set_barred(tx, payer, wish.barred))

        shown = await self._store.transact(work)
        _LOG.info("wallet barred or unbarred", extra={"barred": wish.barred})
        return json_response(shown)

    async def _operator(self, request: Request) -> None:
        await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)


def _shown(payer: str, wallet: Wallet | None) -> dict[str, Any]:
    """Show a wallet; `account` is what its budgets and its balance are under, empty before it has one."""
    return {
        "object": "x402.wallet",
        "wallet": payer,
        "account": "" if wallet is None else str(wallet.owner),
        "unsettled": 0 if wallet is None else wallet.unsettled,
        "barred_ms": None if wallet is None else wallet.barred_ms,
    }
