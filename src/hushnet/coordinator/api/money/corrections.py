"""What an operator puts right: credits for single requests, and adjustments of balances, the larger ones by two keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Scope
from hushnet.coordinator.accounts.rules import write_key_id
from hushnet.coordinator.api.account import parse_request_id
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.incentives.corrections import CREDITS_MAX, Corrections, Wish
from hushnet.coordinator.incentives.model import Adjustment, AdjustmentState, ServiceCredit
from hushnet.coordinator.ledger.chart import Kind
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId

_Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_AccountNumber = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]  # what a database can be asked for


class Bucket(StrEnum):
    """The buckets that can be adjusted."""

    PROMO = "promo"
    PAID = "paid"
    EARNINGS = "earnings"


class CreditWish(msgspec.Struct, forbid_unknown_fields=True):
    """At most what the request cost, all its credits together; a provider at fault returns its part."""

    amount_micro_usd: int
    reason: _Reason
    is_provider_at_fault: bool = False


class AdjustmentWish(msgspec.Struct, forbid_unknown_fields=True):
    """Into the bucket, or out of it when negative."""

    account_id: _AccountNumber
    bucket: Bucket
    amount_micro_usd: int
    reason: _Reason


class SuspenseWish(msgspec.Struct, forbid_unknown_fields=True):
    """Out of suspense, to the account whose money it turned out to be."""

    account_id: _AccountNumber
    amount_micro_usd: int
    reason: _Reason


class CorrectionsApi:
    """Routes for a key of scope `operator`; ids are the caller's, so that everything can be sent twice."""

    def __init__(self, accounts: Accounts, corrections: Corrections) -> None:
        self._accounts = accounts
        self._corrections = corrections

    def routes(self) -> list[Route]:
        return [
            route("/v1/admin/generations/{request_id}/credits/{nth}", {"PUT": self.credit}),
            route("/v1/admin/suspense", {"GET": self.suspense}),
            route("/v1/admin/suspense/{adjustment_id}", {"PUT": self.attribute}),
            route("/v1/admin/adjustments", {"GET": self.adjustments}),
            route("/v1/admin/adjustments/{adjustment_id}", {"PUT": self.adjust}),
            route("/v1/admin/adjustments/{adjustment_id}/approve", {"POST": self.approve}),
            route("/v1/admin/adjustments/{adjustment_id}/refuse", {"POST": self.refuse}),
        ]

    async def credit(self, request: Request) -> Response:
        """Give back a part of what a request cost, as its n-th credit (1 to 100)."""
        actor = await self._actor(request)
        wish = await read_json(request, CreditWish)
        nth = request.path_params["nth"]
        if not (nth.isascii() and nth.isdigit() and len(nth) <= 3 and 1 <= int(nth) <= CREDITS_MAX):
            raise RequestError(f"credits of a request are numbered 1 to {CREDITS_MAX}", code="out_of_range")
        given, is_new = await self._corrections.credit(
            parse_request_id(request.path_params["request_id"]),
            int(nth),
            Wish(wish.amount_micro_usd, wish.reason, actor),
            is_provider_at_fault=wish.is_provider_at_fault,
        )
        return json_response(_shown_credit(given), status=201 if is_new else 200)

    async def adjust(self, request: Request) -> Response:
        """Adjust a bucket of an account under the caller's own UUID; what one key may not do waits for another."""
        actor = await self._actor(request)
        wish = await read_json(request, AdjustmentWish)
        made = await self._corrections.adjust(
            request.path_params["adjustment_id"],
            AccountId(wish.account_id),
            Kind[wish.bucket.name],
            Wish(wish.amount_micro_usd, wish.reason, actor),
        )
        return json_response(_shown(made), status=202 if made.state is AdjustmentState.PENDING else 200)

    async def suspense(self, request: Request) -> Response:
        """Tell how much money is in suspense: received, and nobody's yet."""
        await self._actor(request)
        return json_response({"object": "suspense", "amount_micro_usd": await self._corrections.in_suspense()})

    async def attribute(self, request: Request) -> Response:
        """Pay money in suspense to its owner under the caller's own UUID, as an adjustment; a debt is repaid first."""
        actor = await self._actor(request)
        wish = await read_json(request, SuspenseWish)
        made = await self._corrections.attribute(
            request.path_params["adjustment_id"],
            AccountId(wish.account_id),
            Wish(wish.amount_micro_usd, wish.reason, actor),
        )
        return json_response(_shown(made), status=202 if made.state is AdjustmentState.PENDING else 200)

    async def adjustments(self, request: Request) -> Response:
        """List the adjustments that wait for a second key, newest first; `?all=true` the others too."""
        await self._actor(request)
        is_all = request.query_params.get("all") == "true"
        found = await self._corrections.adjustments(is_pending=not is_all)
        return json_response({"object": "list", "data": [_shown(each) for each in found]})

    async def approve(self, request: Request) -> Response:
        """Make an adjustment that another operator's key has asked for."""
        return await self._decide(request, is_approved=True)

    async def refuse(self, request: Request) -> Response:
        """Refuse an adjustment that waits; it can't be approved any more."""
        return await self._decide(request, is_approved=False)

    async def _decide(self, request: Request, *, is_approved: bool) -> Response:
        actor = await self._actor(request)
        uuid = request.path_params["adjustment_id"][:64]
        return json_response(_shown(await self._corrections.decide(uuid, actor=actor, is_approved=is_approved)))

    async def _actor(self, request: Request) -> str:
        caller = await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)
        return f"key:{write_key_id(caller.key_id)}"


def _shown_credit(credit: ServiceCredit) -> dict[str, Any]:
    return {
        "request_id": str(credit.request),
        "object": "service_credit",
        "nth": credit.nth,
        "account_id": credit.owner,
        "promo_micro_usd": credit.promo,
        "paid_micro_usd": credit.paid,
        "earnings_micro_usd": credit.earnings,
        "clawback_micro_usd": credit.clawback,
        "reason": credit.reason,
        "actor": credit.actor,
        "at_ms": credit.at_ms,
    }


def _shown(adjustment: Adjustment) -> dict[str, Any]:
    return {
        "id": adjustment.id,
        "object": "adjustment",
        "account_id": adjustment.owner,
        "bucket": Kind(adjustment.bucket).name.lower(),
        "amount_micro_usd": adjustment.amount,
        "source": "suspense" if adjustment.source == Kind.SUSPENSE else "goodwill",
        "reason": adjustment.reason,
        "actor": adjustment.actor,
        "approver": adjustment.approver or None,
        "state": adjustment.state.name.lower(),
        "at_ms": adjustment.at_ms,
        "decided_ms": adjustment.decided_ms,
    }
