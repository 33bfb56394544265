"""What a provider's identity key signs when it is challenged: at registration and every few minutes after.

The PAE frame keeps the signature apart from every other thing that the key signs (docs/sealing.md section 2).
"""

from __future__ import annotations

from typing import Final

from hushnet.sealing.encoding import pae

CHALLENGE_TYPE: Final = "application/vnd.hushnet.challenge.v1"
NONCE_BYTES: Final = 32


def challenge_message(network: str, *, provider_id: bytes, nonce: bytes, statement_digest: bytes) -> bytes:
    """Return the bytes to sign or verify; each of the three byte strings is 32 bytes long, else `ValueError`.

    `statement_digest` is S of the statement that was announced last on this link before the reply: frames keep their
    order, so both ends mean the same one.
    """
    if not len(provider_id) == len(nonce) == len(statement_digest) == NONCE_BYTES:
        raise ValueError("provider id, nonce and statement digest are 32 bytes each")
    return pae(CHALLENGE_TYPE, network.encode("ascii") + b"\x00" + provider_id + nonce + statement_digest)
