"""Where two parts meet that must not know each other: provider tokens are API keys, and a suspension closes the gate."""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import msgspec

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.accounts import Accounts, ProviderBook, Scope
from hushnet.coordinator.catalog import DiscountBook
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.link import Admitted, FleetGate, ProviderLink, Rejected
from hushnet.coordinator.fleet.store import Owner
from hushnet.coordinator.ledger.prices import TermsTable
from hushnet.foundation.errors import StorageError
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, ProviderId
from hushnet.foundation.redaction import Secret
from hushnet.foundation.tasks import TaskSet
from hushnet.wire.frames import Capacity, ModelOffer, Register, StatementDocument

_LOG = logging.getLogger(__name__)

SUSPENDED = Rejected("provider_suspended", "the operator of this network has suspended this provider")


class KeyTokens:
    """`fleet.store.ProviderTokens`: a provider token is an API key of scope `provider`."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def owner_of(self, token: Secret) -> Owner:
        caller = await self._accounts.authenticate(f"Bearer {token.reveal()}", Scope.PROVIDER)
        return Owner(caller.account_id, caller.key_id)


class Markups:
    """`fleet.store.Markups`: the tiers' multipliers from the terms, the discounts from the catalogue."""

    def __init__(self, terms: TermsTable, discounts: DiscountBook) -> None:
        self._terms = terms
        self._discounts = discounts

    def tier_bps(self, tier: Tier) -> int:
        return self._terms.tier_bps[tier]

    def discount_bps(self, owner: AccountId, model: ModelId) -> int:
        return self._discounts.bps_of(owner, model)


def end_links(fleet: Fleet, account_id: AccountId, key_id: ApiKeyId | None) -> None:
    """End the links that an account's key has opened, of all its keys where none is named: they serve and earn no more."""
    for provider in list(fleet.providers()):
        if provider.owner.account_id == account_id and key_id in (None, provider.owner.key_id):
            provider.link.close("token_revoked")


class WatchedGate:
    """The fleet's gate behind the book of providers: suspended ones are turned away, admitted ones are written down.

    Nothing is awaited after the inner gate has published a link; the book is written in the background.
    """

    def __init__(self, gate: FleetGate, book: ProviderBook, fleet: Fleet, tasks: TaskSet) -> None:
        self._gate = gate
        self._book = book
        self._fleet = fleet
        self._tasks = tasks

    async def admit(
        self, registration: Register, *, nonce: bytes, link: ProviderLink, peer: str
    ) -> Admitted | Rejected:
        # The claim is not verified yet: to claim a suspended identity gains nobody anything, and a statement that claims
        # two (a repeated member) does not verify.
        if self._book.is_suspended(claimed_provider(registration.statement)):
            return SUSPENDED
        verdict = await self._gate.admit(registration, nonce=nonce, link=link, peer=peer)
        if isinstance(verdict, Admitted) and self._book.is_suspended(verdict.provider_id):
            # Suspended while the token was looked up, so that the suspension found no link to end.
            self._gate.link_lost(verdict.provider_id, link)
            return SUSPENDED
        if isinstance(verdict, Admitted):
            self._tasks.spawn(self._note(verdict.provider_id), name="note-provider")
        return verdict

    def heartbeat(self, provider_id: ProviderId, capacity: Capacity, *, link_ms: int = 0) -> None:
        self._gate.heartbeat(provider_id, capacity, link_ms=link_ms)

    def challenge_replied(self, provider_id: ProviderId, nonce: bytes, signature: bytes) -> None:
        self._gate.challenge_replied(provider_id, nonce, signature)

    def statement_changed(self, provider_id: ProviderId, statement: StatementDocument) -> None:
        self._gate.statement_changed(provider_id, statement)

    def models_changed(self, provider_id: ProviderId, models: Sequence[ModelOffer]) -> None:
        self._gate.models_changed(provider_id, models)

    def load_failed(self, provider_id: ProviderId, model: ModelId, code: str) -> None:
        self._gate.load_failed(provider_id, model, code)

    def draining(self, provider_id: ProviderId) -> None:
        self._gate.draining(provider_id)

    def link_lost(self, provider_id: ProviderId, link: ProviderLink) -> None:
        self._gate.link_lost(provider_id, link)

    async def _note(self, provider_id: ProviderId) -> None:
        live = self._fleet.get(provider_id)
        if live is None:
            return
        try:
            await self._book.note(
                provider_id, live.owner.account_id, agent_version=live.agent_version, trust=int(live.tier)
            )
        except StorageError as error:
            _LOG.warning(
                "a provider was not written down", extra={"provider_id": provider_id, "code": error.error_code}
            )


def claimed_provider(statement: StatementDocument) -> ProviderId:
    """Return the identity that an unverified statement claims; "" when it claims none that can be read."""
    try:
        payload: Any = msgspec.json.decode(b64decode(statement.payload))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ProviderId("")
    return ProviderId(str(payload.get("provider", ""))) if isinstance(payload, dict) else ProviderId("")
