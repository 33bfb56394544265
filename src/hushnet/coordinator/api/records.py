"""A provider's own page: what its record is made of, and what that costs it in routing."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts, Caller, ProviderBook, ProviderRecord, Scope
from hushnet.coordinator.api.bodies import json_response
from hushnet.coordinator.api.dispatch import route
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.reputation.explain import explain
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import AccessError

PROVIDERS_MAX: Final = 200


class RecordsApi:
    """Routes for a provider token, or a key of the account that the providers earn for."""

    def __init__(self, accounts: Accounts, providers: ProviderBook, fleet: Fleet, clock: Clock) -> None:
        self._accounts = accounts
        self._providers = providers
        self._fleet = fleet
        self._clock = clock

    def routes(self) -> list[Route]:
        return [route("/v1/provider/record", {"GET": self.records})]

    async def records(self, request: Request) -> Response:
        """Show every provider of the caller's account by ascending id, at most 200 of those after `?after=`."""
        caller = await self._caller(request)
        after = request.query_params.get("after", "")
        records = await self._providers.providers(after=after[:64], limit=PROVIDERS_MAX, account=caller.account_id)
        shown = [self._shown(record) for record in records]
        return json_response({"object": "list", "data": shown}, headers={"cache-control": "no-store"})

    def _shown(self, record: ProviderRecord) -> dict[str, Any]:
        live = self._fleet.get(record.id)
        reported = {model: live.reported_tokens_s(model) for model in live.offers} if live is not None else {}
        return {
            "provider_id": record.id,
            "is_connected": live is not None,
            "agent_version": record.agent_version,
            "first_ms": record.first_ms,
            "last_ms": record.last_ms,
            "suspended_ms": record.suspended_ms,
            **explain(self._fleet.records.known(record.id), reported=reported, now_s=self._clock.monotonic_s()),
        }

    async def _caller(self, request: Request) -> Caller:
        """Return the caller of either scope; a key of another is told that this needs a provider token."""
        header = request.headers.get("authorization")
        try:
            return await self._accounts.authenticate(header, Scope.PROVIDER)
        except AccessError as error:
            if error.error_code != "wrong_scope":
                raise
            try:
                return await self._accounts.authenticate(header, Scope.USER)
            except AccessError as other:
                raise error if other.error_code == "wrong_scope" else other from None
