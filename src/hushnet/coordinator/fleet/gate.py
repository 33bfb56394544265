"""What provider links report to: admits registrations and keeps the fleet's picture of each provider true.

Rules: the account comes from the token and from nothing else; an identity is proved by a verified statement and a
signature over this connection's own nonce; a provider that registers again replaces its old link only then. Hints are
for the provider's operator and quote nothing that the peer sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from hushnet.coordinator.fleet.beliefs import Doubt
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.link import Admitted, ProviderLink, Rejected
from hushnet.coordinator.fleet.load import Load
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.store import Owner, ProviderTokens, TrustDesk
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import AccessError, CapacityError, StorageError
from hushnet.foundation.ids import ModelId, ProviderId
from hushnet.foundation.redaction import Secret
from hushnet.sealing.errors import SealingError
from hushnet.sealing.statements import SerialMemory, Statement, VerifiedStatement, verify_statement
from hushnet.wire.frames import Capacity, ModelOffer, Register, StatementDocument

_LOG = logging.getLogger(__name__)

_HINTS = {
    "invalid_api_key": "the provider token is unknown or revoked; make one with `hush keys create --scope provider`",
    "wrong_scope": "this key is not a provider token; make one with `hush keys create --scope provider`",
    "account_closed": "the account of this token is closed",
    "statement_wrong_network": "this coordinator belongs to another network",
    "statement_not_yet_valid": "check this machine's clock",
    "statement_expired": "check this machine's clock",
    "unsteady": "this provider has joined again and again within a minute; see why its link or its agent keeps ending",
}


class Gate:
    """The fleet's `FleetGate`."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        network: str,
        tokens: ProviderTokens,
        trust: TrustDesk,
        clock: Clock,
        on_doubt: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_doubt` hears a `Doubt` once whenever a provider gives cause for it, to count it."""
        self._fleet = fleet
        self._on_doubt = on_doubt
        self._network = network
        self._tokens = tokens
        self._trust = trust
        self._clock = clock
        self._serials = SerialMemory()

    @property
    def serials(self) -> SerialMemory:
        """The statements seen by this process: one memory, also for what other workers tell of theirs."""
        return self._serials

    async def admit(
        self, registration: Register, *, nonce: bytes, link: ProviderLink, peer: str
    ) -> Admitted | Rejected:
        """Authenticate, verify, publish; the last await comes before anything is changed."""
        owner = await self._owner_of(registration.token)
        if isinstance(owner, Rejected):
            return owner
        try:
            statement = Statement.from_json_object(registration.statement.to_json_object())
            verified = self._verify(statement, provider_id=None)
        except SealingError as error:
            return self._reject(error.error_code)
        if not self._fleet.may_join(ProviderId(verified.provider_id.hex())):
            self._on_doubt(Doubt.UNSTEADY_REFUSED)
            return self._reject("unsteady")
        verdict = self._trust.admit(verified, nonce=nonce, signature=registration.challenge_signature)
        if verdict is None:
            return self._reject("challenge_failed")
        provider = LiveProvider(
            provider_id=ProviderId(verified.provider_id.hex()),
            owner=owner,
            link=link,
            agent_version=registration.agent_version,
            statement=statement,
            verified=verified,
            tier=verdict.tier,
            load=Load(registration.capacity),
            connected_ms=self._later_than_before(ProviderId(verified.provider_id.hex())),
            policy=self._fleet.policy,
            region=registration.region,
        )
        provider.offer(registration.models)
        self._publish(provider)
        return Admitted(provider.provider_id)

    def heartbeat(self, provider_id: ProviderId, capacity: Capacity, *, link_ms: int = 0) -> None:
        if (provider := self._fleet.get(provider_id)) is not None:
            provider.link_ms = link_ms
            self._fleet.reported(provider, capacity)
            self._note_doubts(provider)

    def challenge_replied(self, provider_id: ProviderId, nonce: bytes, signature: bytes) -> None:
        provider = self._fleet.get(provider_id)
        verdict = self._trust.answer(provider_id, nonce, signature)
        if provider is None or verdict is None:
            return
        if verdict.tier is not provider.tier:
            _LOG.warning("trust changed", extra={"provider_id": provider_id, "trust": verdict.tier.label})
        self._fleet.judged(provider, verdict.tier)

    def statement_changed(self, provider_id: ProviderId, statement: StatementDocument) -> None:
        """Take a rotated statement; one that does not verify leaves the old one, which runs out by itself."""
        provider = self._fleet.get(provider_id)
        if provider is None:
            return
        try:
            parsed = Statement.from_json_object(statement.to_json_object())
            verified = self._verify(parsed, provider_id=provider.verified.provider_id)
        except SealingError as error:
            provider.findings[error.error_code] += 1
            _LOG.warning("statement refused", extra={"provider_id": provider_id, "code": error.error_code})
            return
        verdict = self._trust.restate(verified)
        self._fleet.restated(provider, parsed, verified)
        self._fleet.judged(provider, verdict.tier)

    def models_changed(self, provider_id: ProviderId, models: Sequence[ModelOffer]) -> None:
        if (provider := self._fleet.get(provider_id)) is not None:
            self._fleet.offered(provider, models)
            self._note_doubts(provider)

    def load_failed(self, provider_id: ProviderId, model: ModelId, code: str) -> None:
        """Note a load that does not happen; the warm pool looks elsewhere."""
        provider = self._fleet.get(provider_id)
        if provider is not None and model in provider.offers:
            _LOG.info("a model was not loaded", extra={"provider_id": provider_id, "model": model, "code": code})
            provider.loads_failed[model] = code
            self._fleet.noted(provider)

    def draining(self, provider_id: ProviderId) -> None:
        if (provider := self._fleet.get(provider_id)) is not None:
            self._fleet.drained(provider)

    def link_lost(self, provider_id: ProviderId, link: ProviderLink) -> None:
        provider = self._fleet.get(provider_id)
        if provider is not None and provider.link is link and self._fleet.leave(provider):
            self._trust.forget(provider_id)
            _LOG.info("provider left", extra={"provider_id": provider_id})

    def _publish(self, provider: LiveProvider) -> None:
        old = self._fleet.join(provider)
        self._note_doubts(provider)
        _LOG.info(
            "provider joined",
            extra={
                "provider_id": provider.provider_id,
                "account_id": provider.owner.account_id,
                "trust": provider.tier.label,
                "count": len(provider.offers),
            },
        )
        if old is not None and old.link is not provider.link:
            old.link.close("replaced")

    def _note_doubts(self, provider: LiveProvider) -> None:
        """Count what is newly doubted: a provider that repeats itself is not counted at every heartbeat."""
        doubts = self._fleet.doubts(provider)
        if doubts == provider.doubted:
            return
        for doubt in doubts - provider.doubted:
            provider.findings[doubt] += 1
            self._on_doubt(doubt)
            _LOG.info("report doubted", extra={"provider_id": provider.provider_id, "code": doubt.value})
        provider.doubted = doubts

    def _later_than_before(self, provider_id: ProviderId) -> int:
        """Return now; a clock that stepped back makes no new link older than the one that it replaces."""
        old = self._fleet.get(provider_id)
        return max(self._clock.now_ms(), old.connected_ms + 1 if old is not None else 0)

    async def _owner_of(self, token: Secret) -> Owner | Rejected:
        try:
            return await self._tokens.owner_of(token)
        except AccessError as error:
            return self._reject(error.error_code)
        except (CapacityError, StorageError):
            return self._reject("busy")

    def _verify(self, statement: Statement, *, provider_id: bytes | None) -> VerifiedStatement:
        return verify_statement(
            statement,
            network=self._network,
            now=self._clock.now_ms() // 1000,
            provider_id=provider_id,
            serials=self._serials,
        )

    def _reject(self, code: str) -> Rejected:
        _LOG.info("registration rejected", extra={"code": code})
        return Rejected(code, _HINTS.get(code, ""))
