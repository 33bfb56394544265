"""What only a person can decide about money: findings, stuck events, calls whose outcome nobody knows. For operators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Scope
from hushnet.coordinator.api.bodies import json_response
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.ledger.transaction import MoneyStore, Transaction
from hushnet.coordinator.payments.inbox import Inbox
from hushnet.coordinator.payments.model import Call, CallState, EventState, Finding, InboxEvent
from hushnet.foundation.errors import RequestError

PAGE_MAX: Final = 200
_ID_MAX: Final = (1 << 63) - 1


class FindingsApi:
    """Routes for a key of scope `operator`."""

    def __init__(self, accounts: Accounts, store: MoneyStore, inbox: Inbox) -> None:
        self._accounts = accounts
        self._store = store
        self._inbox = inbox

    def routes(self) -> list[Route]:
        return [
            route("/v1/admin/findings", {"GET": self.findings}),
            route("/v1/admin/findings/{finding_id}/resolve", {"POST": self.resolve}),
            route("/v1/admin/payments/open", {"GET": self.open}),
            route("/v1/admin/payments/events/{source}/{event}/retry", {"POST": self.retry}),
        ]

    async def findings(self, request: Request) -> Response:
        """List open findings, oldest first; `?all=true` the newest of all."""
        await self._operator(request)
        is_all = request.query_params.get("all") == "true"
        found = await self._store.read(
            lambda view: (
                view.rows(Finding).find(descending=True, limit=PAGE_MAX)
                if is_all
                else view.rows(Finding).find(resolved_ms=None, limit=PAGE_MAX)
            )
        )
        return json_response({"object": "list", "data": [_shown_finding(finding) for finding in found]})

    async def resolve(self, request: Request) -> Response:
        """Note that a person has dealt with a finding; the same again changes nothing."""
        await self._operator(request)
        text = request.path_params["finding_id"]
        finding_id = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0

        def work(tx: Transaction) -> Finding | None:
            rows = tx.rows(Finding)
            row = rows.get(min(finding_id, _ID_MAX))
            if row is not None and row.resolved_ms is None:
                row = replace(row, resolved_ms=tx.now_ms)
                rows.save(row)
            return row

        found = await self._store.transact(work)
        if found is None:
            raise RequestError("there is no such finding", code="finding_not_found")
        return json_response(_shown_finding(found))

    async def open(self, request: Request) -> Response:
        """List events and calls that are not over: what waits, what is stuck, what nobody knows the outcome of."""
        await self._operator(request)
        events = await self._store.read(
            lambda view: view.rows(InboxEvent).find(
                state=(EventState.NEW, EventState.WAITING, EventState.STUCK), order_by="received_ms", limit=PAGE_MAX
            )
        )
        calls = await self._store.read(
            lambda view: view.rows(Call).find(
                state=(CallState.DUE, CallState.SENDING, CallState.LOOK_UP), order_by="next_ms", limit=PAGE_MAX
            )
        )
        return json_response(
            {"events": [_shown_event(event) for event in events], "calls": [_shown_call(call) for call in calls]}
        )

    async def retry(self, request: Request) -> Response:
        """Give a stuck event another round of tries."""
        await self._operator(request)
        source, event = request.path_params["source"], request.path_params["event"]
        if not await self._inbox.retry(source[:128], event[:128]):
            raise RequestError("there is no such event that is stuck", code="event_not_found")
        return json_response({"source": source, "event": event, "state": "new"})

    async def _operator(self, request: Request) -> None:
        await self._accounts.authenticate(request.headers.get("authorization"), Scope.OPERATOR)


def _shown_finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": str(finding.id),
        "object": "finding",
        "kind": finding.kind,
        "subject": finding.subject,
        "detail": finding.detail,
        "at_ms": finding.at_ms,
        "resolved_ms": finding.resolved_ms,
    }


def _shown_event(event: InboxEvent) -> dict[str, Any]:
    names = ("source", "event", "kind", "subject", "attempts", "next_ms", "received_ms", "error")
    return {"state": event.state.name.lower(), **{name: getattr(event, name) for name in names}}


def _shown_call(call: Call) -> dict[str, Any]:
    names = ("rail", "action", "attempt", "tries", "first_ms", "next_ms", "outcome")
    return {"state": call.state.name.lower(), "subject": str(call.subject)} | {
        name: getattr(call, name) for name in names
    }
