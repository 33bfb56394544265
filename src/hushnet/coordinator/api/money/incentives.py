"""Invites and referrals: what an account redeems and whom it names, and the invites that an operator makes."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, Scope
from hushnet.coordinator.api.bodies import json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.incentives.codes import TEXT_MAX
from hushnet.coordinator.incentives.model import Invite
from hushnet.coordinator.incentives.programmes import Standing
from hushnet.coordinator.incentives.service import Incentives
from hushnet.coordinator.ledger.prices import TermsTable
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import parse_usd

DAYS_MAX: Final = 3_660
_DAY_MS: Final = 86_400_000
_ID_MAX: Final = (1 << 63) - 1

_Code = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
_Days = Annotated[int, msgspec.Meta(ge=0, le=DAYS_MAX)]


class CodeWish(msgspec.Struct, forbid_unknown_fields=True):
    """A code as it was handed over; case and dashes do not matter."""

    code: _Code


class InviteWish(msgspec.Struct, forbid_unknown_fields=True):
    """`amount_usd` is text like 12.34; `credit_days` is how long the credit lasts once it is given, 0 until it is spent."""

    amount_usd: str
    uses_max: int = 1
    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX)] = 30
    credit_days: _Days = 0
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


class IncentivesApi:
    """Routes for a key of scope `user`, and those under /v1/admin for one of scope `operator`."""

    def __init__(self, accounts: Accounts, incentives: Incentives, terms: TermsTable) -> None:
        self._accounts = accounts
        self._incentives = incentives
        self._terms = terms

    def routes(self) -> list[Route]:
        return [
            route("/v1/invites/redeem", {"POST": self.redeem}),
            route("/v1/referrals", {"GET": self.referrals}),
            route("/v1/referrals/referrer", {"PUT": self.name_referrer}),
            route("/v1/admin/programmes", {"GET": self.programmes}),
            route("/v1/admin/invites", {"GET": self.list_invites, "POST": self.create_invite}),
            route("/v1/admin/invites/{invite_id}", {"DELETE": self.revoke_invite}),
        ]

    async def redeem(self, request: Request) -> Response:
        """Give the caller's account the promo credit of an invite, once; the same code again tells what it gave."""
        caller = await self._caller(request)
        wish = await read_json(request, CodeWish)
        redeemed = await self._incentives.invites.redeem(caller.account_id, wish.code)
        shown = {
            "amount_micro_usd": redeemed.amount,
            "expires_ms": redeemed.expires_ms,
            "outcome": "posted" if redeemed.is_new else "already",
        }
        return json_response(shown, status=201 if redeemed.is_new else 200)

    async def referrals(self, request: Request) -> Response:
        """Show the code by which the caller brings others, how many it has brought, and what it gets of the fee."""
        caller = await self._caller(request)
        standing = await self._incentives.referrals.standing(caller.account_id)
        shown = {
            "code": standing.code,
            "referred": standing.referred,
            "has_referrer": standing.has_referrer,
            "fee_bps": self._terms.fee_bps,
            "referral_bps": self._terms.referral_bps,
        }
        return json_response(shown, headers={"cache-control": "no-store"})

    async def name_referrer(self, request: Request) -> Response:
        """Name, once and before the first paid request, the account that has brought the caller's."""
        caller = await self._caller(request)
        wish = await read_json(request, CodeWish)
        is_new = await self._incentives.referrals.name(caller.account_id, wish.code)
        if is_new:
            await self._accounts.refresh(caller.account_id)
        return json_response({"has_referrer": True, "outcome": "named" if is_new else "already"})

    async def programmes(self, request: Request) -> Response:
        """List what the operator gives in a period, and what is left of it; the ceilings are settings."""
        await self._operator(request)
        found = await self._incentives.programmes.standings()
        return json_response({"object": "list", "data": [_shown_programme(each) for each in found]})

    async def create_invite(self, request: Request) -> Response:
        """Make an invite; its code is in this answer and nowhere else."""
        await self._operator(request)
        wish = await read_json(request, InviteWish)
        made = await self._incentives.invites.create(
            parse_usd(wish.amount_usd),
            uses_max=wish.uses_max,
            expires_ms=self._incentives.clock.now_ms() + wish.days * _DAY_MS,
            credit_ms=wish.credit_days * _DAY_MS,
            note=wish.note,
        )
        shown = {"code": made.code.reveal(), **_shown_invite(made.invite)}
        return json_response(shown, status=201, headers={"cache-control": "no-store"})

    async def list_invites(self, request: Request) -> Response:
        """List invites, newest first, at most 200 of those older than `?before=`; never their codes."""
        await self._operator(request)
        before = request.query_params.get("before")
        found = await self._incentives.invites.list(before=None if before is None else _id_of(before))
        return json_response({"object": "list", "data": [_shown_invite(invite) for invite in found]})

    async def revoke_invite(self, request: Request) -> Response:
        """Let an invite be redeemed no more; what it has given stays."""
        await self._operator(request)
        invite = await self._incentives.invites.revoke(_id_of(request.path_params["invite_id"]))
        if invite is None:
            raise RequestError("there is no such invite", code="invite_not_found")
        return json_response(_shown_invite(invite))

    async def _caller(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)

    async def _operator(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)


def _shown_programme(standing: Standing) -> dict[str, Any]:
    programme = standing.programme
    return {
        "name": programme.name,
        "object": "programme",
        "period": programme.period.name.lower(),
        "amount_micro_usd": programme.ceiling,
        "spent_micro_usd": standing.spent,
        "left_micro_usd": max(0, programme.ceiling - standing.spent),
        "window_start_ms": standing.start_ms,
    }


def _id_of(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise RequestError("there is no such invite", code="invite_not_found")
    return min(int(text), _ID_MAX)


def _shown_invite(invite: Invite) -> dict[str, Any]:
    return {
        "id": str(invite.id),
        "object": "invite",
        "amount_micro_usd": invite.amount,
        "uses": invite.uses,
        "uses_max": invite.uses_max,
        "expires_ms": invite.expires_ms,
        "credit_ms": invite.credit_ms,
        "note": invite.note,
        "created_ms": invite.created_ms,
    }
