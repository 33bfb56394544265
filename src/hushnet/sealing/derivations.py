"""What is derived from what: digests, commitment, contexts and keys of a request and its answer (sections 5 and 8)."""

from __future__ import annotations

from typing import Final

from hushnet.sealing.encoding import hkdf, label, sha256

_COMMIT: Final = label("commit")
_BODY: Final = label("body")
_REQUEST: Final = label("request")
_WRAP: Final = label("wrap")
_RESPONSE: Final = label("response")
BODY_NONCE: Final = bytes(12)
"""All zero: a body key encrypts once."""


def commitment(content_key: bytes) -> bytes:
    """Return what commits a header to its content key C, 32 bytes."""
    return hkdf(content_key, salt=b"", info=_COMMIT, size=32)


def body_key(content_key: bytes, header: bytes) -> bytes:
    """Return the AES-256 key of the body: salted by the header, so that a repeated C still gives another key."""
    return hkdf(content_key, salt=sha256(header), info=_BODY, size=32)


def request_digest(header: bytes, body: bytes | memoryview) -> bytes:
    """Return D: one digest of header and body ciphertext."""
    return sha256(_REQUEST, sha256(header), sha256(body))


def wrap_context(suite: int, provider_id: bytes, key_id: bytes, digest: bytes) -> bytes:
    """Return what a wrap is bound to: suite, provider, key and D."""
    return b"".join((_WRAP, bytes((suite,)), provider_id, key_id, digest))


def response_keys(
    secret: bytes, *, nonce: bytes, suite: int, provider_id: bytes, key_id: bytes, digest: bytes
) -> tuple[bytes, bytes]:
    """Return (frame_key 32, frame_iv 12) of one attempt; `secret` is C then R, `nonce` the provider's 32 bytes."""
    info = b"".join((_RESPONSE, bytes((suite,)), provider_id, key_id, digest))
    okm = hkdf(secret, salt=nonce, info=info, size=44)
    return okm[:32], okm[32:]
