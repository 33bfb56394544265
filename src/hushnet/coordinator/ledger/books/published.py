"""What is published of a closed day: its root and lane heads, signed by the coordinator's key, and proofs as JSON.

The document is a DSSE envelope: who checks it needs the signed bytes as they are, and no canonical JSON.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hushnet.coordinator.ledger.books.days import DayRow, day_text
from hushnet.coordinator.ledger.books.liabilities import OwnerProof
from hushnet.identity.keys import IdentityKey
from hushnet.sealing.encoding import pae

ROOT_TYPE: Final = "application/vnd.hushnet.books-root+json"


def root_document(row: DayRow, *, network: str, key: IdentityKey) -> dict[str, object]:
    """Return a day's root with the key that signed it. The same day gives the same bytes."""
    payload = msgspec.json.encode(root_fields(row, network=network))
    signature = key.sign(pae(ROOT_TYPE, payload))
    return {
        "object": "ledger.root",
        **root_fields(row, network=network),
        "public_key": key.public_key.hex(),
        "signed": {
            "payloadType": ROOT_TYPE,
            "payload": b64encode(payload).decode(),
            "signatures": [{"keyid": key.provider_id, "sig": b64encode(signature).decode()}],
        },
    }


def root_fields(row: DayRow, *, network: str) -> Mapping[str, Any]:
    """Return what is signed of a day."""
    return {
        "network": network,
        "day": day_text(row.day),
        "root": row.root.hex(),
        "sum": row.liabilities,
        "leaves": row.leaves,
        "heads": [[head.lane, head.seq, head.digest.hex()] for head in row.heads],
        "closed_ms": row.at_ms,
        "is_balanced": not row.findings,
    }


def proof_document(proof: OwnerProof) -> dict[str, object]:
    """Return one proof; `path` is from the leaf up, each sibling's side, hash and sum."""
    return {
        "asset": proof.asset,
        "balance": proof.balance,
        "nonce": proof.nonce.hex(),
        "path": [["left" if step.is_left else "right", step.hash.hex(), step.sum] for step in proof.path],
    }
