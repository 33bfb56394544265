"""The audit chain: every commit of a lane hashes its rows onto the digest before, so no row changes unnoticed."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import Final

from hushnet.coordinator.ledger.store import BatchRow, Transfer

FIRST_DIGEST: Final = bytes(32)
"""What the first link of a lane follows."""

_ROW = struct.Struct(">QHBHQQQQ")


def packed(row: Transfer) -> bytes:
    """Pack a row as it is hashed: fact, leg, phase, code, debit, credit or 0, amount, time; big-endian."""
    return _ROW.pack(row.fact, row.leg, row.phase, row.code, row.debit, row.credit or 0, row.amount, row.at_ms)


def link(lane: int, seq: int, prev: bytes, rows: Iterable[Transfer], *, at_ms: int) -> BatchRow:
    """Return link `seq` of a lane's chain over `rows`, which ascend by (fact, leg)."""
    parts = [packed(row) for row in rows]
    digest = hashlib.sha256(prev + b"".join(parts)).digest()
    return BatchRow(lane, seq, prev, digest, len(parts), at_ms)
