"""Evidence: what stands behind a statement, what it is bound to, and the registry of kinds that can be verified.

Rules (docs/sealing.md section 3):
- An item binds the statement (S) or the identity (SHA-256 over the provider id). Nothing else counts.
- A kind never proves more than its ceiling, whatever it returns.
- From `measured` up an item must bind the statement, or bind the identity and prove that the identity key cannot
  leave the hardware; an item that does neither counts as `self_signed` and is found unbound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from hushnet.attestation.tiers import Tier
from hushnet.attestation.verdict import Finding, FindingCode, Verdict, join_any
from hushnet.sealing.encoding import decode_base64, label, sha256

EVIDENCE_ITEMS_MAX: Final = 8
EVIDENCE_DATA_BYTES_MAX: Final = 256 * 1024
_KIND_LENGTH_MAX = 32
_IDENTITY_LABEL = label("evidence")

Binding = Literal["statement", "identity"]


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One piece of evidence as received: its kind, what it says it binds, and its bytes."""

    kind: str
    binds: Binding
    data: bytes


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What one kind found in one item: the tier it proves, and whether it shows the identity key tied to hardware."""

    tier: Tier
    is_identity_in_hardware: bool = False
    findings: tuple[Finding, ...] = ()
    claims: frozenset[str] = frozenset()


class EvidenceKind(Protocol):
    """A verifier of one kind of evidence: pure, total, and honest about the most it can ever prove."""

    @property
    def name(self) -> str: ...

    @property
    def ceiling(self) -> Tier: ...

    def appraise(self, data: bytes, *, bound_value: bytes, now: int) -> Appraisal | None:
        """Verify `data` for the 32 bytes it must be bound to; None when it carries another value.

        `now` is in Unix seconds. Hostile bytes give an appraisal of tier `none` with findings, never an exception.
        """
        ...


def bound_value(binds: Binding, *, provider_id: bytes, statement_digest: bytes) -> bytes:
    """Return the 32 bytes that evidence must carry: S, or SHA-256(L("evidence") ‖ provider_id)."""
    if binds == "statement":
        return statement_digest
    return sha256(_IDENTITY_LABEL, provider_id)


def parse_evidence(items: Sequence[object]) -> tuple[tuple[EvidenceItem, ...], tuple[Finding, ...]]:
    """Read the `evidence` member of a listing; what is not well formed becomes a finding, not an item."""
    parsed: list[EvidenceItem] = []
    malformed = Finding(FindingCode.EVIDENCE_MALFORMED)
    findings: list[Finding] = [malformed] if len(items) > EVIDENCE_ITEMS_MAX else []
    for item in items[:EVIDENCE_ITEMS_MAX]:
        if (evidence := _parse_item(item)) is not None:
            parsed.append(evidence)
        else:
            findings.append(malformed)
    return tuple(parsed), tuple(dict.fromkeys(findings))


def _parse_item(item: object) -> EvidenceItem | None:
    if not isinstance(item, Mapping):
        return None
    kind, binds, data = item.get("kind"), item.get("binds"), _decode(item.get("data"))
    if not isinstance(kind, str) or not 1 <= len(kind) <= _KIND_LENGTH_MAX or not kind.isascii():
        return None
    if binds not in ("statement", "identity") or data is None:
        return None
    return EvidenceItem(kind, binds, data)


def _decode(text: object) -> bytes | None:
    """Decode canonical padded base64 within the bound; None for anything else."""
    if not isinstance(text, str) or len(text) > EVIDENCE_DATA_BYTES_MAX * 4 // 3 + 4:
        return None
    return decode_base64(text)


class EvidenceRegistry:
    """The kinds of evidence that this verifier knows, by name."""

    def __init__(self, kinds: Iterable[EvidenceKind] = ()) -> None:
        self._kinds = {kind.name: kind for kind in kinds}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._kinds))

    def judge(self, items: Sequence[EvidenceItem], *, provider_id: bytes, statement_digest: bytes, now: int) -> Verdict:
        """Return the best tier that any item proves, at least `self_signed`: weak evidence never takes trust away."""
        base = Verdict(Tier.SELF_SIGNED)
        judged = tuple(
            self._judge_item(item, provider_id=provider_id, statement_digest=statement_digest, now=now)
            for item in items
        )
        return join_any((base, *judged))

    def _judge_item(self, item: EvidenceItem, *, provider_id: bytes, statement_digest: bytes, now: int) -> Verdict:
        kind = self._kinds.get(item.kind)
        if kind is None:
            # The name is the provider's own text, so it stays out of the finding.
            return Verdict(Tier.NONE, (Finding(FindingCode.EVIDENCE_UNKNOWN_KIND),))
        value = bound_value(item.binds, provider_id=provider_id, statement_digest=statement_digest)
        appraisal = kind.appraise(item.data, bound_value=value, now=now)
        unbound = Finding(FindingCode.EVIDENCE_UNBOUND, kind.name)
        if appraisal is None:
            return Verdict(Tier.NONE, (unbound,))
        tier = min(appraisal.tier, kind.ceiling)
        if tier >= Tier.MEASURED and item.binds == "identity" and not appraisal.is_identity_in_hardware:
            return Verdict(Tier.SELF_SIGNED, (*appraisal.findings, unbound))
        return Verdict(tier, appraisal.findings, appraisal.claims)
