"""Issuing: a provider endorses its short-lived keys under its identity (section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hushnet.sealing.encoding import encode_base64
from hushnet.sealing.identities import IdentitySigner, provider_id_of
from hushnet.sealing.limits import STATEMENT_LIFE_MAX
from hushnet.sealing.statements.documents import (
    KEYS_MAX,
    PAYLOAD_TYPE,
    KeyEntry,
    Payload,
    PublicKeyEntry,
    Statement,
    write_payload,
)
from hushnet.sealing.suites import SealingKeyPair


def issue_statement(
    signer: IdentitySigner,
    *,
    network: str,
    keys: Sequence[SealingKeyPair],
    receipt_public_key: bytes | None,
    issued_at: int,
    expires_at: int,
    serial: int,
) -> Statement:
    """Endorse `keys` (one a suite) and the receipt key under the identity; `ValueError` for what no verifier accepts."""
    if not 1 <= len(keys) <= KEYS_MAX or len({key.suite for key in keys}) != len(keys):
        raise ValueError("a statement endorses one key a suite")
    if not 0 < expires_at - issued_at <= STATEMENT_LIFE_MAX:
        raise ValueError("a statement lives for at most a day")
    provider_id = provider_id_of(signer.alg, signer.public_key).hex()
    receipt_key = (
        msgspec.UNSET
        if receipt_public_key is None
        else PublicKeyEntry(alg="ed25519", public_key=encode_base64(receipt_public_key))
    )
    payload = Payload(
        v=1,
        network=network,
        provider=provider_id,
        identity=PublicKeyEntry(alg=signer.alg, public_key=encode_base64(signer.public_key)),
        serial=serial,
        issued_at=issued_at,
        expires_at=expires_at,
        versions=[1],
        keys=[
            KeyEntry(suite=key.suite.label, key_id=key.key_id.hex(), public_key=encode_base64(key.public_key))
            for key in keys
        ],
        receipt_key=receipt_key,
    )
    unsigned = Statement(PAYLOAD_TYPE, write_payload(payload), ())
    signature = signer.sign(unsigned.signed_bytes())
    return Statement(PAYLOAD_TYPE, unsigned.payload, ((provider_id, signature),))
