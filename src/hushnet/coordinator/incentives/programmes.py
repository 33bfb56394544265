"""Programmes: what an operator gives in a period, as budgets of the ledger (scope 4), checked in the fact's transaction.

A ceiling is a setting of the coordinator's own machine and no request can raise it, because one of them bounds what an
operator's key may give alone. A row is made, or brought to its setting, when it is next used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from hushnet.coordinator.incentives.model import Pool, PoolWindow
from hushnet.coordinator.ledger.model import CapUse
from hushnet.coordinator.ledger.transaction import MoneyStore, Rows, Transaction
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import AccessError

OPERATOR_SCOPE: Final = 4
_DAY_MS: Final = 86_400_000


class Period(IntEnum):
    """When a programme begins anew, in UTC, as the ledger's budgets number it."""

    DAY = 1
    MONTH = 3


@dataclass(frozen=True, slots=True)
class Programme:
    """One programme; `subject` is its number for ever, `ceiling` what it may give in one `period`, in micro-USD."""

    name: str
    subject: int
    period: Period
    ceiling: int

    def start_ms(self, at_ms: int) -> int:
        """Return when the period began that `at_ms` lies in."""
        return month_start_ms(at_ms) if self.period is Period.MONTH else at_ms - at_ms % _DAY_MS

    def open(self, tx: Transaction) -> int:
        """Return the id of the budget, made or brought to the ceiling where need be."""
        rows = tx.rows(Pool)
        found = _pools(rows, self)
        if not found:
            made = Pool(
                id=tx.next_id(),
                scope=OPERATOR_SCOPE,
                subject=self.subject,
                period=self.period,
                ceiling=self.ceiling,
            )
            if rows.add(made):
                return made.id
            found = _pools(rows, self)
        if found[0].ceiling != self.ceiling:
            rows.save(replace(found[0], ceiling=self.ceiling))
        return found[0].id


def base_rewards(ceiling: int) -> Programme:
    """What machines that stand by get, by calendar month."""
    return Programme("base_rewards", 1, Period.MONTH, ceiling)


@dataclass(frozen=True, slots=True)
class OneKey:
    """What operators' keys give without a second one: `limit` at once, `day_limit` in a day, all keys and ways together."""

    limit: int
    day_limit: int

    @property
    def programme(self) -> Programme:
        return Programme("one_key", 2, Period.DAY, self.day_limit)

    def check(self, amount: int) -> None:
        """Raise `AccessError` `second_approver` for more than one key gives at once."""
        if amount > self.limit:
            raise another_key()

    def caps(self, tx: Transaction) -> tuple[CapUse, ...]:
        """Return what a fact of one key alone counts against."""
        return (CapUse(self.programme.open(tx), self.programme.start_ms(tx.now_ms)),)


@dataclass(frozen=True, slots=True)
class Standing:
    """A programme now: what it has given since `start_ms`."""

    programme: Programme
    start_ms: int
    spent: int


class Programmes:
    """The programmes of one coordinator, to look at."""

    def __init__(self, store: MoneyStore, clock: Clock, programmes: Sequence[Programme]) -> None:
        self._store = store
        self._clock = clock
        self._programmes = programmes

    async def standings(self) -> Sequence[Standing]:
        """Return what each has given in its period that runs."""
        now_ms = self._clock.now_ms()
        return [await self._standing(each, each.start_ms(now_ms)) for each in self._programmes]

    async def _standing(self, programme: Programme, start_ms: int) -> Standing:
        pools = await self._store.read(lambda view: _pools(view.rows(Pool), programme))
        ids = [pool.id for pool in pools]
        windows = await self._store.read(lambda view: view.rows(PoolWindow).find(cap=ids, start_ms=start_ms, limit=1))
        return Standing(programme, start_ms, sum(window.spent for window in windows))


def another_key() -> AccessError:
    """Return what is said when an operator's key alone may not give that much."""
    return AccessError(
        "one operator's key may not give that much",
        code="second_approver",
        hint="ask for it with `hush correct balance`, which another operator's key approves",
    )


def month_start_ms(at_ms: int) -> int:
    """Return when the calendar month of a moment began, UTC."""
    start = datetime.fromtimestamp(at_ms // 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(start.timestamp()) * 1000


def _pools(rows: Rows[Pool], programme: Programme) -> Sequence[Pool]:
    return rows.find(scope=OPERATOR_SCOPE, subject=programme.subject, period=programme.period, limit=1)
