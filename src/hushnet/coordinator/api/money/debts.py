"""Debts: an owner repays what it owes from its earnings. Nothing else ever takes them for that."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Scope
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.api.money.deposits import client_key
from hushnet.coordinator.api.money.payouts import EVERYTHING
from hushnet.coordinator.ledger.transaction import MoneyStore
from hushnet.coordinator.payments.debts import repay_from_earnings
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX, parse_usd


class RepaymentBody(msgspec.Struct, forbid_unknown_fields=True):
    """At most `amount_usd` of earnings, or `all` that it takes; `id` is the caller's own (or the header Idempotency-Key)."""

    amount_usd: str = EVERYTHING
    id: str = ""


class DebtsApi:
    """Routes for a key of scope `user`."""

    def __init__(self, accounts: Accounts, store: MoneyStore) -> None:
        self._accounts = accounts
        self._store = store

    def routes(self) -> list[Route]:
        return [route("/v1/account/debt/repay", {"POST": self.repay})]

    async def repay(self, request: Request) -> Response:
        """Repay the caller's debt from its earnings, after what its deposits have; the same `id` repays once."""
        caller = await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)
        wish = await read_json(request, RepaymentBody)
        key = client_key(wish.id or request.headers.get("idempotency-key", ""), "id")
        most = TRANSFER_MICRO_USD_MAX if wish.amount_usd == EVERYTHING else parse_usd(wish.amount_usd)
        repaid = await repay_from_earnings(self._store, caller.account_id, most=most, client_key=key)
        shown = {
            "object": "debt.repayment",
            "id": key,
            "from_earnings_micro_usd": repaid.earnings,
            "from_paid_micro_usd": repaid.paid,
            "debt_micro_usd": repaid.debt,
        }
        return json_response(shown)
