"""What a judgement found: a tier, and every finding that led to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hushnet.attestation.tiers import Tier


class FindingCode(StrEnum):
    """The closed set of things that a judgement can find."""

    STATEMENT_NOT_VERIFIED = "statement_not_verified"
    CHALLENGE_UNANSWERED = "challenge_unanswered"
    CHALLENGE_STALE = "challenge_stale"
    CHALLENGES_MISSED = "challenges_missed"
    PROVIDER_NOT_PINNED = "provider_not_pinned"
    EVIDENCE_MISSING = "evidence_missing"
    EVIDENCE_MALFORMED = "evidence_malformed"
    EVIDENCE_UNKNOWN_KIND = "evidence_unknown_kind"
    EVIDENCE_UNBOUND = "evidence_unbound"
    EVIDENCE_INVALID = "evidence_invalid"
    EVIDENCE_SIMULATED = "evidence_simulated"
    TRUST_BELOW_FLOOR = "trust_below_floor"


_SENTENCES = {
    FindingCode.STATEMENT_NOT_VERIFIED: "The statement of its sealing keys did not verify.",
    FindingCode.CHALLENGE_UNANSWERED: "It has not answered a challenge on this link yet.",
    FindingCode.CHALLENGE_STALE: "Its last answered challenge is too old.",
    FindingCode.CHALLENGES_MISSED: "It left too many challenges in a row unanswered.",
    FindingCode.PROVIDER_NOT_PINNED: "It is not one of the pinned providers.",
    FindingCode.EVIDENCE_MISSING: "It shows no evidence beyond its own signature.",
    FindingCode.EVIDENCE_MALFORMED: "A piece of its evidence is not well formed.",
    FindingCode.EVIDENCE_UNKNOWN_KIND: "A piece of its evidence is of a kind that this verifier does not know.",
    FindingCode.EVIDENCE_UNBOUND: "A piece of its evidence does not belong to the keys it is shown for.",
    FindingCode.EVIDENCE_INVALID: "A piece of its evidence did not verify.",
    FindingCode.EVIDENCE_SIMULATED: "Its evidence comes from a simulated root of trust, which proves nothing more.",
    FindingCode.TRUST_BELOW_FLOOR: "What was verified is below the trust floor that was asked for.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: a closed code and, where it helps, the evidence kind it is about."""

    code: FindingCode
    subject: str = ""

    @property
    def sentence(self) -> str:
        """The finding for a person: fixed text, nothing of the provider's own."""
        return _SENTENCES[self.code]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The tier that a judgement leaves open, every finding of it, and extra claims that were proved on the way.

    A finding is never dropped when verdicts are joined: a second failed check does not hide the first.
    """

    tier: Tier
    findings: tuple[Finding, ...] = ()
    claims: frozenset[str] = frozenset()

    def meets(self, floor: Tier) -> bool:
        """Tell whether the tier is at least `floor`."""
        return self.tier >= floor

    def to_json_object(self) -> dict[str, object]:
        """Return the published form: `{"tier", "findings": [{"code", "subject", "detail"}], "claims"}`."""
        return {
            "tier": self.tier.label,
            "findings": [
                {"code": finding.code.value, "subject": finding.subject, "detail": finding.sentence}
                for finding in self.findings
            ],
            "claims": sorted(self.claims),
        }


def join_all(verdicts: tuple[Verdict, ...]) -> Verdict:
    """Join what must hold together: the lowest tier, all findings in order without repeats, all claims."""
    tier = min((verdict.tier for verdict in verdicts), default=Tier.NONE)
    return Verdict(tier, _findings_of(verdicts), _claims_of(verdicts))


def join_any(verdicts: tuple[Verdict, ...]) -> Verdict:
    """Join alternatives: the highest tier, all findings in order without repeats, the claims of all."""
    tier = max((verdict.tier for verdict in verdicts), default=Tier.NONE)
    return Verdict(tier, _findings_of(verdicts), _claims_of(verdicts))


def _findings_of(verdicts: tuple[Verdict, ...]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(finding for verdict in verdicts for finding in verdict.findings))


def _claims_of(verdicts: tuple[Verdict, ...]) -> frozenset[str]:
    return frozenset(claim for verdict in verdicts for claim in verdict.claims)
