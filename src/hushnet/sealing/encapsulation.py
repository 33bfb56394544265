"""HPKE's sender in its two halves: the encapsulation, which needs the recipient's key alone, and the seal (RFC 9180, base mode).

The library seals in one shot only; here the costly half, the key exchange, can be done before there is anything to seal. The
recipient's side stays the library's. KEMs: DHKEM(X25519, HKDF-SHA256), and MLKEM768-X25519 (X-Wing,
draft-connolly-cfrg-xwing-kem section 5.4). KDF HKDF-SHA256, AEAD AES-256-GCM, one message a context, empty associated data.

An encapsulation is used once: a second message under it would repeat a nonce. It is not copied, not pickled, not shown, and
worth nothing in a forked process.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from hushnet.sealing.encoding import hkdf_expand, hmac_sha256
from hushnet.sealing.errors import SealingError
from hushnet.sealing.forks import PROCESS

KEM_X25519: Final = 0x0020
KEM_MLKEM768_X25519: Final = 0x647A
_KDF_HKDF_SHA256: Final = 0x0001
_AEAD_AES_256_GCM: Final = 0x0002
_MLKEM_PUBLIC: Final = 1184
_XWING_LABEL: Final = bytes.fromhex("5c2e2f2f5e5c")
_NO_SALT: Final = bytes(32)
_VERSION: Final = b"HPKE-v1"
_BASE_MODE: Final = b"\0"
_KEYS_PARSED: Final = 256
"""Parsed ML-KEM keys kept: parsing one costs a third of an encapsulation, and a fleet's keys live for an hour."""


class Encapsulation:
    """A secret shared with one recipient, for one message; `kem` says by which KEM, `enc` is what the recipient needs."""

    __slots__ = ("_generation", "_secret", "enc", "kem")

    def __init__(self, kem: int, enc: bytes, secret: bytes) -> None:
        self.kem = kem
        self.enc = enc
        self._secret: bytes | None = secret
        self._generation = PROCESS.generation

    @property
    def is_usable(self) -> bool:
        """Whether it has not been used, nor carried into another process."""
        return self._secret is not None and self._generation == PROCESS.generation

    def seal(self, plaintext: bytes, *, info: bytes) -> bytes:
        """Return `enc` and the ciphertext, bound to `info`; raises `frame_out_of_state` when it is not usable."""
        secret = self._secret
        if secret is None or self._generation != PROCESS.generation:
            raise SealingError("frame_out_of_state")
        self._secret = None
        key, nonce = _key_schedule(self.kem, secret, info)
        return self.enc + AESGCM(key).encrypt(nonce, plaintext, None)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an encapsulation is not copied: it seals one message")

    def __repr__(self) -> str:
        return f"Encapsulation({self.kem:#06x}, {'ready' if self.is_usable else 'used'})"


def encapsulate(kem: int, public_key: bytes) -> Encapsulation:
    """Share a fresh secret with the owner of `public_key` (32 bytes, hybrid 1216).

    Raises `key_low_order` for a key that yields no secret and `key_malformed` for one that does not parse. About 70 us for
    the hybrid, 50 us without ML-KEM; libsodium's exchange is used for its faster key generation (17 to 34 us).
    """
    x25519_public = public_key[-32:]
    ephemeral = secrets.token_bytes(32)
    enc = sodium.crypto_scalarmult_base(ephemeral)
    try:
        shared = sodium.crypto_scalarmult(ephemeral, x25519_public)
    except (CryptoError, ValueError):
        raise SealingError("key_low_order") from None
    if kem == KEM_X25519:
        return Encapsulation(kem, enc, _dhkem_secret(shared, enc + x25519_public))
    pq_secret, pq_enc = _mlkem_key(public_key[:_MLKEM_PUBLIC]).encapsulate()
    secret = hashlib.sha3_256(b"".join((pq_secret, shared, enc, x25519_public, _XWING_LABEL))).digest()
    return Encapsulation(kem, pq_enc + enc, secret)


@functools.lru_cache(maxsize=_KEYS_PARSED)
def _mlkem_key(public_key: bytes) -> MLKEM768PublicKey:
    try:
        return MLKEM768PublicKey.from_public_bytes(public_key)
    except ValueError:
        raise SealingError("key_malformed") from None


def _dhkem_secret(shared: bytes, context: bytes) -> bytes:
    """ExtractAndExpand of RFC 9180 section 4.1."""
    suite = b"KEM" + KEM_X25519.to_bytes(2, "big")
    key = hmac_sha256(_NO_SALT, _VERSION + suite + b"eae_prk" + shared)
    return hkdf_expand(key, b"\x00\x20" + _VERSION + suite + b"shared_secret" + context, 32)


def _key_schedule(kem: int, secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Return (key 32, nonce 12) of the context's first message (RFC 9180 section 5.1)."""
    labels = _labels(kem)
    context = _BASE_MODE + labels.psk_id_hash + hmac_sha256(_NO_SALT, labels.info_hash + info)
    schedule = hmac_sha256(secret, labels.secret)
    return hkdf_expand(schedule, labels.key + context, 32), hkdf_expand(schedule, labels.nonce + context, 12)


class _Labels:
    """The parts of a suite's key schedule that are the same for every message."""

    __slots__ = ("info_hash", "key", "nonce", "psk_id_hash", "secret")

    def __init__(self, kem: int) -> None:
        numbers = (kem, _KDF_HKDF_SHA256, _AEAD_AES_256_GCM)
        prefix = _VERSION + b"HPKE" + b"".join(number.to_bytes(2, "big") for number in numbers)
        self.psk_id_hash = hmac_sha256(_NO_SALT, prefix + b"psk_id_hash")
        self.info_hash = prefix + b"info_hash"
        self.secret = prefix + b"secret"
        self.key = b"\x00\x20" + prefix + b"key"
        self.nonce = b"\x00\x0c" + prefix + b"base_nonce"


@functools.cache
def _labels(kem: int) -> _Labels:
    return _Labels(kem)
