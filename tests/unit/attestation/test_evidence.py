"""Evidence counts only when it is known, bound and verified, and never above its kind's ceiling."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hushnet.attestation.evidence import (
    EVIDENCE_ITEMS_MAX,
    Appraisal,
    Binding,
    EvidenceItem,
    EvidenceRegistry,
    bound_value,
    parse_evidence,
)
from hushnet.attestation.simulated import SimulatedRoot
from hushnet.attestation.tiers import Tier
from hushnet.attestation.verdict import FindingCode, Verdict

PROVIDER = bytes(range(32))
STATEMENT = bytes(range(32, 64))
ROOT = Ed25519PrivateKey.generate()


@dataclass(frozen=True)
class QuotingRoot:
    """A stand-in for a real root: carries the bound bytes in clear and proves whatever it was told to."""

    proves: Tier
    ceiling: Tier
    is_identity_in_hardware: bool = False
    name: str = "quoting"

    def appraise(self, data: bytes, *, bound_value: bytes, now: int) -> Appraisal | None:
        if data != bound_value:
            return None
        return Appraisal(self.proves, self.is_identity_in_hardware, claims=frozenset({"quoted"}))


def simulated() -> SimulatedRoot:
    return SimulatedRoot(ROOT.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def judge(kind: object, data: bytes, binds: Binding = "statement") -> Verdict:
    registry = EvidenceRegistry([kind])  # type: ignore[list-item]
    item = EvidenceItem(kind.name, binds, data)  # type: ignore[attr-defined]
    return registry.judge([item], provider_id=PROVIDER, statement_digest=STATEMENT, now=0)


def codes(verdict: Verdict) -> list[str]:
    return [finding.code.value for finding in verdict.findings]


def test_a_simulated_root_that_verifies_counts_as_self_signed_and_says_why() -> None:
    verdict = judge(simulated(), STATEMENT + ROOT.sign(STATEMENT))

    assert verdict.tier is Tier.SELF_SIGNED
    assert codes(verdict) == ["evidence_simulated"]


def test_a_simulated_root_with_a_wrong_signature_is_invalid_and_takes_nothing_away() -> None:
    verdict = judge(simulated(), STATEMENT + bytes(64))

    assert verdict.tier is Tier.SELF_SIGNED
    assert codes(verdict) == ["evidence_invalid"]


@pytest.mark.parametrize("length", [0, 31, 95, 97, 4096])
def test_simulated_evidence_of_a_wrong_length_is_invalid(length: int) -> None:
    assert codes(judge(simulated(), bytes(length))) == ["evidence_invalid"]


def test_evidence_of_another_statement_is_unbound() -> None:
    other = bytes(32)

    assert codes(judge(simulated(), other + ROOT.sign(other))) == ["evidence_unbound"]


def test_a_kind_never_proves_more_than_its_ceiling() -> None:
    verdict = judge(QuotingRoot(proves=Tier.HARDWARE, ceiling=Tier.MEASURED), STATEMENT)

    assert verdict.tier is Tier.MEASURED
    assert verdict.claims == {"quoted"}


def test_evidence_bound_to_the_statement_reaches_its_tier() -> None:
    assert judge(QuotingRoot(proves=Tier.HARDWARE, ceiling=Tier.HARDWARE), STATEMENT).tier is Tier.HARDWARE


def test_evidence_bound_to_an_identity_that_could_be_copied_stays_self_signed() -> None:
    value = bound_value("identity", provider_id=PROVIDER, statement_digest=STATEMENT)
    verdict = judge(QuotingRoot(proves=Tier.MEASURED, ceiling=Tier.HARDWARE), value, "identity")

    assert verdict.tier is Tier.SELF_SIGNED
    assert codes(verdict) == ["evidence_unbound"]
    assert verdict.claims == frozenset()


def test_evidence_bound_to_an_identity_in_hardware_reaches_its_tier() -> None:
    value = bound_value("identity", provider_id=PROVIDER, statement_digest=STATEMENT)
    kind = QuotingRoot(proves=Tier.MEASURED, ceiling=Tier.HARDWARE, is_identity_in_hardware=True)

    assert judge(kind, value, "identity").tier is Tier.MEASURED


def test_an_unknown_kind_is_found_and_its_name_is_not_repeated() -> None:
    item = EvidenceItem("<b>surprise</b>", "statement", b"")
    verdict = EvidenceRegistry().judge([item], provider_id=PROVIDER, statement_digest=STATEMENT, now=0)

    assert codes(verdict) == ["evidence_unknown_kind"]
    assert "surprise" not in str(verdict.to_json_object())


def test_a_weak_item_does_not_hide_a_strong_one() -> None:
    registry = EvidenceRegistry([QuotingRoot(proves=Tier.MEASURED, ceiling=Tier.MEASURED)])
    items = [EvidenceItem("quoting", "statement", b"other"), EvidenceItem("quoting", "statement", STATEMENT)]
    verdict = registry.judge(items, provider_id=PROVIDER, statement_digest=STATEMENT, now=0)

    assert verdict.tier is Tier.MEASURED
    assert codes(verdict) == ["evidence_unbound"]


def test_well_formed_items_are_parsed() -> None:
    listed = {"kind": "tpm2", "binds": "statement", "data": base64.b64encode(b"quote").decode()}

    assert parse_evidence([listed]) == ((EvidenceItem("tpm2", "statement", b"quote"),), ())


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        "tpm2",
        {},
        {"kind": "", "binds": "statement", "data": ""},
        {"kind": "x" * 33, "binds": "statement", "data": ""},
        {"kind": "é", "binds": "statement", "data": ""},
        {"kind": 1, "binds": "statement", "data": ""},
        {"kind": "tpm2", "binds": "serial", "data": ""},
        {"kind": "tpm2", "binds": ["statement"], "data": ""},
        {"kind": "tpm2", "binds": "statement", "data": 5},
        {"kind": "tpm2", "binds": "statement", "data": "AB=="},
        {"kind": "tpm2", "binds": "statement", "data": "A A="},
        {"kind": "tpm2", "binds": "statement", "data": "é"},
        {"kind": "tpm2", "binds": "statement", "data": "A" * 400_000},
    ],
)
def test_a_malformed_item_is_a_finding_and_no_item(item: object) -> None:
    items, findings = parse_evidence([item])

    assert items == ()
    assert [finding.code for finding in findings] == [FindingCode.EVIDENCE_MALFORMED]


def test_items_beyond_the_bound_are_not_looked_at() -> None:
    listed = {"kind": "tpm2", "binds": "statement", "data": ""}
    items, findings = parse_evidence([listed] * (EVIDENCE_ITEMS_MAX + 1))

    assert len(items) == EVIDENCE_ITEMS_MAX
    assert [finding.code for finding in findings] == [FindingCode.EVIDENCE_MALFORMED]
