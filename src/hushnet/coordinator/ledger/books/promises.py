"""Invariants B6 and B11: what accounts and budget windows say is what payouts, refunds, payments and requests say.

| | holds when |
|---|---|
| B6 | no budget window of a key or an account has more spent than the requests that were held in it cost |
| B11 | in_transit(o) is the gross of o's open payouts; frozen(o) is o's open refunds and disputes; connect is what landed and is not paid out; referral_payable is what referrers are due and not yet paid; receivable is what is authorised and not settled |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

from hushnet.coordinator.ledger.books.check import Finding
from hushnet.coordinator.ledger.chart import Kind, account_info
from hushnet.coordinator.ledger.ids import id_ms
from hushnet.coordinator.ledger.model import UsageRecord
from hushnet.coordinator.ledger.store import Books

_KEY, _ACCOUNT = 1, 2
_SLACK_MS: Final = 60_000
"""A request's id may be made a little before or after its window is chosen."""
_FOREVER_MS: Final = 1 << 62


class SpentWindow(NamedTuple):
    """One window of a budget with something spent in it; `period` is 0 life, 1 day, 2 week, 3 month."""

    cap: int
    scope: int
    subject: int
    period: int
    start_ms: int
    spent: int


class Promises(Protocol):
    """What the domains' own rows say the ledger holds for them, in the same snapshot. Amounts are micro-USD."""

    def in_transit(self) -> Mapping[int, int]:
        """Return each owner's gross of payouts that are under way."""
        ...

    def frozen(self) -> Mapping[int, int]:
        """Return what is set aside of each owner for refunds and disputes that are open."""
        ...

    def at_connect(self) -> int:
        """Return the net of payouts that landed in connected accounts and went no further."""
        ...

    def receivable(self) -> int:
        """Return what payments authorise that are not settled on chain yet."""
        ...

    def unswept(self) -> int:
        """Return what referrers are due of days that have not been paid to them."""
        ...

    def spent_windows(self) -> list[SpentWindow]:
        """Return the windows of keys' and accounts' budgets in which something was spent."""
        ...


def check_promises(books: Books, promises: Promises) -> list[Finding]:
    """Return where accounts and domains disagree."""
    users: dict[Kind, Counter[int]] = {Kind.IN_TRANSIT: Counter(), Kind.FROZEN: Counter()}
    operator: Counter[Kind] = Counter()
    for row in books.accounts():
        info = account_info(row.id)
        if info is None:
            continue
        if info.kind in users:
            users[info.kind][info.owner] += row.credits - row.debits
        elif not info.owner:
            operator[info.kind] += row.credits - row.debits
    findings = list(_differences("in_transit", users[Kind.IN_TRANSIT], promises.in_transit()))
    findings += _differences("frozen", users[Kind.FROZEN], promises.frozen())
    # What others owe us, and what we put somewhere, stands on an account's debit side.
    for name, has, promised in (
        ("connect", -operator[Kind.CONNECT], promises.at_connect()),
        ("receivable", -operator[Kind.RECEIVABLE], promises.receivable()),
        ("referral_payable", operator[Kind.REFERRAL_PAYABLE], promises.unswept()),
    ):
        if has != promised:
            findings.append(Finding("B11", name, f"has {has}, the rows that explain it say {promised}"))
    windows = promises.spent_windows()
    return findings + (_overspent(windows, books.usage()) if windows else [])


def _differences(name: str, has: Mapping[int, int], promised: Mapping[int, int]) -> Iterator[Finding]:
    for owner in sorted({*has, *promised}):
        mine, theirs = has.get(owner, 0), promised.get(owner, 0)
        if mine != theirs:
            yield Finding("B11", f"{name} of account {owner}", f"has {mine}, the rows that explain it say {theirs}")


def _overspent(windows: Iterable[SpentWindow], usage: Iterable[UsageRecord]) -> list[Finding]:
    """Return the windows that say more than their subject's requests cost; a budget that began later may say less."""
    by_subject: dict[tuple[int, int], list[SpentWindow]] = {}
    for window in windows:
        by_subject.setdefault((window.scope, window.subject), []).append(window)
    cost = Counter[SpentWindow]()
    for record in usage:
        began_ms = id_ms(record.id)
        for subject in ((_KEY, record.usage.api_key), (_ACCOUNT, record.owner)):
            for window in by_subject.get(subject, ()):
                if window.start_ms - _SLACK_MS <= began_ms < window_end(window.period, window.start_ms) + _SLACK_MS:
                    cost[window] += record.cost
    return [
        Finding("B6", f"cap {window.cap}", f"spent {window.spent}, its requests cost {cost[window]}")
        for each in by_subject.values()
        for window in each
        if window.spent > cost[window]
    ]


def window_end(period: int, start_ms: int) -> int:
    """Return when a window ends that starts at `start_ms`: never, or a day, a week or a month (UTC) later."""
    start = datetime.fromtimestamp(start_ms / 1000, UTC)
    match period:
        case 1:
            end = start + timedelta(days=1)
        case 2:
            end = start + timedelta(weeks=1)
        case 3:
            end = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        case _:
            return _FOREVER_MS
    return int(end.timestamp()) * 1000
