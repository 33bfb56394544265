"""Envelopes that were seen: one envelope makes one request, whoever sends it twice (design/sealing.md section 7)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from hushnet.foundation.ids import AccountId

ENVELOPES_MAX: Final = 262_144
"""As many as a provider's replay cache holds; beyond it the oldest is forgotten and the providers' caches still refuse."""


class EnvelopeMemory:
    """(account, envelope id) until the envelope has expired."""

    def __init__(self, capacity: int = ENVELOPES_MAX) -> None:
        self._capacity = capacity
        self._until: OrderedDict[tuple[AccountId, bytes], int] = OrderedDict()

    def insert(self, account: AccountId, envelope_id: bytes, *, until: int, now: int) -> bool:
        """Remember an envelope; False when it is remembered already. Times are Unix seconds."""
        self._forget(now)
        key = (account, envelope_id)
        if self._until.get(key, 0) > now:
            return False
        self._until[key] = until
        self._until.move_to_end(key)
        return True

    def __len__(self) -> int:
        return len(self._until)

    def _forget(self, now: int) -> None:
        """Drop what has expired, oldest insertion first; lives differ, so some stay a little longer than they must."""
        while self._until:
            key, until = next(iter(self._until.items()))
            if until > now and len(self._until) < self._capacity:
                return
            del self._until[key]
