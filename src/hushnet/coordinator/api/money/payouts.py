"""Money out over HTTP: where it may go, asking for it, watching it, and what only an operator can decide."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, Scope
from hushnet.coordinator.accounts.rules import write_key_id
from hushnet.coordinator.api.bodies import FieldError, json_response, read_json
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.payments.payouts.asking import Wish
from hushnet.coordinator.payments.payouts.connect import Onboarder, Onboarding
from hushnet.coordinator.payments.payouts.methods import MethodRefusedError, UnknownMethodError
from hushnet.coordinator.payments.payouts.model import (
    RAILS,
    STRIPE,
    Payout,
    PayoutMethod,
    PayoutPlan,
    PayoutState,
    Period,
)
from hushnet.coordinator.payments.payouts.moves import UnknownPayoutError
from hushnet.coordinator.payments.payouts.service import PAGE_MAX, Payouts, Puzzle, Resolution
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import parse_usd

EVERYTHING: Final = "all"
_ID_MAX: Final = (1 << 63) - 1
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_PRIVATE: Final = {"cache-control": "no-store"}

_Word = Annotated[str, msgspec.Meta(max_length=32)]
_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Tag = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class MethodWish(msgspec.Struct, forbid_unknown_fields=True):
    """A coin's address (`asset`, `network`, `address`, `tag` where the network has tags), or the bank account at Stripe."""

    rail: _Word = "coin"
    asset: _Word = ""
    network: _Word = ""
    address: _Text = ""
    tag: _Tag | None = None


class PayoutWish(msgspec.Struct, forbid_unknown_fields=True):
    """`amount_usd` is text like 12.34, or `all`; without `method` the default one; `instant` costs a fee.

    The same `request_id` (or header `Idempotency-Key`) asks once.
    """

    amount_usd: _Word
    method: _Word | None = None
    instant: bool = False
    request_id: _Text | None = None


class PlanWish(msgspec.Struct, forbid_unknown_fields=True):
    """Everything that may leave, `weekly` or `monthly`, when it is at least `threshold_usd`; to `method` or the default."""

    period: Literal["weekly", "monthly"]
    threshold_usd: _Word
    method: _Word | None = None


class ResolutionWish(msgspec.Struct, forbid_unknown_fields=True):
    """What a person has found out about a payout; `txid` where coins have arrived."""

    resolution: Resolution
    txid: _Text | None = None


class PayoutsApi:
    """Routes for a key of scope `user`, each bound to its account, and for one of scope `operator`."""

    def __init__(self, accounts: Accounts, payouts: Payouts, onboarder: Onboarder | None) -> None:
        """`onboarder` is None where the operator does not pay out over Stripe."""
        self._accounts = accounts
        self._payouts = payouts
        self._onboarder = onboarder

    def routes(self) -> list[Route]:
        return [
            route("/v1/payouts/methods", {"GET": self.methods, "POST": self.add_method}),
            route("/v1/payouts/methods/{method_id}", {"DELETE": self.remove_method}),
            route("/v1/payouts/methods/{method_id}/default", {"PUT": self.set_default}),
            route("/v1/payouts/onboarding", {"GET": self.onboarding, "POST": self.onboard}),
            route("/v1/payouts/plan", {"GET": self.plan, "PUT": self.set_plan, "DELETE": self.drop_plan}),
            route("/v1/payouts", {"GET": self.payouts, "POST": self.request}),
            route("/v1/payouts/{payout_id}", {"GET": self.payout}),
            route("/v1/payouts/{payout_id}/cancel", {"POST": self.cancel}),
            route("/v1/admin/payouts", {"GET": self.puzzles}),
            route("/v1/admin/payouts/{payout_id}/resolve", {"POST": self.resolve}),
        ]

    # Where money may go.

    async def methods(self, request: Request) -> Response:
        """List the caller's payout methods, oldest first."""
        caller = await self._caller(request)
        found = await self._payouts.methods(caller.account_id)
        return _answer({"object": "list", "data": [shown_method(method) for method in found]})

    async def add_method(self, request: Request) -> Response:
        """Add an address, or the bank account that Stripe knows; one that is there already is answered as it is."""
        caller = await self._caller(request)
        wish = await read_json(request, MethodWish)
        if wish.rail not in RAILS:
            raise FieldError("rail is `coin` or `stripe`", param="rail")
        if wish.rail == STRIPE:
            made = await self._payouts.add_bank_method(caller.account_id)
        else:
            for name in ("asset", "address"):
                if not getattr(wish, name):
                    raise FieldError(f"{name} is missing", param=name)
            place = (wish.asset, wish.network, wish.address, wish.tag)
            made = await self._payouts.add_coin_method(caller.account_id, *place)
        return _answer(shown_method(made), status=201)

    async def remove_method(self, request: Request) -> Response:
        """Take a method out of use for good."""
        caller = await self._caller(request)
        gone = await self._payouts.remove_method(caller.account_id, _method_id(request.path_params["method_id"]))
        return _answer({"id": str(gone.id), "removed": True})

    async def set_default(self, request: Request) -> Response:
        """Make a method the one that is used where none is named."""
        caller = await self._caller(request)
        chosen = await self._payouts.set_default(caller.account_id, _method_id(request.path_params["method_id"]))
        return _answer(shown_method(chosen))

    async def onboard(self, request: Request) -> Response:
        """Begin, or go on, with Stripe: the answer has a link for the account's owner, good for minutes."""
        caller = await self._caller(request)
        return _answer(_shown_onboarding(await self._stripe().begin(caller.account_id)))

    async def onboarding(self, request: Request) -> Response:
        """Say how the caller's account at Stripe stands."""
        caller = await self._caller(request)
        found = await self._stripe().look(caller.account_id)
        if found is None:
            raise UnknownMethodError("this account has not begun with Stripe", hint="POST /v1/payouts/onboarding")
        return _answer(_shown_onboarding(found))

    # Payouts.

    async def request(self, request: Request) -> Response:
        """Ask for a payout. The same `request_id` (or `Idempotency-Key`) asks once."""
        caller = await self._caller(request)
        wish = await read_json(request, PayoutWish)
        client = _client_id(wish.request_id or request.headers.get("idempotency-key"))
        gross = None if wish.amount_usd == EVERYTHING else parse_usd(wish.amount_usd)
        method = None if wish.method is None else _method_id(wish.method)
        made = await self._payouts.request(Wish(caller.account_id, client, gross, method, wish.instant))
        return _answer(shown_payout(made), status=201)

    async def payouts(self, request: Request) -> Response:
        """List the caller's payouts, newest first; `before` an id, at most `limit`."""
        caller = await self._caller(request)
        before = _payout_id(request.query_params.get("before", str(_ID_MAX)))
        found = await self._payouts.payouts(caller.account_id, before=before, limit=_limit(request))
        return _answer({"object": "list", "data": [shown_payout(payout) for payout in found]})

    async def payout(self, request: Request) -> Response:
        """Show one payout of the caller's own; somebody else's looks exactly like one that never was."""
        caller = await self._caller(request)
        found = await self._payouts.payout(caller.account_id, _payout_id(request.path_params["payout_id"]))
        return _answer(shown_payout(found))

    async def cancel(self, request: Request) -> Response:
        """Take a payout back that was not sent."""
        caller = await self._caller(request)
        found = await self._payouts.cancel(caller.account_id, _payout_id(request.path_params["payout_id"]))
        return _answer(shown_payout(found))

    async def plan(self, request: Request) -> Response:
        """Show how the caller is paid regularly; `period` is null where it is not."""
        caller = await self._caller(request)
        return _answer(_shown_plan(await self._payouts.plan(caller.account_id)))

    async def set_plan(self, request: Request) -> Response:
        """Pay the caller regularly: Mondays, or the first of a month."""
        caller = await self._caller(request)
        wish = await read_json(request, PlanWish)
        method = None if wish.method is None else _method_id(wish.method)
        period, threshold = Period[wish.period.upper()], parse_usd(wish.threshold_usd)
        made = await self._payouts.set_plan(caller.account_id, period, threshold=threshold, method=method)
        return _answer(_shown_plan(made))

    async def drop_plan(self, request: Request) -> Response:
        """Pay the caller on request only."""
        caller = await self._caller(request)
        await self._payouts.drop_plan(caller.account_id)
        return _answer(_shown_plan(None))

    # The operator.

    async def puzzles(self, request: Request) -> Response:
        """List the payouts that a person has to look at."""
        await self._operator(request)
        return _answer({"object": "list", "data": [_shown_puzzle(one) for one in await self._payouts.puzzles()]})

    async def resolve(self, request: Request) -> Response:
        """Say what a person has found out: fetch the money back again, it is with us, or the coins have arrived."""
        operator = await self._operator(request)
        wish = await read_json(request, ResolutionWish)
        actor = f"key:{write_key_id(operator.key_id)}"
        payout_id = _payout_id(request.path_params["payout_id"])
        found = await self._payouts.resolve(payout_id, wish.resolution, actor=actor, txid=wish.txid)
        return _answer({**shown_payout(found), "owner": found.owner})

    def _stripe(self) -> Onboarder:
        if self._onboarder is None:
            hint = "ask the operator which ways there are; `hush coins` lists the coins that are paid out"
            raise MethodRefusedError("the operator does not pay out over Stripe", code="unsupported_value", hint=hint)
        return self._onboarder

    async def _caller(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)

    async def _operator(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)


def shown_method(method: PayoutMethod) -> dict[str, Any]:
    names = ("rail", "asset", "network", "address", "tag", "is_default", "usable_ms", "created_ms")
    return {"id": str(method.id), "object": "payout_method"} | {name: getattr(method, name) for name in names}


def shown_payout(payout: Payout) -> dict[str, Any]:
    names = ("rail", "instant", "asset", "network", "units", "txid", "reason", "created_ms", "updated_ms")
    amounts = {f"{name}_micro_usd": getattr(payout, name) for name in ("gross", "fee", "net")}
    return {
        "id": str(payout.id),
        "object": "payout",
        "state": payout.state.name.lower(),
        "method": str(payout.method),
        "is_cancellable": payout.state is PayoutState.REQUESTED,
        **amounts,
        **{name: getattr(payout, name) for name in names},
    }


def _shown_plan(plan: PayoutPlan | None) -> dict[str, Any]:
    if plan is None:
        return {"object": "payout_plan", "period": None}
    return {
        "object": "payout_plan",
        "period": plan.period.name.lower(),
        "threshold_micro_usd": plan.threshold,
        "method": None if plan.method is None else str(plan.method),
        "next_ms": plan.next_ms,
        "reason": plan.reason,
    }


def _shown_onboarding(found: Onboarding) -> dict[str, Any]:
    return {"object": "payout_onboarding", "state": found.state.name.lower(), "url": found.url or None}


def _shown_puzzle(puzzle: Puzzle) -> dict[str, Any]:
    payout = puzzle.payout
    findings = [{"kind": one.kind, "detail": one.detail, "at_ms": one.at_ms} for one in puzzle.findings]
    rail_ids = {"transfer": payout.transfer, "payout": payout.payout}
    return {**shown_payout(payout), "owner": payout.owner, **rail_ids, "findings": findings}


def _answer(value: Any, *, status: int = 200) -> Response:
    return json_response(value, status=status, headers=_PRIVATE)


def _client_id(text: str | None) -> str:
    if text is None:
        return f"auto-{secrets.token_hex(16)}"
    if _CLIENT_ID.fullmatch(text) is None:
        raise RequestError("a request id is 1 to 64 of A-Z a-z 0-9 . _ : -", code="out_of_range")
    return text


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(PAGE_MAX))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= PAGE_MAX):
        raise FieldError(f"limit is a number from 1 to {PAGE_MAX}", param="limit")
    return int(text)


def _payout_id(text: str) -> int:
    id_ = _id(text)
    if id_ is None:
        raise UnknownPayoutError("that is not a payout's id")
    return id_


def _method_id(text: str) -> int:
    id_ = _id(text)
    if id_ is None:
        raise UnknownMethodError("that is not a payout method's id")
    return id_


def _id(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    return min(int(text), _ID_MAX)
