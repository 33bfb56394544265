"""Deposits by card: an owner's own, its automatic top-ups, and the operator's refunds. Amounts come as text like 12.34."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, Scope
from hushnet.coordinator.accounts.rules import write_key_id
from hushnet.coordinator.api.bodies import FieldError, json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.payments.deposits.assembly import DepositRail
from hushnet.coordinator.payments.deposits.model import (
    MICRO_USD_A_CENT,
    Deposit,
    DepositState,
    Origin,
    Reversal,
    StripeCustomer,
)
from hushnet.coordinator.payments.deposits.service import DepositWish, cents_of
from hushnet.coordinator.payments.deposits.topups import TopupWish
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId
from hushnet.foundation.money import parse_usd

URL_WAIT_S_MAX: Final = 15.0
"""The Checkout is usually made within a second; after this the answer has no URL yet, and GET has it later."""
_FIRST_PAUSE_S: Final = 0.02
_PAUSE_S_MAX: Final = 0.5
_CLIENT_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_URL: Final = re.compile(r"https?://[!-~]{1,1000}", re.ASCII)
DONE_PATH: Final = "/v1/deposits/done"
_DONE_PAGE: Final = "<!doctype html><title>Hushnet</title><p>Thank you. This page can be closed.</p>"

_Text = Annotated[str, msgspec.Meta(max_length=1024)]


class DepositBody(msgspec.Struct, forbid_unknown_fields=True):
    """`id` is the caller's own (or the header Idempotency-Key): the same one gives the same deposit."""

    amount_usd: str
    id: str = ""
    success_url: _Text = ""
    cancel_url: _Text = ""
    save_card: bool = False


class TopupBody(msgspec.Struct, forbid_unknown_fields=True):
    """Below `below_usd` charge `amount_usd`, at most `daily_limit_usd` in a day (UTC; three times the amount when left out)."""

    below_usd: str
    amount_usd: str
    daily_limit_usd: str = ""


class RefundBody(msgspec.Struct, forbid_unknown_fields=True):
    """The same `refund_id` refunds once."""

    amount_usd: str
    refund_id: str


class DepositsApi:
    """Routes for keys of scope `user`, and refunds for `operator`. Without a rail each answers `payments_not_configured`."""

    def __init__(self, accounts: Accounts, rail: DepositRail | None) -> None:
        self._accounts = accounts
        self._given = rail

    def routes(self) -> list[Route]:
        return [
            route("/v1/deposits", {"GET": self.list_deposits, "POST": self.create}),
            route("/v1/deposits/done", {"GET": self.done_page}),
            route(
                "/v1/deposits/auto_topup", {"GET": self.show_topup, "PUT": self.set_topup, "DELETE": self.stop_topup}
            ),
            route("/v1/deposits/card", {"DELETE": self.forget_card}),
            route("/v1/deposits/{deposit_id}", {"GET": self.show}),
            route("/v1/admin/deposits/{deposit_id}", {"GET": self.show_any}),
            route("/v1/admin/deposits/{deposit_id}/refunds", {"POST": self.refund}),
        ]

    async def create(self, request: Request) -> Response:
        """Make a Checkout for an amount and answer with the URL where it is paid."""
        caller = await self._caller(request)
        rail, wish = self._rail, await read_json(request, DepositBody)
        cents = cents_of(parse_usd(wish.amount_usd), rail.deposits.limits)
        key = client_key(wish.id or request.headers.get("idempotency-key", ""), "id")
        asked = DepositWish(
            cents,
            key,
            checked_url(wish.success_url, "success_url"),
            checked_url(wish.cancel_url, "cancel_url"),
            wish.save_card,
        )
        done_url = str(request.base_url).rstrip("/") + DONE_PATH
        deposit, is_new = await rail.deposits.create(caller.account_id, asked, done_url=done_url)
        deposit = await self._with_url(caller.account_id, deposit)
        return json_response(shown_deposit(deposit), status=201 if is_new else 200)

    async def list_deposits(self, request: Request) -> Response:
        """Answer with the caller's deposits, newest first; `before` is the last id of the page before."""
        caller = await self._caller(request)
        before = request.query_params.get("before")
        before_id = None if before is None else deposit_id(before)
        found = await self._rail.deposits.deposits(caller.account_id, before=before_id)
        return json_response({"object": "list", "data": [shown_deposit(one) for one in found]})

    async def show(self, request: Request) -> Response:
        """Answer with one of the caller's own deposits; somebody else's looks like one that never was."""
        caller = await self._caller(request)
        found = await self._rail.deposits.deposit(caller.account_id, deposit_id(request.path_params["deposit_id"]))
        if found is None:
            raise RequestError("this account has no such deposit", code="deposit_not_found")
        return json_response(shown_deposit(found))

    async def done_page(self, _request: Request) -> Response:
        """Tell a person who comes back from Stripe that all is done."""
        return HTMLResponse(_DONE_PAGE)

    async def show_topup(self, request: Request) -> Response:
        """Answer with how the caller's account is topped up."""
        caller = await self._caller(request)
        return json_response(shown_topup(await self._rail.topups.customer(caller.account_id)))

    async def set_topup(self, request: Request) -> Response:
        """Have the saved card charged whenever the balance falls below a threshold; also after a decline."""
        caller = await self._caller(request)
        rail, wish = self._rail, await read_json(request, TopupBody)
        limits = rail.deposits.limits
        below, cents = parse_usd(wish.below_usd), cents_of(parse_usd(wish.amount_usd), limits)
        daily = parse_usd(wish.daily_limit_usd) // MICRO_USD_A_CENT if wish.daily_limit_usd else 3 * cents
        if below < 1 or daily < cents:
            raise RequestError("below_usd is above 0, and a day's limit at least one top-up", code="out_of_range")
        changed = await rail.topups.turn_on(caller.account_id, TopupWish(below, cents, daily))
        return json_response(shown_topup(changed))

    async def stop_topup(self, request: Request) -> Response:
        """Charge nothing unasked any more."""
        caller = await self._caller(request)
        return json_response(shown_topup(await self._rail.topups.turn_off(caller.account_id)))

    async def forget_card(self, request: Request) -> Response:
        """Forget the saved card, here and at Stripe."""
        caller = await self._caller(request)
        return json_response(shown_topup(await self._rail.topups.forget_card(caller.account_id)))

    async def show_any(self, request: Request) -> Response:
        """Answer the operator with a deposit, whose it is, and what took money of it back."""
        await self._operator(request)
        id_ = deposit_id(request.path_params["deposit_id"])
        found = await self._rail.deposits.any_deposit(id_)
        if found is None:
            raise RequestError("there is no such deposit", code="deposit_not_found")
        reversals = [shown_reversal(one) for one in await self._rail.deposits.reversals(id_)]
        stripe_ids = {"checkout": found.checkout, "payment_intent": found.intent}
        return json_response({**shown_deposit(found), "account_id": found.owner, **stripe_ids, "reversals": reversals})

    async def refund(self, request: Request) -> Response:
        """Set money of a deposit aside and have Stripe send it back to the card."""
        operator = await self._operator(request)
        wish = await read_json(request, RefundBody)
        cents, rest = divmod(parse_usd(wish.amount_usd), MICRO_USD_A_CENT)
        assert rest == 0, "USD text has at most two decimals"
        reversal, is_new = await self._rail.deposits.ask_refund(
            deposit_id(request.path_params["deposit_id"]),
            cents,
            client_key=client_key(wish.refund_id, "refund_id"),
            actor=f"key:{write_key_id(operator.key_id)}",
        )
        return json_response(shown_reversal(reversal), status=201 if is_new else 200)

    async def _with_url(self, owner: AccountId, deposit: Deposit) -> Deposit:
        """Wait until Stripe has made the Checkout, or refused it, or the caller has waited long enough."""
        pause_s, waited_s = _FIRST_PAUSE_S, 0.0
        while deposit.state is DepositState.CREATED and waited_s < URL_WAIT_S_MAX:
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)
            deposit = await self._rail.deposits.deposit(owner, deposit.id) or deposit
        return deposit

    @property
    def _rail(self) -> DepositRail:
        if self._given is None:
            raise RequestError("this network takes no cards", code="payments_not_configured")
        return self._given

    async def _caller(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)

    async def _operator(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)


def client_key(text: str, name: str) -> str:
    """Check a caller's own id; raises `FieldError` `missing_member` or `out_of_range`."""
    if not text:
        raise FieldError(f"{name} (or the header Idempotency-Key) is needed", param=name)
    if _CLIENT_KEY.fullmatch(text) is None:
        raise FieldError(f"{name} is 1 to 64 letters, digits, and . _ : -", param=name)
    return text


def checked_url(text: str, name: str) -> str:
    """Check where a customer is sent afterwards; raises `FieldError`."""
    if text and _URL.fullmatch(text) is None:
        raise FieldError(f"{name} is an http or https address", param=name)
    return text


def deposit_id(text: str) -> int:
    """Read a deposit's id; raises `RequestError` `deposit_not_found`."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) < 1 << 63):
        raise RequestError("that is not a deposit's id", code="deposit_not_found")
    return int(text)


def shown_deposit(deposit: Deposit) -> dict[str, Any]:
    return {
        "id": str(deposit.id),
        "object": "deposit",
        "origin": "topup" if deposit.origin is Origin.TOPUP else "checkout",
        "state": deposit.state.name.lower(),
        "reason": deposit.reason or None,
        "amount_micro_usd": deposit.amount,
        "url": deposit.url if deposit.state is DepositState.OPEN and deposit.url else None,
        "refunded_micro_usd": deposit.refunded,
        "disputed_micro_usd": deposit.disputed,
        "created_ms": deposit.created_ms,
        "updated_ms": deposit.updated_ms,
    }


def shown_reversal(reversal: Reversal) -> dict[str, Any]:
    return {
        "id": str(reversal.id),
        "object": "reversal",
        "kind": reversal.kind.name.lower(),
        "state": reversal.state.name.lower(),
        "amount_micro_usd": reversal.amount,
        "refund_id": reversal.client_key,
        "stripe_id": reversal.object,
        "created_ms": reversal.created_ms,
    }


def shown_topup(customer: StripeCustomer) -> dict[str, Any]:
    return {
        "object": "auto_topup",
        "enabled": customer.topup_on,
        "has_card": customer.method is not None,
        "below_micro_usd": customer.topup_below,
        "amount_micro_usd": customer.topup_cents * MICRO_USD_A_CENT,
        "daily_limit_micro_usd": customer.topup_daily_cents * MICRO_USD_A_CENT,
        "stopped_by": customer.topup_halt or None,
    }
