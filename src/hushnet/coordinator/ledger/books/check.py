"""The proof that the books balance: invariants B1..B9, from every row of the books in one snapshot.

One pass in id order: a hold, its finaliser, its usage record, or a fact with its key stand beside each other, and the
rows of each audit link come in the order in which they were hashed.

| | holds when |
|---|---|
| B1 | per asset, credits and debits of all accounts are equal |
| B2 | every account keeps its floor, and is what its id says |
| B3 | every account's columns are the sums of its transfers |
| B4 | open holds are exactly the pending facts without finaliser, with equal parts |
| B5 | a finaliser has its hold, posts no more than each bucket gave, a later bucket only after the earlier |
| B6 | each budget window's held is the sum of the open holds that name it |
| B7 | each finaliser has one usage record, and the record's amounts are what was posted |
| B8 | each lane's links are contiguous, hash their rows, and end at its head |
| B9 | each posted fact that finalises no hold has exactly one key |
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, pairwise
from typing import Final, TypeAlias

from hushnet.coordinator.ledger.books.archived import NOTHING, Archived
from hushnet.coordinator.ledger.books.audit import FIRST_DIGEST, packed
from hushnet.coordinator.ledger.chart import Floor, Kind, account_info
from hushnet.coordinator.ledger.model import CapUse, Phase, UsageRecord
from hushnet.coordinator.ledger.store import Books, FactRow, LedgerStore, StoredHold, Transfer
from hushnet.coordinator.ledger.working import parts_of

_FINDINGS_MAX: Final = 100
"""Findings beyond these are counted, not listed: broken books break in thousands of places."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the books must be; `subject` names the row, `detail` the numbers that disagree."""

    invariant: str
    subject: str
    detail: str


async def check(store: LedgerStore) -> list[Finding]:
    """Return what is wrong with the books; nothing, when they balance. Runs beside a live coordinator."""
    return await store.inspect(check_books)


def check_books(books: Books, archived: Archived = NOTHING) -> list[Finding]:
    """Return what is wrong with these books, the first hundred and a count of the rest.

    Of what was archived only the sums are left: a link that lacks rows is not hashed, and no more may be missing than is known.
    """
    auditor = _Auditor(archived)
    auditor.read_links(books)
    for group in _groups(books):
        auditor.read_group(group)
    auditor.finish(books)
    more = len(auditor.findings) - _FINDINGS_MAX
    if more > 0:
        return [*auditor.findings[:_FINDINGS_MAX], Finding("more", str(more), "findings are not listed")]
    return auditor.findings


_Row: TypeAlias = tuple[Transfer, int] | StoredHold | FactRow | UsageRecord


@dataclass(slots=True)
class _Group:
    """Everything that stands under one even id."""

    id: int
    opening: list[Transfer] = field(default_factory=list)
    final: list[Transfer] = field(default_factory=list)
    links: list[int] = field(default_factory=list)
    holds: list[StoredHold] = field(default_factory=list)
    facts: list[FactRow] = field(default_factory=list)
    usage: list[UsageRecord] = field(default_factory=list)

    def add(self, row: _Row) -> None:
        match row:
            case StoredHold():
                self.holds.append(row)
            case FactRow():
                self.facts.append(row)
            case UsageRecord():
                self.usage.append(row)
            case (transfer, link):
                (self.final if transfer.fact & 1 else self.opening).append(transfer)
                self.links.append(link)


def _groups(books: Books) -> Iterator[_Group]:
    streams: tuple[Iterator[_Row], ...] = (books.transfers(), books.holds(), books.facts(), books.usage())
    for id_, rows in groupby(merge(*streams, key=_even_id), key=_even_id):
        group = _Group(id_)
        for row in rows:
            group.add(row)
        yield group


def _even_id(row: _Row) -> int:
    match row:
        case StoredHold() | FactRow() | UsageRecord():
            return row.id
        case (transfer, _):
            return transfer.fact & ~1


@dataclass(slots=True)
class _Link:
    """A link of the audit chain while its rows are found."""

    hasher: hashlib._Hash
    digest: bytes
    rows_left: int


class _Auditor:
    """What has been seen so far, and what was wrong with it."""

    def __init__(self, archived: Archived) -> None:
        self.findings: list[Finding] = []
        self._archived = archived
        self._credits = Counter[int]({account: credits_ for account, (credits_, _) in archived.sums.items()})
        self._debits = Counter[int]({account: debits for account, (_, debits) in archived.sums.items()})
        self._held = Counter[int]()
        self._capped = Counter[CapUse]()
        self._links: dict[int, _Link] = {}

    def read_links(self, books: Books) -> None:
        """Take in every lane's links, in order (B8)."""
        heads = {lane: (seq, head) for lane, seq, head in books.lanes()}
        ends = dict.fromkeys(heads, (0, FIRST_DIGEST))
        for link in books.batches():
            seq, digest = ends.get(link.lane, (0, FIRST_DIGEST))
            if (link.seq, link.prev) != (seq + 1, digest):
                self._find("B8", f"lane {link.lane}", f"link {link.seq} does not follow link {seq}")
            ends[link.lane] = (link.seq, link.digest)
            self._links[link.number] = _Link(hashlib.sha256(link.prev), link.digest, link.row_count)
        for lane, end in ends.items():
            if heads.get(lane) != end:
                self._find("B8", f"lane {lane}", f"the chain ends at link {end[0]}, the head says otherwise")

    def read_group(self, group: _Group) -> None:
        """Take in everything under one id."""
        for row, link in zip([*group.opening, *group.final], group.links, strict=True):
            self._hash(row, link)
            self._sum(row)
        pending = [row for row in group.opening if row.phase == Phase.PENDING]
        if pending and not group.final:
            for row in pending:
                self._held[row.debit] += row.amount
        self._check_hold(group, pending)
        if group.final:
            self._check_finaliser(group, pending)
        self._check_usage(group, pending)
        self._check_key(group, pending)

    def finish(self, books: Books) -> None:
        """Compare the sums with the accounts and the windows, when everything has been read."""
        self._check_links()
        assets = Counter[str]()
        for account in books.accounts():
            assets[account.asset] += account.credits - account.debits
            self._check_account(account.id, (account.credits, account.debits, account.held))
            info = account_info(account.id)
            named = (account.owner, account.kind, account.asset, account.lane, account.floor)
            if info is None or named != (info.owner, info.kind, info.asset, info.lane, info.floor):
                self._find("B2", f"account {account.id}", "is not what its id says")
        for asset, total in assets.items():
            if total:
                self._find("B1", asset, f"credits exceed debits by {total}")
        for id_ in {*self._credits, *self._debits, *self._held}:
            self._find("B3", f"account {id_}", "has transfers and no row")
        for window in books.windows():
            held = self._capped.pop(CapUse(window.cap, window.start_ms), 0)
            if held != window.held:
                self._find("B6", f"cap {window.cap}", f"holds {window.held}, its open holds are {held}")
        for use, held in self._capped.items():
            self._find("B6", f"cap {use.cap}", f"has no window for its open holds of {held}")

    def _check_links(self) -> None:
        missing = 0
        for number, link in self._links.items():
            if link.rows_left > 0 and self._archived.rows:
                missing += link.rows_left
            elif link.rows_left or link.hasher.digest() != link.digest:
                self._find("B8", f"link {number}", "the rows do not hash to its digest")
        if missing != self._archived.rows:
            self._find("B8", "archive", f"{missing} rows are missing, {self._archived.rows} were archived")

    def _check_account(self, id_: int, columns: tuple[int, int, int]) -> None:
        credits_, debits, held = columns
        sums = (self._credits.pop(id_, 0), self._debits.pop(id_, 0), self._held.pop(id_, 0))
        if columns != sums:
            self._find("B3", f"account {id_}", f"says {columns}, its transfers {sums}")
        info = account_info(id_)
        balance = credits_ - debits
        if info is not None and (
            (info.floor == Floor.NEVER_NEGATIVE and balance - held < 0)
            or (info.floor == Floor.NEVER_POSITIVE and balance > 0)
            or (info.floor != Floor.NEVER_NEGATIVE and held)
        ):
            self._find("B2", f"account {id_}", f"balance {balance}, held {held}")

    def _hash(self, row: Transfer, number: int) -> None:
        link = self._links.get(number)
        if link is None:
            self._find("B8", f"fact {row.fact}", f"names link {number}, which is not there")
            return
        link.hasher.update(packed(row))
        link.rows_left -= 1

    def _sum(self, row: Transfer) -> None:
        if row.credit is not None:
            self._debits[row.debit] += row.amount
            self._credits[row.credit] += row.amount

    def _check_hold(self, group: _Group, pending: list[Transfer]) -> None:
        is_open = bool(pending) and not group.final
        if is_open != bool(group.holds):
            self._find("B4", f"hold {group.id}", "is open in one place and not in the other")
        for hold in group.holds:
            if parts_of(hold.owner, hold.parts) != [(row.debit, row.amount) for row in pending]:
                self._find("B4", f"hold {group.id}", "has other parts than its pending legs")
            for use in hold.caps:
                self._capped[use] += hold.parts.total

    def _check_finaliser(self, group: _Group, pending: list[Transfer]) -> None:
        name = f"fact {group.id | 1}"
        reserved = {row.debit: row.amount for row in pending}
        phases = {row.phase for row in group.final}
        if not pending or len(phases) != 1:
            self._find("B5", name, "finalises no hold, or in two ways")
            return
        if phases != {Phase.POSTED}:
            if [row.amount for row in group.final] != [sum(reserved.values())]:
                self._find("B5", name, "does not release the whole hold")
            return
        posted = Counter[int]()
        for row in group.final:
            posted[row.debit] += row.amount
        if any(amount > reserved.get(debit, 0) for debit, amount in posted.items()):
            self._find("B5", name, "posts more than a bucket gave")
        used = [(posted[debit], amount) for debit, amount in reserved.items()]
        if any(earlier < held and later for (earlier, held), (later, _) in pairwise(used)):
            self._find("B5", name, "uses a later bucket before an earlier one")

    def _check_usage(self, group: _Group, pending: list[Transfer]) -> None:
        if group.id < self._archived.before:
            return
        allowed = (1,) if group.final else (0,) if pending else (0, 1)
        if len(group.usage) not in allowed:
            self._find("B7", f"request {group.id}", f"has {len(group.usage)} usage records")
            return
        for record in group.usage:
            received = Counter[Kind]()
            for row in group.final:
                info = account_info(row.credit) if row.credit is not None else None
                if info is not None:
                    received[info.kind] += row.amount
            parts = (received[Kind.EARNINGS], received[Kind.REVENUE], received[Kind.REFERRAL_PAYABLE])
            told = (record.to_provider, record.to_platform, record.to_referrer)
            if pending and record.owner != pending[0].debit >> 4:
                self._find("B7", f"request {group.id}", "has the record of another owner")
            if told != parts or record.cost != sum(parts) or record.held != sum(row.amount for row in pending):
                self._find("B7", f"request {group.id}", f"tells {told}, posted were {parts}")

    def _check_key(self, group: _Group, pending: list[Transfer]) -> None:
        posted = [row for row in group.opening if row.phase == Phase.POSTED]
        if (posted and len(group.facts) != 1) or (group.facts and pending):
            self._find("B9", f"fact {group.id}", f"has {len(group.facts)} keys")

    def _find(self, invariant: str, subject: str, detail: str) -> None:
        self.findings.append(Finding(invariant, subject, detail))
