"""Policies: small judgements over a provider's dossier that compose into the one a verifier asks for.

A policy answers with the highest tier that it leaves open. `AllOf` therefore takes the lowest of its parts and `AnyOf`
the highest; findings of every part are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from hushnet.attestation.evidence import EvidenceItem, EvidenceRegistry
from hushnet.attestation.tiers import Tier
from hushnet.attestation.verdict import Finding, FindingCode, Verdict, join_all, join_any

CHALLENGE_INTERVAL_S: Final = 300
CHALLENGE_REPLY_S_MAX: Final = 30
CHALLENGES_MISSED_MAX: Final = 3
# Three missed challenges in a row, the last one waited for, and as long again as one reply may take.
CHALLENGE_AGE_S_MAX: Final = CHALLENGES_MISSED_MAX * CHALLENGE_INTERVAL_S + 2 * CHALLENGE_REPLY_S_MAX


@dataclass(frozen=True, slots=True)
class ChallengeRecord:
    """How a link has answered: Unix seconds of the last right answer, and the misses since."""

    answered_at: int | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Dossier:
    """What is known about a provider when it is judged. `challenge` is None where there is no link to ask over."""

    provider_id: bytes
    statement_digest: bytes
    is_statement_verified: bool
    evidence: tuple[EvidenceItem, ...] = ()
    evidence_findings: tuple[Finding, ...] = ()
    challenge: ChallengeRecord | None = None


class Policy(Protocol):
    """One judgement: pure, total; `now` is in Unix seconds."""

    def judge(self, dossier: Dossier, *, now: int) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class StatementVerifies:
    """The statement of sealing keys verified under the identity it names; without that nothing else counts."""

    def judge(self, dossier: Dossier, *, now: int) -> Verdict:
        del now
        if dossier.is_statement_verified:
            return Verdict(Tier.HARDWARE)
        return Verdict(Tier.NONE, (Finding(FindingCode.STATEMENT_NOT_VERIFIED),))


@dataclass(frozen=True, slots=True)
class ChallengeAnswered:
    """The identity key answered a fresh challenge on the live link, recently, and has not gone silent since."""

    age_s_max: int = CHALLENGE_AGE_S_MAX
    missed_max: int = CHALLENGES_MISSED_MAX

    def judge(self, dossier: Dossier, *, now: int) -> Verdict:
        record = dossier.challenge
        if record is None or record.answered_at is None:
            return Verdict(Tier.NONE, (Finding(FindingCode.CHALLENGE_UNANSWERED),))
        findings: list[Finding] = []
        if record.missed >= self.missed_max:
            findings.append(Finding(FindingCode.CHALLENGES_MISSED))
        if now - record.answered_at > self.age_s_max:
            findings.append(Finding(FindingCode.CHALLENGE_STALE))
        return Verdict(Tier.NONE if findings else Tier.HARDWARE, tuple(findings))


@dataclass(frozen=True, slots=True)
class EvidenceProves:
    """Own verification of the evidence decides the tier; none shown leaves `self_signed`."""

    registry: EvidenceRegistry

    def judge(self, dossier: Dossier, *, now: int) -> Verdict:
        judged = self.registry.judge(
            dossier.evidence,
            provider_id=dossier.provider_id,
            statement_digest=dossier.statement_digest,
            now=now,
        )
        return Verdict(judged.tier, (*dossier.evidence_findings, *judged.findings), judged.claims)


@dataclass(frozen=True, slots=True)
class ProviderPinned:
    """The provider is one of those that the verifier already knows by id (32 bytes each)."""

    pins: frozenset[bytes]

    def judge(self, dossier: Dossier, *, now: int) -> Verdict:
        del now
        if dossier.provider_id in self.pins:
            return Verdict(Tier.HARDWARE)
        return Verdict(Tier.NONE, (Finding(FindingCode.PROVIDER_NOT_PINNED),))


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part must leave the tier open: the lowest counts. No parts at all leave nothing open."""

    parts: tuple[Policy, ...]

    def judge(self, dossier: Dossier, *, now: int) -> Verdict:
        return join_all(tuple(part.judge(dossier, now=now) for part in self.parts))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One part is enough: the highest counts."""

    parts: tuple[Policy, ...]

    def judge(self, dossier: Dossier, *, now: int) -> Verdict:
        return join_any(tuple(part.judge(dossier, now=now) for part in self.parts))


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A policy with a floor: below it the verdict is `none`, and says so."""

    floor: Tier
    policy: Policy

    def judge(self, dossier: Dossier, *, now: int) -> Verdict:
        verdict = self.policy.judge(dossier, now=now)
        if verdict.meets(self.floor):
            return verdict
        findings = list(verdict.findings)
        if self.floor > Tier.SELF_SIGNED and not dossier.evidence:
            findings.append(Finding(FindingCode.EVIDENCE_MISSING))
        findings.append(Finding(FindingCode.TRUST_BELOW_FLOOR))
        return Verdict(Tier.NONE, tuple(findings))


def link_policy(registry: EvidenceRegistry | None = None) -> Policy:
    """Return what a coordinator asks of a provider on a live link: statement, challenges, then evidence."""
    return AllOf((StatementVerifies(), ChallengeAnswered(), EvidenceProves(registry or EvidenceRegistry())))


def listing_policy(
    *, floor: Tier = Tier.SELF_SIGNED, pins: frozenset[bytes] | None = None, registry: EvidenceRegistry | None = None
) -> Policy:
    """Return what a consumer asks of a listed provider: it has no link to challenge over, so evidence and pins."""
    parts: list[Policy] = [StatementVerifies(), EvidenceProves(registry or EvidenceRegistry())]
    if pins is not None:
        parts.append(ProviderPinned(pins))
    return AtLeast(floor, AllOf(tuple(parts)))
