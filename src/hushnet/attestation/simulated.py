"""A simulated root of trust: exercises the whole evidence path on a machine that has no root, and proves nothing.

Data: the 32 bound bytes, then an Ed25519 signature over them by a key that a test or a demonstration made up.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hushnet.attestation.evidence import Appraisal
from hushnet.attestation.tiers import Tier
from hushnet.attestation.verdict import Finding, FindingCode

_DIGEST_BYTES = 32
_SIGNATURE_BYTES = 64


class SimulatedRoot:
    """Evidence kind `simulated`: its ceiling is `self_signed`, whoever signed it."""

    name = "simulated"
    ceiling = Tier.SELF_SIGNED

    def __init__(self, root_public_key: bytes) -> None:
        self._root = Ed25519PublicKey.from_public_bytes(root_public_key)

    def appraise(self, data: bytes, *, bound_value: bytes, now: int) -> Appraisal | None:
        del now  # a made-up root has no validity to check
        invalid = Appraisal(Tier.NONE, findings=(Finding(FindingCode.EVIDENCE_INVALID, self.name),))
        if len(data) != _DIGEST_BYTES + _SIGNATURE_BYTES:
            return invalid
        if not hmac.compare_digest(data[:_DIGEST_BYTES], bound_value):
            return None
        try:
            self._root.verify(data[_DIGEST_BYTES:], bound_value)
        except InvalidSignature:
            return invalid
        simulated = Finding(FindingCode.EVIDENCE_SIMULATED, self.name)
        return Appraisal(Tier.HARDWARE, is_identity_in_hardware=True, findings=(simulated,))
