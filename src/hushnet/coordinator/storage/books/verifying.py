"""Verify an export without its coordinator: every invariant, every day's balances, every root, from the files alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from hushnet.coordinator.ledger.books.archived import Archived
from hushnet.coordinator.ledger.books.check import Finding, check_books
from hushnet.coordinator.ledger.books.days import DayBalance, DayRow, day_text
from hushnet.coordinator.ledger.books.liabilities import tree_of
from hushnet.coordinator.ledger.books.recomputing import recomputed
from hushnet.coordinator.storage.books.archives import ARCHIVED_SUMS, ARCHIVES, archived_in
from hushnet.coordinator.storage.books.days import DAY_BALANCES
from hushnet.coordinator.storage.books.exporting import ExportedBooks, ExportedDay


def verify_export(books: ExportedBooks) -> list[Finding]:
    """Return what is wrong with an export; raises `ConfigurationError` for a file that cannot be read at all."""
    archived = archived_in(books.rows(ARCHIVES), books.rows(ARCHIVED_SUMS))
    findings = [Finding("file", name, "is not as it was exported") for name in books.altered_files()]
    findings += check_books(books, archived)
    findings += _wrong_days(books, archived)
    return findings


def _wrong_days(books: ExportedBooks, archived: Archived) -> Iterator[Finding]:
    days = books.days()
    yield from _wrong_heads(books, days)
    rows = [row for row, _ in days]
    expected = {row.day: balances for row, balances in recomputed(rows, books.transfers(), archived)}
    stored = dict(_by_day(books))
    for told in sorted({*stored} - {row.day for row in rows}):
        yield Finding("day", f"day {told}", "has balances and is not closed")
    for row, line in days:
        there = stored.get(row.day, [])
        yield from _wrong_day(row, line, expected.get(row.day, there), there)


def _wrong_heads(books: ExportedBooks, days: list[tuple[DayRow, ExportedDay]]) -> Iterator[Finding]:
    digests = {(head.lane, head.seq): head.digest for row, _ in days for head in row.heads}
    for link in books.batches():
        if digests.pop((link.lane, link.seq), link.digest) != link.digest:
            yield Finding("day", f"lane {link.lane}", f"link {link.seq} is not the head that a day names")
    for lane, seq in digests:
        yield Finding("day", f"lane {lane}", f"link {seq} is named by a day and not there")


def _by_day(books: ExportedBooks) -> Iterator[tuple[int, list[DayBalance]]]:
    for day, rows in groupby(books.rows(DAY_BALANCES), key=lambda row: row[0]):
        yield day, [DayBalance(*row[1:]) for row in rows]


def _wrong_day(
    row: DayRow, line: ExportedDay, balances: list[DayBalance], stored: list[DayBalance]
) -> Iterator[Finding]:
    name = f"day {day_text(row.day)}"
    if balances != stored:
        wrong = {each.account for each in {*balances} ^ {*stored}}
        yield Finding("day", name, f"the transfers give other balances, of account {min(wrong)} for one")
    tree = tree_of(balances, bytes.fromhex(line.secret))
    if (tree.root.hash, tree.root.sum, len(tree)) != (row.root, row.liabilities, row.leaves):
        yield Finding("day", name, "the balances give another root")
    if row.findings:
        yield Finding("day", name, f"was closed with {len(row.findings)} findings: {row.findings[0]}")
