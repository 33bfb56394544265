"""A key with a budget of its own makes requests and reads, and nothing else: whoever holds it cannot lift its bound.

It could otherwise make a key without a budget, raise its own, or have the account's money paid out. The rule stands before
every route that is no request for a model, so that a new one has it too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Scope
from hushnet.coordinator.budgets import BudgetBook, CapScope
from hushnet.foundation.errors import AccessError

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def bounded(routes: Sequence[Route], accounts: Accounts, book: BudgetBook) -> list[Route]:
    """Return `routes` with the rule before each that changes anything; those that only read stay as they are."""
    return [_bounded(each, accounts, book) if (each.methods or set()) - _READS else each for each in routes]


def _bounded(inner: Route, accounts: Accounts, book: BudgetBook) -> Route:
    endpoint: Callable[[Request], Awaitable[Response]] = inner.endpoint

    async def checked(request: Request) -> Response:
        if request.method not in _READS:
            await _require_unbounded(request, accounts, book)
        return await endpoint(request)

    return Route(inner.path, checked, methods=sorted(inner.methods or ()))


async def _require_unbounded(request: Request, accounts: Accounts, book: BudgetBook) -> None:
    """Raise `AccessError` `budgeted_key`; who is no caller of scope `user` is the route's own to judge."""
    try:
        caller = await accounts.authenticate(request.headers.get("authorization"), Scope.USER)
    except AccessError:
        return
    if await book.budgets_of((CapScope.KEY, caller.key_id)):
        raise AccessError(
            "a key with a budget of its own makes requests and reads, and nothing else", code="budgeted_key"
        )
