"""Check a coordinator's books without trusting it: that a signed root is of its key, and that a balance is in the root.

Written apart from the code that builds trees, from docs/books.md alone, with nothing but hashes: whoever wants to check
in another language can read it as the description of the format.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hushnet.foundation.errors import TrustError

ROOT_TYPE: Final = "application/vnd.hushnet.books-root+json"
_SUM_MAX: Final = 2**63 - 1
_STEPS_MAX: Final = 64


class ProofError(TrustError):
    """A root or a proof does not hold; the message says which check failed."""

    code = "proof_failed"


def verify_root(document: Mapping[str, Any], *, public_key: str | None = None) -> dict[str, Any]:
    """Return what a signed root says; raises `ProofError`.

    `public_key` is the coordinator's as you know it (64 hex digits), None to take the document's own: then only that its
    parts belong together is checked, so compare the key with what others were given.
    """
    try:
        key = str(document["public_key"])
        payload = b64decode(document["signed"]["payload"], validate=True)
        signature = b64decode(document["signed"]["signatures"][0]["sig"], validate=True)
        kind = document["signed"]["payloadType"]
        verifier = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key or key))
        framed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
        verifier.verify(signature, framed)
        says: dict[str, Any] = msgspec.json.decode(payload)
    except InvalidSignature:
        raise ProofError("the root is not signed by that key") from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise ProofError("the root's document is malformed") from None
    if kind != ROOT_TYPE or not isinstance(says, dict):
        raise ProofError("the document is not a root of books")
    return says


def verify_proof(proof: Mapping[str, Any], *, owner: int, root: Mapping[str, Any]) -> int:
    """Return the balance that a proof shows to be in a verified root (`verify_root`); raises `ProofError`.

    Every sum on the way must be in 0..2**63-1: a negative one would hide what is owed to somebody else.
    """
    try:
        balance, asset = proof["balance"], proof["asset"]
        nonce = bytes.fromhex(proof["nonce"])
        steps = [(side, bytes.fromhex(sibling), amount) for side, sibling, amount in proof["path"]]
        wanted = (bytes.fromhex(root["root"]), root["sum"])
    except (KeyError, TypeError, ValueError):
        raise ProofError("the proof is malformed") from None
    if not (_is_sum(balance) and balance and _is_sum(wanted[1]) and len(nonce) == 16 and len(steps) <= _STEPS_MAX):
        raise ProofError("a number of the proof is out of bounds")
    tag = hashlib.sha256(b"hush-owner" + owner.to_bytes(8, "big")).digest()
    text = str(asset).encode()
    digest = hashlib.sha256(b"\0" + text + b"\0" + tag + nonce + balance.to_bytes(8, "big")).digest()
    total = balance
    for side, sibling, amount in steps:
        if side not in ("left", "right") or len(sibling) != 32 or not _is_sum(amount) or total + amount > _SUM_MAX:
            raise ProofError("a step of the proof is out of bounds")
        mine, other = digest + total.to_bytes(8, "big"), sibling + amount.to_bytes(8, "big")
        digest = hashlib.sha256(b"\1" + (other + mine if side == "left" else mine + other)).digest()
        total += amount
    if (digest, total) != wanted:
        raise ProofError("the balance is not in the root")
    return int(balance)


def _is_sum(value: object) -> bool:
    return type(value) is int and 0 <= value <= _SUM_MAX
