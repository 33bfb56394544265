"""Canonical text forms of binary values, the labels of every hash, HKDF and DSSE's PAE (sections 1 and 2).

Decoders return None for text that is not the one canonical spelling; the caller knows which code that is.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import Final

_EMPTY_SALT: Final = bytes(32)
_BLOCK: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def label(text: str) -> bytes:
    """Return L(text), the domain separator: ASCII `hushnet/1 text` and a zero byte."""
    return b"hushnet/1 " + text.encode("ascii") + b"\0"


def sha256(*parts: bytes | memoryview) -> bytes:
    """Hash the concatenation of `parts`, 32 bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def hkdf(ikm: bytes, *, salt: bytes, info: bytes, size: int) -> bytes:
    """Derive `size` bytes by HKDF-SHA-256 (RFC 5869); an empty salt is 32 zero bytes."""
    return hkdf_expand(hmac_sha256(salt or _EMPTY_SALT, ikm), info, size)


def hkdf_expand(key: bytes, info: bytes, size: int) -> bytes:
    """Stretch a pseudorandom key of 32 bytes to `size` bytes bound to `info` (RFC 5869 section 2.3)."""
    block = okm = hmac_sha256(key, info + b"\x01")
    for counter in range(2, -(-size // 32) + 1):
        block = hmac_sha256(key, block + info + bytes((counter,)))
        okm += block
    return okm[:size]


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return HMAC-SHA-256 (RFC 2104) under a key of at most 64 bytes.

    Two plain hashes: the standard library's one-shot costs twice as much, most of it spent looking SHA-256 up.
    """
    if len(key) > _BLOCK:
        raise ValueError("a key of at most one block")
    padded = key.ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(padded.translate(_INNER) + message).digest()
    return hashlib.sha256(padded.translate(_OUTER) + inner).digest()


def pae(payload_type: str, payload: bytes) -> bytes:
    """Frame what DSSE v1 signs: type and payload, each behind its length."""
    kind = payload_type.encode("utf-8", "surrogatepass")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def decode_hex(text: str, size: int) -> bytes | None:
    """Read exactly `size` bytes of lower-case hex."""
    if len(text) != 2 * size:
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if raw.hex() == text else None


def encode_base64(raw: bytes) -> str:
    """Write standard, padded base64."""
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def decode_base64(text: str | bytes) -> bytes | None:
    """Read standard, padded base64 in its one canonical spelling: no blanks, no stray bits."""
    try:
        encoded = text.encode("ascii") if isinstance(text, str) else text
        raw = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        return None
    return raw if binascii.b2a_base64(raw, newline=False) == encoded else None
