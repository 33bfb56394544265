"""What the fleet needs of its neighbours: who owns a token, and whether a provider may be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from hushnet.attestation.policy import ChallengeRecord
from hushnet.attestation.tiers import Tier
from hushnet.attestation.verdict import Verdict
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId, ProviderId
from hushnet.foundation.money import BASIS_POINTS_ONE
from hushnet.foundation.redaction import Secret
from hushnet.sealing.statements import VerifiedStatement


@dataclass(frozen=True, slots=True)
class Owner:
    """The account that earns, as its provider token proved it; nothing that the provider says changes it."""

    account_id: AccountId
    key_id: ApiKeyId


class ProviderTokens(Protocol):
    """Accounts, as far as a link needs them."""

    async def owner_of(self, token: Secret) -> Owner:
        """Return the owner of a provider token.

        Raises `AccessError` for a token that is unknown, revoked, of another scope, or of a closed account,
        `CapacityError` or `StorageError` when nobody can tell now.
        """
        ...


class Markups(Protocol):
    """Prices, as far as the fleet needs them: what a model's price is multiplied with at one provider, in basis points."""

    def tier_bps(self, tier: Tier) -> int:
        """Return the multiplier of a trust tier; 10,000 leaves the price as it is."""
        ...

    def discount_bps(self, owner: AccountId, model: ModelId) -> int:
        """Return what the machines of `owner` take off the price of `model` now."""
        ...


class FullPrice:
    """`Markups` where every provider costs the same."""

    def tier_bps(self, tier: Tier) -> int:
        return BASIS_POINTS_ONE

    def discount_bps(self, owner: AccountId, model: ModelId) -> int:
        return 0


FULL_PRICE: Final = FullPrice()


class TrustDesk(Protocol):
    """Challenges and verdicts, as far as the gate needs them."""

    def admit(self, statement: VerifiedStatement, *, nonce: bytes, signature: bytes) -> Verdict | None:
        """Check the registration's own challenge and begin with the provider; None when the signature is wrong."""
        ...

    def restate(self, statement: VerifiedStatement) -> Verdict:
        """Take the rotated statement of a provider that was admitted."""
        ...

    def answer(self, provider_id: ProviderId, nonce: bytes, signature: bytes) -> Verdict | None:
        """Take a reply; None when it answers no open challenge."""
        ...

    def forget(self, provider_id: ProviderId) -> None: ...

    def verdict(self, provider_id: ProviderId) -> Verdict: ...

    def record(self, provider_id: ProviderId) -> ChallengeRecord: ...


class WarmthCounts(Protocol):
    """Telemetry, as far as the warm pool needs it; every word is one of a closed set."""

    def warmth(self, *, kind: str, reason: str) -> None:
        """Count what became of a model's being loaded: cold_start, load, unload, failed."""
        ...
