"""A closed day: where every lane's chain stood at its end, every account's balance there, and the root over them.

A day is UTC, numbered from 1970-01-01, and ends at its midnight: it has the links that were committed with a time before
that, whenever it is closed, so a day that was missed is closed later with the same result (docs/adr/0044).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

DAY_MS: Final = 86_400_000
_FIRST: Final = date(1970, 1, 1)


class DayBalance(NamedTuple):
    """An account's columns at the end of a day, or what was added to them."""

    account: int
    credits: int
    debits: int
    held: int

    @property
    def balance(self) -> int:
        return self.credits - self.debits


class Head(NamedTuple):
    """The last link of a lane's chain, and its digest."""

    lane: int
    seq: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class DayRow:
    """One closed day. `findings` is empty when the balances agreed with the accounts; `liabilities` is the root's sum.

    `oldest_open` is the id of the oldest hold that was open at the end: what finalises it has an id next to it.
    """

    day: int
    at_ms: int
    heads: tuple[Head, ...]
    root: bytes
    leaves: int
    liabilities: int
    oldest_open: int | None
    findings: tuple[str, ...] = ()


class DayBooks(Protocol):
    """What closing a day reads, in one snapshot. Heads are sequence numbers by lane; a lane that is missing stands at 0."""

    def last_day(self) -> DayRow | None:
        """Return the newest closed day."""
        ...

    def first_ms(self) -> int | None:
        """Return the time of the oldest link; None when nothing was ever written."""
        ...

    def heads_before(self, cutoff_ms: int, after: Mapping[int, int]) -> tuple[Head, ...]:
        """Return each lane's last link before its first one after `after` that was committed at `cutoff_ms` or later."""
        ...

    def balances(self, day: int) -> Iterator[DayBalance]:
        """Return a closed day's balances, ascending by account."""
        ...

    def moved(self, low: Mapping[int, int], high: Mapping[int, int] | None, *, from_id: int) -> list[DayBalance]:
        """Return what links above `low` up to `high` (None: all) did to accounts, among facts from `from_id` on.

        In no order, an account as often as it has parts: adding them up is not done where a database is waited for.
        """
        ...

    def oldest_open(self, high: Mapping[int, int], *, from_id: int) -> int | None:
        """Return the oldest hold that links up to `high` opened and did not finalise."""
        ...

    def current(self) -> Iterator[DayBalance]:
        """Return the columns of all accounts as they are."""
        ...


class DayStore(Protocol):
    """Closed days in the database."""

    async def inspect_days(self, work: Callable[[DayBooks], T]) -> T:
        """Run `work`, which only reads, over one snapshot."""
        ...

    async def add_day(self, row: DayRow, balances: Sequence[DayBalance]) -> bool:
        """Write a day with its balances; False when it is there already, and nothing changes.

        The day is there when all of it is. What a crash leaves behind is nobody's to read, and is written over.
        """
        ...

    async def day(self, day: int | None) -> DayRow | None:
        """Return one closed day, the newest when None."""
        ...

    async def balances_of(self, day: int, owner: int) -> list[DayBalance]:
        """Return an owner's balances on a closed day, ascending by account."""
        ...


def day_of(ms: int) -> int:
    """Return the day that a time falls on."""
    return ms // DAY_MS


def day_text(day: int) -> str:
    """Write a day as people do: 2026-11-20."""
    return (_FIRST + timedelta(days=day)).isoformat()


def parse_day(text: str) -> int | None:
    """Read a day as `day_text` writes it; None when it is none."""
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
    return (found - _FIRST).days if found.isoformat() == text else None
