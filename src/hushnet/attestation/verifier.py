"""The SDK's own verification of evidence, in the form that a sealing policy takes (docs/sealing.md section 3, step 13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hushnet.attestation.evidence import EvidenceRegistry, parse_evidence
from hushnet.attestation.tiers import Tier
from hushnet.attestation.verdict import FindingCode
from hushnet.sealing.errors import SealingError
from hushnet.sealing.statements.documents import Statement, read_payload


def evidence_verifier(
    registry: EvidenceRegistry, now: Callable[[], int]
) -> Callable[[Statement, Sequence[Mapping[str, Any]]], str]:
    """Return what goes into `KeyPolicy.verify_evidence`; `now` gives Unix seconds.

    The returned function takes a statement whose signature is already verified and answers with the label of the tier
    that its evidence proves; it raises `SealingError` `evidence_unbound` when nothing above `self_signed` was proved
    and an item belongs to other keys.
    """

    def verify(statement: Statement, listed: Sequence[Mapping[str, Any]]) -> str:
        items, _ = parse_evidence(listed)
        verdict = registry.judge(
            items,
            provider_id=bytes.fromhex(read_payload(statement.payload).provider),
            statement_digest=statement.digest(),
            now=now(),
        )
        is_unbound = any(finding.code is FindingCode.EVIDENCE_UNBOUND for finding in verdict.findings)
        if is_unbound and verdict.tier <= Tier.SELF_SIGNED:
            raise SealingError("evidence_unbound")
        return verdict.tier.label

    return verify
