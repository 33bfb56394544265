"""Caps as rows of the ledger's tables, and budgets as their owner sees them. Amounts are micro-USD."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from hushnet.coordinator.ledger.model import CapUse

NO_CEILING: Final = (1 << 62) - 1
"""The ceiling of a budget that was removed: its row stays, because open holds and other processes may still name it."""


class CapScope(IntEnum):
    """What a cap bounds and who set it; `subject` is a key's id or an account's."""

    KEY = 1
    """One key; set by its account."""
    ACCOUNT = 2
    """Everything of an account; set by the account itself."""
    JOB = 3
    PROGRAMME = 4
    OPERATOR = 5
    """Everything of an account; set by the operator, and not the account's to change."""


class Period(IntEnum):
    """When a cap begins anew, in UTC; weeks begin on Monday."""

    LIFE = 0
    """Never."""
    DAY = 1
    WEEK = 2
    MONTH = 3
    REQUEST = 4
    """With every request: the most that one may cost. It has no window; a hold is compared with it and nothing is counted."""


@dataclass(frozen=True, slots=True)
class Cap:
    """One ceiling. There is one row for each scope, subject and period; it is changed, never deleted."""

    TABLE: ClassVar[str] = "ledger_caps"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    scope: CapScope
    subject: int
    period: Period
    ceiling: int


@dataclass(frozen=True, slots=True)
class CapWindow:
    """What counts against a cap from `start_ms` on; the ledger alone writes it."""

    TABLE: ClassVar[str] = "ledger_cap_windows"
    KEY: ClassVar[tuple[str, ...]] = ("cap", "start_ms")

    cap: int
    start_ms: int
    spent: int
    held: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A cap and its window as they are now; `resets_ms` is None for a life and for a single request."""

    cap: Cap
    spent: int = 0
    held: int = 0
    start_ms: int = 0
    resets_ms: int | None = None

    @property
    def left(self) -> int:
        """What new holds may still take; a ceiling that was lowered below what is spent leaves 0."""
        return max(0, self.cap.ceiling - self.spent - self.held)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one request may cost (None: as much as its hold), and the windows that its hold counts in."""

    request_max: int | None = None
    caps: tuple[CapUse, ...] = ()
