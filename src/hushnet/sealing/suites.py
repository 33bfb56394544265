"""The three ways to wrap a secret to a provider's sealing key: registry, key pairs, wrapping (sections 2 and 5).

A key pair serves one suite. Wrapping needs public keys only and lives here; unwrapping lives in `sealing.opening`.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from hushnet.sealing.encapsulation import KEM_MLKEM768_X25519, KEM_X25519, Encapsulation, encapsulate
from hushnet.sealing.encoding import label, sha256
from hushnet.sealing.errors import SealingError

HpkePrivateKey = X25519PrivateKey | hpke.MLKEM768X25519PrivateKey

_KEY_ID_LABEL: Final = label("sealing key")
_MLKEM_SEED: Final = 64
_MLKEM_PUBLIC: Final = 1184


class Suite(IntEnum):
    """A wrapping suite; the number is its id on the wire."""

    NACL_BOX = 1
    HPKE_X25519 = 2
    HPKE_MLKEM768_X25519 = 3

    @property
    def label(self) -> str:
        """The suite's name in statements: `hpke-x25519`."""
        return self.name.lower().replace("_", "-")

    @property
    def public_key_size(self) -> int:
        return 1216 if self is Suite.HPKE_MLKEM768_X25519 else 32

    @property
    def wrap_size(self) -> int:
        return WRAP_SIZES[self]

    @classmethod
    def of_label(cls, text: str) -> Suite | None:
        """Return the suite that a statement names so; None for one that this version does not know."""
        return _BY_LABEL.get(text)


_BY_LABEL: Final = {suite.label: suite for suite in Suite}
WRAP_SIZES: Final[dict[int, int]] = {Suite.NACL_BOX: 168, Suite.HPKE_X25519: 112, Suite.HPKE_MLKEM768_X25519: 1200}
"""Bytes of a wrap by suite id; an id that is not in here is a suite that this version does not know."""
PREFERENCE: Final = (Suite.HPKE_MLKEM768_X25519, Suite.HPKE_X25519, Suite.NACL_BOX)
"""All suites, the strongest first."""

HPKE_SUITES: Final = {
    Suite.HPKE_X25519: hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
    Suite.HPKE_MLKEM768_X25519: hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
}
_KEMS: Final = {Suite.HPKE_X25519: KEM_X25519, Suite.HPKE_MLKEM768_X25519: KEM_MLKEM768_X25519}


@functools.cache
def available_suites() -> tuple[Suite, ...]:
    """Return the suites that this machine's libraries can run, the strongest first (ML-KEM needs a new enough backend)."""
    try:
        MLKEM768PrivateKey.from_seed_bytes(bytes(_MLKEM_SEED))
    except UnsupportedAlgorithm:
        return PREFERENCE[1:]
    return PREFERENCE


def key_id_of(suite: int, public_key: bytes) -> bytes:
    """Return the 16 bytes that name a sealing key."""
    return sha256(_KEY_ID_LABEL, bytes((suite,)), public_key)[:16]


@dataclass(frozen=True, slots=True)
class SealingKeyPair:
    """A short-lived key pair of one suite; `private` is 32 raw bytes for the box, a library key for HPKE, never shown."""

    suite: Suite
    public_key: bytes
    key_id: bytes
    private: bytes | HpkePrivateKey = field(repr=False, compare=False)

    def __reduce__(self) -> str:
        raise TypeError("a sealing key pair is not serialised")


def generate_key_pair(suite: Suite) -> SealingKeyPair:
    """Make a key pair from the system's CSPRNG."""
    size = _MLKEM_SEED + 32 if suite is Suite.HPKE_MLKEM768_X25519 else 32
    return load_key_pair(suite, secrets.token_bytes(size))


def load_key_pair(suite: Suite, private: bytes) -> SealingKeyPair:
    """Make the pair of a raw private key: X25519 scalar (32), for the hybrid ML-KEM seed and scalar (64 + 32)."""
    if suite is Suite.NACL_BOX:
        return _pair(suite, sodium.crypto_scalarmult_base(private), private)
    x25519 = X25519PrivateKey.from_private_bytes(private[-32:])
    x25519_public = x25519.public_key().public_bytes_raw()
    if suite is Suite.HPKE_X25519:
        return _pair(suite, x25519_public, x25519)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(private[:_MLKEM_SEED])
    public_key = mlkem.public_key().public_bytes_raw() + x25519_public
    return _pair(suite, public_key, hpke.MLKEM768X25519PrivateKey(mlkem, x25519))


def _pair(suite: Suite, public_key: bytes, private: bytes | HpkePrivateKey) -> SealingKeyPair:
    return SealingKeyPair(suite=suite, public_key=public_key, key_id=key_id_of(suite, public_key), private=private)


def check_public_key(suite: Suite, public_key: bytes) -> None:
    """Refuse a public key that no honest provider makes: raises `key_low_order` or `key_malformed`.

    The length is the caller's check. An exchange with a point of low order is all zero whatever the scalar.
    """
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(public_key[-32:]))
    except ValueError:
        raise SealingError("key_low_order") from None
    if suite is Suite.HPKE_MLKEM768_X25519 and suite in available_suites():
        try:
            MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_PUBLIC])
        except ValueError:
            raise SealingError("key_malformed") from None


_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(32))


def kem_of(suite: Suite) -> int | None:
    """Return the number of the suite's KEM; None for the box, which has no encapsulation of its own."""
    return _KEMS.get(suite)


def wrap(
    suite: Suite, public_key: bytes, secret: bytes, *, context: bytes, prepared: Encapsulation | None = None
) -> bytes:
    """Encrypt `secret` (64 bytes, C then R) to one recipient, bound to `context` (section 5).

    `prepared` is an encapsulation to this very key, used up by this call. Raises `key_low_order` for a key that yields
    no secret and `key_malformed` for one that does not parse.
    """
    if suite is Suite.NACL_BOX:
        return box_wrap(
            public_key, secret, context=context, ephemeral=secrets.token_bytes(32), nonce=secrets.token_bytes(24)
        )
    return (prepared or encapsulate(_KEMS[suite], public_key)).seal(secret, info=context)


def box_wrap(public_key: bytes, secret: bytes, *, context: bytes, ephemeral: bytes, nonce: bytes) -> bytes:
    """Wrap by `crypto_box`; `ephemeral` (a private key) and `nonce` are used once.

    The box authenticates no outside data, so the hash of context and ephemeral key travels inside it.
    """
    ephemeral_public = sodium.crypto_scalarmult_base(ephemeral)
    try:
        shared = sodium.crypto_box_beforenm(public_key, ephemeral)
    except CryptoError:
        raise SealingError("key_low_order") from None
    boxed = sodium.crypto_box_afternm(secret + sha256(context, ephemeral_public), nonce, shared)
    return ephemeral_public + nonce + boxed


def chosen_suite(offered: Sequence[Suite], acceptable: Sequence[Suite]) -> Suite | None:
    """Return the first acceptable suite that is offered and runs here."""
    runnable = available_suites()
    return next((suite for suite in acceptable if suite in offered and suite in runnable), None)
