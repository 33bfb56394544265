"""An identity key names its provider, signs, and stays hidden."""

from __future__ import annotations

import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from hushnet.foundation.errors import ConfigurationError
from hushnet.identity.keys import IdentityKey
from hushnet.sealing.identities import provider_id_of, verify_identity


def test_the_provider_id_is_the_hash_of_the_public_key() -> None:
    key = IdentityKey.generate()

    assert bytes.fromhex(key.provider_id) == key.id_bytes == provider_id_of("ed25519", key.public_key)


def test_a_signature_verifies_under_the_public_key_only() -> None:
    key, other = IdentityKey.generate(), IdentityKey.generate()
    signature = key.sign(b"framed bytes")

    assert verify_identity("ed25519", key.public_key, signature=signature, message=b"framed bytes")
    assert not verify_identity("ed25519", other.public_key, signature=signature, message=b"framed bytes")


def test_a_key_comes_back_from_its_pem() -> None:
    key = IdentityKey.generate()

    assert IdentityKey.from_pem(key.to_pem()).provider_id == key.provider_id


def _pem_of_p256() -> bytes:
    return generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _encrypted_pem() -> bytes:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\n", _pem_of_p256(), _encrypted_pem()])
def test_another_kind_of_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ConfigurationError):
        IdentityKey.from_pem(pem)


def test_the_private_key_is_neither_shown_nor_pickled() -> None:
    key = IdentityKey.generate()

    assert repr(key) == f"IdentityKey({key.provider_id})"
    with pytest.raises(TypeError):
        pickle.dumps(key)
