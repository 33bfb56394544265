"""Who is challenged: an identity, and the statement that its signatures are bound to."""

from __future__ import annotations

from dataclasses import dataclass

from hushnet.attestation.evidence import EvidenceItem
from hushnet.attestation.policy import ChallengeRecord, Dossier
from hushnet.foundation.ids import ProviderId
from hushnet.sealing.identities import verify_identity
from hushnet.sealing.statements import VerifiedStatement
from hushnet.wire.challenge import challenge_message


@dataclass(frozen=True, slots=True)
class Subject:
    """A provider whose statement verified, with the evidence it has shown."""

    statement: VerifiedStatement
    evidence: tuple[EvidenceItem, ...] = ()

    @property
    def provider_id(self) -> ProviderId:
        return ProviderId(self.statement.provider_id.hex())

    def has_signed(self, nonce: bytes, signature: bytes) -> bool:
        """Tell whether `signature` answers `nonce` under the identity, bound to the statement announced last."""
        message = challenge_message(
            self.statement.network,
            provider_id=self.statement.provider_id,
            nonce=nonce,
            statement_digest=self.statement.digest,
        )
        return verify_identity(
            self.statement.identity_alg, self.statement.identity_public_key, signature=signature, message=message
        )

    def dossier(self, record: ChallengeRecord) -> Dossier:
        """Return what a policy judges."""
        return Dossier(
            provider_id=self.statement.provider_id,
            statement_digest=self.statement.digest,
            is_statement_verified=True,
            evidence=self.evidence,
            challenge=record,
        )
