"""An identity keypair: Ed25519, made once, kept by its owner, its public half hashed into the provider id."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.ids import ProviderId
from hushnet.sealing.identities import provider_id_of


class IdentityKey:
    """Signs statements of sealing keys and answers to challenges; `repr` shows the provider id only.

    Callers hand it PAE-framed or equally unambiguous bytes and nothing else (docs/sealing.md section 2).
    """

    alg = "ed25519"

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.public_key: bytes = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id_bytes: bytes = provider_id_of(self.alg, self.public_key)

    @classmethod
    def generate(cls) -> IdentityKey:
        """Make a new identity from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> IdentityKey:
        """Read a PKCS #8 PEM; raise `ConfigurationError` when it is not an unencrypted Ed25519 key."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError("the identity key is not an unencrypted Ed25519 key in PEM")
        return cls(key)

    def to_pem(self) -> bytes:
        """Return the private key as PKCS #8 PEM: a secret, for its file and nothing else."""
        return self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def provider_id(self) -> ProviderId:
        """The id as 64 lower-case hex digits."""
        return ProviderId(self.id_bytes.hex())

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `message`."""
        return self._private_key.sign(message)

    def __repr__(self) -> str:
        return f"IdentityKey({self.provider_id})"

    def __reduce__(self) -> str:
        raise TypeError("an identity key is not serialised")
