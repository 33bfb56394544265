"""Unwrapping: the inverse of `sealing.suites.wrap`, with a provider's private key (section 5)."""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from hushnet.sealing.encoding import sha256
from hushnet.sealing.errors import SealingError
from hushnet.sealing.suites import HPKE_SUITES, SealingKeyPair

SECRET_SIZE: Final = 64
_KEY: Final = 32
_NONCE_END: Final = 56


def unwrap(pair: SealingKeyPair, wrapped: bytes, *, context: bytes) -> bytes:
    """Return the 64 bytes (C then R) wrapped to `pair` in `context`; raises `open_failed`, whatever the reason."""
    secret = _box_unwrap(pair, wrapped, context) if isinstance(pair.private, bytes) else _hpke(pair, wrapped, context)
    if len(secret) != SECRET_SIZE:
        raise SealingError("open_failed")
    return secret


def _hpke(pair: SealingKeyPair, wrapped: bytes, context: bytes) -> bytes:
    assert not isinstance(pair.private, bytes)
    try:
        return HPKE_SUITES[pair.suite].decrypt(wrapped, pair.private, context)
    except (InvalidTag, ValueError):
        raise SealingError("open_failed") from None


def _box_unwrap(pair: SealingKeyPair, wrapped: bytes, context: bytes) -> bytes:
    """Open the box; libsodium refuses an all-zero exchange, the hash inside binds context and ephemeral key."""
    ephemeral_public, nonce, boxed = wrapped[:_KEY], wrapped[_KEY:_NONCE_END], wrapped[_NONCE_END:]
    assert isinstance(pair.private, bytes)
    try:
        shared = sodium.crypto_box_beforenm(ephemeral_public, pair.private)
        opened = sodium.crypto_box_open_afternm(boxed, nonce, shared)
    except CryptoError:
        raise SealingError("open_failed") from None
    if not hmac.compare_digest(opened[SECRET_SIZE:], sha256(context, ephemeral_public)):
        raise SealingError("open_failed")
    return opened[:SECRET_SIZE]
