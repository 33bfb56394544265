"""An account's requests, its spending, what its machines earned, and statements of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, Scope
from hushnet.coordinator.accounts.rules import write_key_id
from hushnet.coordinator.api.account import parse_request_id, shown_balance, shown_record
from hushnet.coordinator.api.bodies import FieldError, json_response
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.api.money.periods import read_limit, read_parts, read_period, read_scope
from hushnet.coordinator.ledger.books.days import day_of, day_text
from hushnet.coordinator.ledger.ids import ID_MAX
from hushnet.coordinator.ledger.model import Code
from hushnet.coordinator.ledger.reports import model as reports
from hushnet.coordinator.ledger.reports.model import Group, Income, Part, Side
from hushnet.coordinator.ledger.reports.statement import statement_csv
from hushnet.coordinator.ledger.reports.store import ReportStore
from hushnet.coordinator.ledger.service import Ledger
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import AccessError, RequestError

PAGE_MAX: Final = 100
GROUPS_MAX: Final = 5000
"""Rows of a summary; whoever asks for more is told to ask for a shorter period."""
SUMS_AT_ONCE: Final = 1
"""A sum over a long history must leave the database's other readers to keys and balances."""
SETTLING_MS: Final = 5_000
"""A statement ends this long ago at the latest: what was decided before has been committed."""
_NO_STORE: Final = {"cache-control": "no-store"}


class UsageApi:
    """Routes for a key of scope `user`; earnings also for a provider's token."""

    def __init__(self, accounts: Accounts, ledger: Ledger, store: ReportStore, clock: Clock) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._summing = asyncio.Semaphore(SUMS_AT_ONCE)

    def routes(self) -> list[Route]:
        return [
            route("/v1/usage", {"GET": self.usage}),
            route("/v1/usage/summary", {"GET": self.summary}),
            route("/v1/earnings", {"GET": self.earnings}),
            route("/v1/statement", {"GET": self.statement}),
        ]

    async def usage(self, request: Request) -> Response:
        """List the caller's finished requests, newest first, a page at a time; the first page has the totals.

        `before` is the last id of the page before.
        """
        caller = await self._caller(request)
        query = request.query_params
        scope, limit = read_scope(query, caller.account_id), read_limit(query, limit_max=PAGE_MAX)
        before = query.get("before")
        before_id = ID_MAX if before is None else parse_request_id(before)
        records = await self._store.usage(scope, before=before_id, limit=limit + 1)
        shown: dict[str, Any] = {
            "object": "list",
            "data": [shown_record(record) for record in records[:limit]],
            "has_more": len(records) > limit,
        }
        if before is None:
            async with self._summing:
                shown["totals"] = _total(await self._store.groups(scope, (), limit=1), "cost_micro_usd")
        return json_response(shown, headers=_NO_STORE)

    async def summary(self, request: Request) -> Response:
        """Sum the caller's requests by day, model or key, or several of them."""
        caller = await self._caller(request)
        parts = read_parts(request.query_params, (Part.DAY, Part.MODEL, Part.KEY), default=Part.DAY)
        scope = self._scope(request, caller, Side.CONSUMER)
        groups = await self._groups(scope, parts)
        return json_response(_summed(scope, parts, groups, "cost_micro_usd"), headers=_NO_STORE)

    async def earnings(self, request: Request) -> Response:
        """Tell what the caller's machines earned, what it got besides, and what of it may be withdrawn now.

        Sums by day, machine or model, or several of them.
        """
        caller = await self._earner(request)
        if "key" in request.query_params:
            raise FieldError("whose keys paid is told to nobody but them", param="key")
        parts = read_parts(request.query_params, (Part.DAY, Part.MACHINE, Part.MODEL), default=Part.DAY)
        scope = self._scope(request, caller, Side.PROVIDER)
        groups = await self._groups(scope, parts)
        async with self._summing:
            income = [] if scope.model is not None else await self._store.income(scope)
        balance = await self._ledger.balance(caller.account_id)
        names = shown_balance(balance)
        shown = {
            **_summed(scope, parts, groups, "earned_micro_usd"),
            "income": [_shown_income(each) for each in income],
            "balance": {name: names[name] for name in ("earnings_micro_usd", "withdrawable_micro_usd")},
            "not_yet_withdrawable_micro_usd": balance.earnings - balance.withdrawable,
        }
        return json_response(shown, headers=_NO_STORE)

    async def statement(self, request: Request) -> Response:
        """Write a statement of the caller's account as CSV: opening balances, every movement, closing balances.

        By default of the last 30 days, up to some seconds ago.
        """
        caller = await self._caller(request)
        from_ms, to_ms = read_period(request.query_params, now_ms=self._clock.now_ms() - SETTLING_MS)
        scope = reports.Scope(caller.account_id, from_ms=from_ms, to_ms=to_ms)
        name = f"statement-{day_text(day_of(from_ms))}-{day_text(day_of(to_ms - 1))}.csv"
        headers = {**_NO_STORE, "content-disposition": f'attachment; filename="{name}"'}
        pieces = statement_csv(self._store, scope)
        first = await anext(pieces)  # what is refused is refused before the answer begins
        return StreamingResponse(_chained(first, pieces), media_type="text/csv", headers=headers)

    def _scope(self, request: Request, caller: Caller, side: Side) -> reports.Scope:
        from_ms, to_ms = read_period(request.query_params, now_ms=self._clock.now_ms())
        scope = read_scope(request.query_params, caller.account_id, side=side)
        return reports.Scope(caller.account_id, side, from_ms, to_ms, scope.model, scope.key)

    async def _groups(self, scope: reports.Scope, parts: Sequence[Part]) -> list[Group]:
        async with self._summing:
            groups = await self._store.groups(scope, parts, limit=GROUPS_MAX + 1)
        if len(groups) > GROUPS_MAX:
            raise RequestError("that is too much for one answer", code="out_of_range", hint="ask for a shorter period")
        return groups

    async def _caller(self, request: Request) -> Caller:
        return await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)

    async def _earner(self, request: Request) -> Caller:
        """Return the caller of either scope; a key of another is told that this needs one of a user."""
        try:
            return await self._caller(request)
        except AccessError as error:
            if error.error_code != "wrong_scope":
                raise
            try:
                return await self._accounts.authenticate(request.headers.get("authorization"), Scope.PROVIDER)
            except AccessError as other:
                raise error if other.error_code == "wrong_scope" else other from None


async def _chained(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for piece in rest:
        yield piece


def _summed(scope: reports.Scope, parts: Sequence[Part], groups: Sequence[Group], amount: str) -> dict[str, Any]:
    return {
        "object": "list",
        "from_ms": scope.from_ms,
        "to_ms": scope.to_ms,
        "data": [{**_shown_parts(parts, group), **_shown_sums(group, amount)} for group in groups],
        "totals": _total(groups, amount),
    }


def _shown_parts(parts: Sequence[Part], group: Group) -> dict[str, str]:
    return {part.value: _part_text(part, value) for part, value in zip(parts, group.parts, strict=True)}


def _part_text(part: Part, value: int | str) -> str:
    match part:
        case Part.DAY:
            return day_text(int(value))
        case Part.KEY:
            return write_key_id(int(value))
        case _:
            return str(value)


def _shown_sums(group: Group, amount: str) -> dict[str, int]:
    return {
        "requests": group.requests,
        "input_tokens": group.tokens_in,
        "cached_tokens": group.tokens_cached,
        "output_tokens": group.tokens_out,
        amount: group.amount,
    }


def _total(groups: Sequence[Group], amount: str) -> dict[str, int]:
    sums = (sum(column) for column in zip(*(group[1:] for group in groups), strict=True))
    return _shown_sums(Group((), *(sums if groups else (0, 0, 0, 0, 0))), amount)


def _shown_income(income: Income) -> dict[str, Any]:
    try:
        name = Code(income.code).name.lower()
    except ValueError:
        name = "other"
    return {"day": day_text(income.day), "type": name, "amount_micro_usd": income.amount}
