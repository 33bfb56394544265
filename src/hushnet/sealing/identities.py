"""Identity keys: what names a provider for good, and how its signatures verify (section 2)."""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hushnet.sealing.encoding import label, sha256

_PROVIDER_LABEL: Final = label("provider")
_IDENTITY_ALGS: Final = {"ed25519": (1, 32), "p256": (2, 65), "bip340": (3, 32)}
"""Name to (id, bytes of a public key)."""
VERIFIABLE_ALGS: Final = frozenset({"ed25519", "p256"})
"""The identity algorithms that verify here; statements under any other are refused."""
SIGNATURE_SIZE: Final = 64


class IdentitySigner(Protocol):
    """The long-lived identity key of a provider, wherever it lives."""

    @property
    def alg(self) -> str:
        """One of section 2's names."""
        ...

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes:
        """Sign `message`, which is unambiguous by its framing (PAE): 64 bytes."""
        ...


def provider_id_of(alg: str, public_key: bytes) -> bytes:
    """Return the 32 bytes that name the provider of an identity key; `ValueError` for an unknown algorithm."""
    if alg not in _IDENTITY_ALGS:
        raise ValueError("not an identity algorithm of the sealing protocol")
    return sha256(_PROVIDER_LABEL, bytes((_IDENTITY_ALGS[alg][0],)), public_key)


def is_identity_key(alg: str, public_key: bytes) -> bool:
    """Tell whether `public_key` has the length of that algorithm's keys."""
    return alg in _IDENTITY_ALGS and len(public_key) == _IDENTITY_ALGS[alg][1]


def verify_identity(alg: str, public_key: bytes, *, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` (64 bytes) over `message` verifies; False for an algorithm that does not verify here."""
    if len(signature) != SIGNATURE_SIZE:
        return False
    try:
        if alg == "ed25519":
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
            return True
        if alg == "p256" and len(public_key) == _IDENTITY_ALGS[alg][1]:
            _verify_p256(public_key, signature, message)
            return True
    except (InvalidSignature, ValueError):
        return False
    return False


def _verify_p256(public_key: bytes, signature: bytes, message: bytes) -> None:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
