"""An export is enough to repeat every proof, and shows what was altered; the checks of domains see what is missing."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from hushnet.cli.ledger.proofs import verified_folder
from hushnet.coordinator.ledger.books.check import Finding
from hushnet.coordinator.ledger.books.days import DAY_MS
from hushnet.coordinator.ledger.books.keeper import BookKeeper
from hushnet.coordinator.ledger.books.promises import SpentWindow, check_promises, window_end
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import CapUse, Code, Fact, Held, Leg
from hushnet.coordinator.storage.books.days import SqlDayStore
from hushnet.coordinator.storage.books.exporting import MANIFEST, ExportedBooks, Manifest, export_books, file_digest
from hushnet.coordinator.storage.books.keys import load_book_keys
from hushnet.coordinator.storage.books.promises import SqlPromises
from hushnet.coordinator.storage.books.verifying import verify_export
from hushnet.coordinator.storage.ledger_books import SqlBooks
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.ids import AccountId
from support.ledger import CONSUMER, PROVIDER, REFERRER, OpenLedger, database_url, open_ledger, post, void

DAY = 20_400
NETWORK = "net"


@pytest.fixture(params=["sqlite", "postgresql"])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenLedger]:
    """A ledger with two closed days, open holds, releases and a budget."""
    with database_url(request.param, tmp_path) as url:
        async with open_ledger(url, clock=ManualClock(DAY * DAY_MS + 7_200_000)) as opened:
            assert opened.database is not None
            keys = await asyncio.to_thread(load_book_keys, tmp_path)
            keeper = BookKeeper(SqlDayStore(opened.database), keys, opened.clock, network=NETWORK)
            await opened.set_cap(1, 1000)
            for _ in range(2):
                await opened.give(CONSUMER, promo=30, paid=500, earnings=5)
                await opened.ledger.close(post(*await opened.held(80), 60, 10))
                await opened.ledger.close(void(*await opened.held(20)))
                assert isinstance(await opened.ledger.hold(opened.new_hold(25, caps=(CapUse(1, 0),))), Held)
                await opened.advance(DAY_MS / 1000)
            await opened.ledger.close(post(*await opened.held(9), 9))
            assert len(await keeper.close_due()) == 2
            yield opened


async def exported(books: OpenLedger, home: Path) -> Path:
    assert books.database is not None
    keys = await asyncio.to_thread(load_book_keys, home)
    folder = home / "export"
    told: list[str] = []
    await books.database.read(
        lambda connection: export_books(
            connection, folder, keys, network=NETWORK, now_ms=1, progress=lambda table, _: told.append(table)
        )
    )
    assert "ledger_transfers" in told
    return folder


async def test_balances_of_a_day_that_is_not_closed_yet_are_not_exported(books: OpenLedger, tmp_path: Path) -> None:
    assert books.database is not None
    half = text("INSERT INTO ledger_day_balances VALUES (:day, 1, 2, 3, 4)")
    await books.database.write(lambda connection: connection.execute(half, {"day": DAY + 2}))
    folder = await exported(books, tmp_path)
    assert verified_folder(folder, None) == []
    assert f"\n{DAY + 2}," not in (folder / "ledger_day_balances.csv").read_text()


async def test_an_export_verifies_by_itself_and_is_its_owners_alone(books: OpenLedger, tmp_path: Path) -> None:
    folder = await exported(books, tmp_path)
    assert verified_folder(folder, None) == []
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    there = await books.store.inspect(lambda view: list(view.transfers()))
    assert list(ExportedBooks(folder).transfers()) == there
    assert await books.store.inspect(lambda view: list(view.usage())) == list(ExportedBooks(folder).usage())
    assert await books.store.inspect(lambda view: list(view.holds())) == list(ExportedBooks(folder).holds())
    with pytest.raises(ConfigurationError, match="not empty"):
        await exported(books, tmp_path)


def alter_cell(table: str, column: str, change: Callable[[str], str], *, where: str = "") -> Callable[[Path], None]:
    """Return what changes one cell of the first row that has `where` in it, and makes the manifest fit."""

    def alter(folder: Path) -> None:
        path = folder / f"{table}.csv"
        with path.open(newline="") as source:
            rows = list(csv.reader(source))
        index = next(index for index, row in enumerate(rows) if index and where in ",".join(row))
        rows[index][rows[0].index(column)] = change(rows[index][rows[0].index(column)])
        with path.open("w", newline="") as sink:
            csv.writer(sink, lineterminator="\n").writerows(rows)
        refit(folder, path)

    return alter


def refit(folder: Path, path: Path) -> None:
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    entry = manifest.files[path.name]
    files = {**manifest.files, path.name: msgspec.structs.replace(entry, sha256=file_digest(path))}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, files=files)))


def alter_day(name: str, value: object) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        path = folder / "days.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[0][name] = value
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        refit(folder, path)

    return alter


def more(text: str) -> str:
    return str(int(text) + 1)


@pytest.mark.parametrize(
    ("alter", "invariant"),
    [
        (alter_cell("ledger_transfers", "amount", more), "B8"),
        (alter_cell("ledger_transfers", "at_ms", more), "B8"),
        (alter_cell("ledger_accounts", "credits", more), "B3"),
        (alter_cell("ledger_batches", "digest", lambda text: "00" + text[2:]), "B8"),
        (alter_cell("ledger_day_balances", "debits", more), "day"),
        (alter_cell("ledger_day_balances", "day", lambda _: str(DAY - 5)), "day"),
        (alter_cell("usage_records", "to_provider", more), "B7"),
        (alter_day("root", "ab" * 32), "day"),
        (alter_day("secret", "ab" * 32), "day"),
        (alter_day("liabilities", 1), "day"),
        (alter_day("heads", "[]"), "day"),
        (alter_day("published", {}), "root"),
    ],
)
async def test_what_is_altered_in_an_export_shows(
    books: OpenLedger, tmp_path: Path, alter: Callable[[Path], None], invariant: str
) -> None:
    folder = await exported(books, tmp_path)
    alter(folder)
    assert invariant in {finding.invariant for finding in verified_folder(folder, None)}


async def test_bytes_that_are_not_those_of_the_manifest_show(books: OpenLedger, tmp_path: Path) -> None:
    folder = await exported(books, tmp_path)
    with (folder / "ledger_facts.csv").open("a") as sink:
        sink.write("\n")
    with pytest.raises(ConfigurationError, match="damaged"):
        verify_export(ExportedBooks(folder))
    assert ExportedBooks(folder).altered_files() == ["ledger_facts.csv"]
    (folder / MANIFEST).unlink()
    with pytest.raises(ConfigurationError, match="not there"):
        ExportedBooks(folder)


async def test_a_root_signed_by_another_key_shows(books: OpenLedger, tmp_path: Path) -> None:
    folder = await exported(books, tmp_path)
    assert {finding.invariant for finding in verified_folder(folder, "ab" * 32)} == {"root"}


async def promised(books: OpenLedger) -> list[Finding]:
    assert books.database is not None
    return await books.database.read(lambda connection: check_promises(SqlBooks(connection), SqlPromises(connection)))


async def execute(books: OpenLedger, *statements: str) -> None:
    assert books.database is not None
    for statement in statements:
        await books.database.write(lambda connection, each=statement: connection.execute(text(each)) and None)


async def move(books: OpenLedger, key: str, debit: int, credit: int, amount: int, owner: int = CONSUMER) -> None:
    fact = Fact(key, Code.ADJUSTMENT, (Leg(debit, credit, amount),), actor="test", owner=owner)
    await books.ledger.fact(fact)


async def test_referral_shares_that_are_not_paid_out_are_payable(books: OpenLedger) -> None:
    await books.ledger.close(post(*await books.held(50), 30, 5, 4))
    assert await promised(books) == []
    payable, earnings = operator_account(Kind.REFERRAL_PAYABLE), user_account(REFERRER, Kind.EARNINGS)
    day = books.clock.now_ms() // DAY_MS
    await move(books, f"referral:{REFERRER}:{day}", payable, earnings, 4, owner=REFERRER)
    assert await promised(books) == []
    await books.ledger.close(post(*await books.held(50), 30, 5, 3))
    (finding,) = await promised(books)
    assert (finding.invariant, finding.subject) == ("B11", "referral_payable")


async def test_money_in_transit_and_set_aside_needs_a_payout_and_a_refund(books: OpenLedger) -> None:
    earnings, in_transit = user_account(CONSUMER, Kind.EARNINGS), user_account(CONSUMER, Kind.IN_TRANSIT)
    await move(books, "payout:6:requested", earnings, in_transit, 8)
    await move(books, "refund:2:taken", user_account(CONSUMER, Kind.PAID), user_account(CONSUMER, Kind.FROZEN), 7)
    await move(books, "x402:a:authorised", operator_account(Kind.RECEIVABLE), user_account(OTHER, Kind.PAID), 5, OTHER)
    await move(books, "payout:6:landed", operator_account(Kind.CONNECT), operator_account(Kind.STRIPE), 6)
    found = {finding.subject: finding.detail for finding in await promised(books)}
    assert set(found) == {
        f"in_transit of account {CONSUMER}",
        f"frozen of account {CONSUMER}",
        "receivable",
        "connect",
    }
    assert all(finding.invariant == "B11" for finding in await promised(books))


OTHER = AccountId(CONSUMER + 1)


class Told:
    """Promises that say what a test says."""

    def __init__(self, **sums: object) -> None:
        self._sums = sums

    def in_transit(self) -> dict[int, int]:
        return dict(self._sums.get("in_transit", {}))  # type: ignore[call-overload] - a test's own

    def frozen(self) -> dict[int, int]:
        return dict(self._sums.get("frozen", {}))  # type: ignore[call-overload] - a test's own

    def at_connect(self) -> int:
        return 0

    def receivable(self) -> int:
        return 0

    def unswept(self) -> int:
        return 0

    def spent_windows(self) -> list[SpentWindow]:
        return list(self._sums.get("windows", ()))  # type: ignore[call-overload] - a test's own


async def findings_of(books: OpenLedger, told: Told) -> list[Finding]:
    return await books.store.inspect(lambda view: check_promises(view, told))


async def test_a_window_that_says_more_than_its_requests_cost_is_a_finding(books: OpenLedger) -> None:
    whole = SpentWindow(cap=4, scope=2, subject=CONSUMER, period=0, start_ms=0, spent=149)
    first_day = SpentWindow(cap=5, scope=2, subject=CONSUMER, period=1, start_ms=DAY * DAY_MS, spent=70)
    key = SpentWindow(cap=6, scope=1, subject=7, period=3, start_ms=DAY * DAY_MS, spent=149)
    assert await findings_of(books, Told(windows=[whole, first_day, key])) == []
    over = [window._replace(spent=window.spent + 1) for window in (whole, first_day, key)]
    found = await findings_of(books, Told(windows=over))
    assert [finding.subject for finding in found] == ["cap 4", "cap 5", "cap 6"]
    assert {finding.invariant for finding in found} == {"B6"}


async def test_a_payout_without_money_in_transit_is_a_finding(books: OpenLedger) -> None:
    found = await findings_of(books, Told(in_transit={PROVIDER: 5}))
    assert [finding.subject for finding in found] == [f"in_transit of account {PROVIDER}"]


def test_windows_end_where_the_calendar_says() -> None:
    start = 1_769_904_000_000  # 2026-02-01
    assert [window_end(period, start) - start for period in (1, 2, 3)] == [DAY_MS, 7 * DAY_MS, 28 * DAY_MS]
    assert window_end(0, start) == 1 << 62
