"""The audit chain hashes rows as anybody can repeat it."""

from __future__ import annotations

import hashlib

from hushnet.coordinator.ledger.books.audit import FIRST_DIGEST, link, packed
from hushnet.coordinator.ledger.store import Transfer

POSTED = Transfer(fact=0x0102030405060709, leg=1, phase=0, code=2, debit=16, credit=32, amount=48, at_ms=64)
PENDING = Transfer(fact=2, leg=0, phase=1, code=1, debit=16, credit=None, amount=48, at_ms=64)


def test_a_row_is_packed_big_endian_in_the_order_of_its_columns() -> None:
    assert packed(POSTED) == bytes.fromhex(
        "010203040506070900010000020000000000000010000000000000002000000000000000300000000000000040"
    )


def test_a_row_without_credit_is_packed_with_zero() -> None:
    assert packed(PENDING)[21:29] == bytes(8)


def test_a_link_hashes_its_rows_onto_the_digest_before() -> None:
    first = link(3, 1, FIRST_DIGEST, [PENDING, POSTED], at_ms=99)
    second = link(3, 2, first.digest, [], at_ms=100)

    assert first.digest == hashlib.sha256(bytes(32) + packed(PENDING) + packed(POSTED)).digest()
    assert first == (3, 1, bytes(32), first.digest, 2, 99)
    assert second.digest == hashlib.sha256(first.digest).digest()
    assert second.number == 3 << 48 | 2
