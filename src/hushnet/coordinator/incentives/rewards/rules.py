"""What an epoch is worth to a machine. Pure, and integers only: amounts in micro-USD, times in Unix milliseconds.

A machine's class is its memory; each class has a floor for a month of 30 days. Of a floor's 8,640th part an epoch pays
`clamp((u - 0.90) / 0.10)`, u being the share of looks at which the machine was there, rounded down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hushnet.attestation.tiers import Tier
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX, require_int

EPOCH_MS: Final = 300_000
EPOCHS_A_MONTH: Final = 8_640
_GIB: Final = 1 << 30
_SIXTEENTHS: Final = 15
"""What firmware and graphics keep for themselves does not cost a machine its class: 15/16 of it are enough."""


@dataclass(frozen=True, slots=True)
class RewardTerms:
    """What the operator chose: the pool of a calendar month (UTC; 0 is off), the least trust, and the floors.

    A floor is (memory in GiB, micro-USD a month); a machine has the highest whose memory it has, and below all none.
    """

    pool: int = 0
    trust: Tier = Tier.MEASURED
    floors: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        require_int("pool", self.pool, 0, TRANSFER_MICRO_USD_MAX)
        for gib, floor in self.floors:
            require_int("memory", gib, 1, 1 << 20)
            require_int("floor", floor, 0, TRANSFER_MICRO_USD_MAX)

    def floor_of(self, memory_bytes: int) -> int:
        """Return what a month is worth to a machine with that much memory."""
        reached = [(gib, floor) for gib, floor in self.floors if memory_bytes * 16 >= gib * _GIB * _SIXTEENTHS]
        return max(reached, default=(0, 0))[1]


def reward(floor: int, *, present: int, looks: int) -> int:
    """Return what an epoch pays to a machine that was there at `present` of `looks` looks."""
    if not 0 <= present <= looks or looks == 0:
        return 0
    counted = max(0, 10 * present - 9 * looks)
    return floor * counted // (looks * EPOCHS_A_MONTH)
