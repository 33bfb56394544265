"""The published side of the books: a day's signed root for everybody, and for an account the proof that it is in it."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Scope
from hushnet.coordinator.api.bodies import FieldError, json_response
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.ledger.books.days import parse_day
from hushnet.coordinator.ledger.books.keeper import BookKeeper
from hushnet.coordinator.ledger.books.published import proof_document

_PUBLIC: Final = {"cache-control": "public, max-age=60"}
_PRIVATE: Final = {"cache-control": "no-store"}


class BooksApi:
    """Routes: the root is public, a proof is for a key of scope `user`."""

    def __init__(self, accounts: Accounts, keeper: BookKeeper) -> None:
        self._accounts = accounts
        self._keeper = keeper

    def routes(self) -> list[Route]:
        return [
            route("/v1/ledger/root", {"GET": self.root}),
            route("/v1/ledger/proof", {"GET": self.proof}),
        ]

    async def root(self, request: Request) -> Response:
        """Show the signed root of a closed day (`day=2026-11-20`), by default of the newest."""
        return json_response(await self._keeper.root(_day(request)), headers=_PUBLIC)

    async def proof(self, request: Request) -> Response:
        """Prove what the caller was owed at the end of a closed day, by default of the newest, asset by asset."""
        caller = await self._accounts.authenticate(request.headers.get("authorization"), Scope.USER)
        row = await self._keeper.day(_day(request))
        proofs = await self._keeper.proofs(row, caller.account_id)
        shown = {
            "object": "ledger.proof",
            "owner": caller.account_id,
            "proofs": [proof_document(proof) for proof in proofs],
            "root": await self._keeper.root(row.day),
        }
        return json_response(shown, headers=_PRIVATE)


def _day(request: Request) -> int | None:
    text = request.query_params.get("day")
    if text is None:
        return None
    day = parse_day(text)
    if day is None:
        raise FieldError("day is one like 2026-11-20", param="day")
    return day
