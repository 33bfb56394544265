"""Closing a day: its balances are the day before's plus what its links moved, and must explain what accounts hold now.

Nothing is summed twice: a close reads the facts that may belong to its links, which are those from the oldest hold that
was open at the close before, or from a day before that close. What this bound might miss shows as a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.ledger.books.days import DAY_MS, DayBalance, DayBooks, DayRow, Head, day_of
from hushnet.coordinator.ledger.books.liabilities import tree_of
from hushnet.coordinator.ledger.chart import Floor, account_info
from hushnet.coordinator.ledger.ids import first_id_at
from hushnet.coordinator.ledger.model import HOLD_LIFE_MS_MAX

CLOSE_AFTER_MS: Final = 5 * 60_000
"""A day is closed this long after its end: what was decided before midnight has been committed or has failed."""
_FINDINGS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one close needs, read in one snapshot. `since` and `current` are empty where a later day is to be closed too."""

    day: int
    heads: tuple[Head, ...]
    oldest_open: int | None
    before: Sequence[DayBalance] = ()
    moved: Sequence[DayBalance] = ()
    since: Sequence[DayBalance] = ()
    current: Sequence[DayBalance] = ()
    is_newest: bool = True


def last_due(now_ms: int) -> int:
    """Return the newest day that may be closed."""
    return day_of(now_ms - CLOSE_AFTER_MS) - 1


def gather(books: DayBooks, *, now_ms: int) -> Gathered | None:
    """Read what the oldest day that is due and not closed needs; None when no day is due."""
    last, due = books.last_day(), last_due(now_ms)
    day = _first_day(books) if last is None else last.day + 1
    if day is None or day > due:
        return None
    low = {} if last is None else {head.lane: head.seq for head in last.heads}
    from_id = 0 if last is None else _first_id(last)
    heads = books.heads_before((day + 1) * DAY_MS, low)
    high = {head.lane: head.seq for head in heads}
    return Gathered(
        day=day,
        heads=heads,
        oldest_open=books.oldest_open(high, from_id=from_id),
        before=() if last is None else list(books.balances(last.day)),
        moved=books.moved(low, high, from_id=from_id),
        since=books.moved(high, None, from_id=from_id) if day == due else (),
        current=list(books.current()) if day == due else (),
        is_newest=day == due,
    )


def closed(gathered: Gathered, *, secret: bytes, at_ms: int) -> tuple[DayRow, list[DayBalance]]:
    """Return the closed day and its balances, ascending by account. Pure, and long for many owners: not for the event loop."""
    balances = summed(gathered.before, gathered.moved)
    findings = [f"B2 account {row.account}: balance {row.balance}" for row in balances if _is_overdrawn(row)]
    if gathered.is_newest:
        findings += _differences(summed(balances, gathered.since), gathered.current)
    tree = tree_of(balances, secret)
    row = DayRow(
        day=gathered.day,
        at_ms=at_ms,
        heads=gathered.heads,
        root=tree.root.hash,
        leaves=len(tree),
        liabilities=tree.root.sum,
        oldest_open=gathered.oldest_open,
        findings=tuple(findings[:_FINDINGS_MAX]),
    )
    return row, balances


def summed(*parts: Iterable[DayBalance]) -> list[DayBalance]:
    """Add columns account by account; those with nothing in any are left out."""
    totals: dict[int, tuple[int, int, int]] = {}
    for part in parts:
        for account, credits_, debits, held in part:
            had = totals.get(account, (0, 0, 0))
            totals[account] = (had[0] + credits_, had[1] + debits, had[2] + held)
    return [DayBalance(account, *columns) for account, columns in sorted(totals.items()) if any(columns)]


def _first_day(books: DayBooks) -> int | None:
    first_ms = books.first_ms()
    return None if first_ms is None else day_of(first_ms)


def _first_id(last: DayRow) -> int:
    """Return where facts of the links after a closed day begin: no hold is taken under an id older than a day."""
    by_age = first_id_at((last.day + 1) * DAY_MS - HOLD_LIFE_MS_MAX)
    return by_age if last.oldest_open is None else min(by_age, last.oldest_open)


def _is_overdrawn(row: DayBalance) -> bool:
    info = account_info(row.account)
    return info is not None and info.floor == Floor.NEVER_NEGATIVE and row.balance < 0


def _differences(expected: Iterable[DayBalance], current: Iterable[DayBalance]) -> list[str]:
    there = {row.account: row for row in current}
    findings = []
    for row in expected:
        is_equal = there.pop(row.account, None) == row
        if not is_equal:
            findings.append(f"B3 account {row.account}: the transfers give {tuple(row[1:])}")
    findings += [f"B3 account {row.account}: has columns and no transfers" for row in there.values() if any(row[1:])]
    return findings
