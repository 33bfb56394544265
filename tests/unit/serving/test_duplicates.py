"""Envelopes that were seen before."""

from __future__ import annotations

from hushnet.coordinator.admission.envelopes import EnvelopeMemory
from hushnet.foundation.ids import AccountId

A, B = AccountId(1), AccountId(2)
ID = bytes(16)


def test_an_envelope_is_new_once_an_account_until_it_expires() -> None:
    memory = EnvelopeMemory()

    assert memory.insert(A, ID, until=100, now=10)
    assert not memory.insert(A, ID, until=100, now=99)
    assert memory.insert(B, ID, until=100, now=99)
    assert memory.insert(A, ID, until=200, now=100)


def test_what_has_expired_is_forgotten() -> None:
    memory = EnvelopeMemory()
    for number in range(100):
        memory.insert(A, bytes([number]), until=10 + number, now=0)

    memory.insert(A, b"new", until=500, now=300)

    assert len(memory) == 1


def test_memory_is_bounded() -> None:
    memory = EnvelopeMemory(capacity=10)
    for number in range(100):
        assert memory.insert(A, bytes([number]), until=1000, now=0)

    assert len(memory) <= 10
