"""Every closed day from the transfers alone, in one pass: what a third party does with an export.

It shares nothing with `closing` but the meaning of a day, so that the two check each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, TypeAlias

from hushnet.coordinator.ledger.books.archived import NOTHING, Archived
from hushnet.coordinator.ledger.books.days import DayBalance, DayRow
from hushnet.coordinator.ledger.model import Phase
from hushnet.coordinator.ledger.store import Transfer

_LANE_SHIFT: Final = 48
_SEQ_MASK: Final = (1 << _LANE_SHIFT) - 1

_Columns: TypeAlias = tuple[Counter[int], Counter[int], Counter[int]]


def recomputed(
    days: Sequence[DayRow], transfers: Iterable[tuple[Transfer, int]], archived: Archived = NOTHING
) -> Iterator[tuple[DayRow, list[DayBalance]]]:
    """Yield each day, in order, with the balances that the transfers give; these ascend by (fact, leg).

    Days before that of the archive are left out: of their transfers only the sum is known.
    """
    moved: list[_Columns] = [(Counter(), Counter(), Counter()) for _ in days]
    place = _Place(days)
    for _, group in groupby(transfers, key=lambda item: item[0].fact >> 1):
        _add(list(group), place, moved)
    totals: _Columns = (Counter(), Counter(), Counter())
    for account, (credits_, debits) in archived.sums.items():
        totals[0][account], totals[1][account] = credits_, debits
    for day, columns in zip(days, moved, strict=True):
        for total, column in zip(totals, columns, strict=True):
            total.update(column)
        if day.day < archived.day:
            continue
        ids = sorted({account for total in totals for account, amount in total.items() if amount})
        yield day, [DayBalance(account, *(total[account] for total in totals)) for account in ids]


class _Place:
    """Finds the day that a link belongs to."""

    def __init__(self, days: Sequence[DayRow]) -> None:
        heads = [{head.lane: head.seq for head in day.heads} for day in days]
        lanes = {lane for each in heads for lane in each}
        self._ends = {lane: [each.get(lane, 0) for each in heads] for lane in lanes}
        self._count = len(days)

    def of(self, link: int) -> int:
        """Return the index of the link's day, or how many days there are when none of them has it."""
        ends = self._ends.get(link >> _LANE_SHIFT)
        return self._count if ends is None else bisect_left(ends, link & _SEQ_MASK)


def _add(group: list[tuple[Transfer, int]], place: _Place, moved: list[_Columns]) -> None:
    """Add what one hold with its finaliser, or one fact, moved on which day."""
    pending = [row for row, _ in group if row.phase == Phase.PENDING]
    ended = next((link for row, link in group if row.fact & 1), None)
    for row, link in group:
        index = place.of(link)
        if index < len(moved):
            credits_, debits, held = moved[index]
            if row.phase == Phase.PENDING:
                held[row.debit] += row.amount
            elif row.credit is not None:
                debits[row.debit] += row.amount
                credits_[row.credit] += row.amount
    if ended is not None and (index := place.of(ended)) < len(moved):
        for row in pending:
            moved[index][2][row.debit] -= row.amount
