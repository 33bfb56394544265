"""The check finds every way in which books can be wrong, and says where."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from msgspec import structs

from hushnet.coordinator.ledger.books.check import check
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import CapUse, Held
from hushnet.coordinator.ledger.store import BatchRow, FactRow, StoredHold, Transfer
from support.ledger import CONSUMER, PROVIDER, OpenLedger, open_ledger, post, void
from support.ledger_memory import MemoryLedgerStore

PROMO = user_account(CONSUMER, Kind.PROMO)
PAID = user_account(CONSUMER, Kind.PAID)


@pytest.fixture
async def small() -> AsyncIterator[OpenLedger]:
    """Books with a settled, a released and an open hold."""
    async with open_ledger("memory:") as books:
        await books.give(CONSUMER, promo=50, paid=100)
        await books.set_cap(1, 1000)
        await books.ledger.close(post(*await books.held(80), 60, 10))
        await books.ledger.close(void(*await books.held(20)))
        assert isinstance(await books.ledger.hold(books.new_hold(25, caps=(CapUse(1, 0),))), Held)
        yield books


def rows(store: MemoryLedgerStore, phase: int) -> list[Transfer]:
    return [row for _, (row, _) in sorted(store.transfers.items()) if row.phase == phase]


def put(store: MemoryLedgerStore, row: Transfer, **changes: int) -> None:
    _, link = store.transfers[row.fact, row.leg]
    store.transfers[row.fact, row.leg] = (row._replace(**changes), link)


def change_account(account: int, **changes: int) -> Callable[[MemoryLedgerStore], None]:
    def change(store: MemoryLedgerStore) -> None:
        store.accounts[account] = replace(store.accounts[account], **changes)

    return change


def lose_a_leg(store: MemoryLedgerStore) -> None:
    del store.transfers[next(key for key, (row, _) in store.transfers.items() if row.phase == 0)]


def lose_an_open_hold(store: MemoryLedgerStore) -> None:
    store.holds.clear()


def invent_a_hold(store: MemoryLedgerStore) -> None:
    store.holds[2] = StoredHold(id=2, owner=CONSUMER, parts=Held(1, 0, 0), opened_ms=1, expires_ms=2, origin=0)


def shift_the_parts(store: MemoryLedgerStore) -> None:
    (hold,) = store.holds.values()
    store.holds[hold.id] = replace(hold, parts=Held(hold.parts.total, 0, 0))


def post_beyond(store: MemoryLedgerStore) -> None:
    put(store, next(row for row in rows(store, 0) if row.fact & 1), amount=1000)


def use_buckets_out_of_order(store: MemoryLedgerStore) -> None:
    row = next(row for row in rows(store, 0) if row.debit == PROMO)
    put(store, row, amount=row.amount - 1)


def release_too_little(store: MemoryLedgerStore) -> None:
    (row,) = rows(store, 2)
    put(store, row, amount=row.amount - 1)


def finalise_nothing(store: MemoryLedgerStore) -> None:
    store.transfers[5, 0] = (Transfer(5, 0, 2, 3, PROMO, None, 1, 1), 1)


def lose_a_record(store: MemoryLedgerStore) -> None:
    store.usage.popitem()


def tell_another_split(store: MemoryLedgerStore) -> None:
    id_, record = next((id_, record) for id_, record in store.usage.items() if record.cost)
    store.usage[id_] = structs.replace(record, to_provider=record.to_provider + 1, to_platform=record.to_platform - 1)


def tell_another_owner(store: MemoryLedgerStore) -> None:
    id_, record = store.usage.popitem()
    store.usage[id_] = structs.replace(record, owner=PROVIDER)


def record_an_open_request(store: MemoryLedgerStore) -> None:
    (hold,) = store.holds.values()
    store.usage[hold.id] = structs.replace(next(iter(store.usage.values())), id=hold.id)


def change_a_time(store: MemoryLedgerStore) -> None:
    put(store, rows(store, 0)[0], at_ms=1)


def change_a_link(store: MemoryLedgerStore) -> None:
    store.batches[0, 2] = store.batches[0, 2]._replace(digest=bytes(32))


def lose_a_link(store: MemoryLedgerStore) -> None:
    del store.batches[0, 2]


def add_a_link(store: MemoryLedgerStore) -> None:
    last = max(store.batches.values())
    store.batches[0, last.seq + 1] = BatchRow(0, last.seq + 1, last.digest, bytes(32), 0, 1)


def lose_a_key(store: MemoryLedgerStore) -> None:
    store.facts.clear()


def key_a_hold(store: MemoryLedgerStore) -> None:
    (hold,) = store.holds.values()
    store.facts["hold"] = FactRow(hold.id, "hold", bytes(32), 1, 0, "test", "", 1)


def hold_more_in_a_window(store: MemoryLedgerStore) -> None:
    store.windows[CapUse(1, 0)] = replace(store.windows[CapUse(1, 0)], held=1)


def lose_a_window(store: MemoryLedgerStore) -> None:
    store.windows.clear()


async def test_sound_books_have_no_findings(small: OpenLedger) -> None:
    assert await small.findings() == []


@pytest.mark.parametrize(
    ("invariant", "damage"),
    [
        ("B1", change_account(PAID, credits=101)),
        ("B2", change_account(PAID, debits=101)),
        ("B2", change_account(operator_account(Kind.REVENUE), held=1)),
        ("B3", change_account(PROMO, held=1)),
        ("B3", lose_a_leg),
        ("B4", lose_an_open_hold),
        ("B4", invent_a_hold),
        ("B4", shift_the_parts),
        ("B5", post_beyond),
        ("B5", use_buckets_out_of_order),
        ("B5", release_too_little),
        ("B5", finalise_nothing),
        ("B6", hold_more_in_a_window),
        ("B6", lose_a_window),
        ("B7", lose_a_record),
        ("B7", tell_another_split),
        ("B7", tell_another_owner),
        ("B7", record_an_open_request),
        ("B8", change_a_time),
        ("B8", change_a_link),
        ("B8", lose_a_link),
        ("B8", add_a_link),
        ("B9", lose_a_key),
        ("B9", key_a_hold),
    ],
)
async def test_damage_is_found(small: OpenLedger, invariant: str, damage: Callable[[MemoryLedgerStore], None]) -> None:
    store = small.store
    assert isinstance(store, MemoryLedgerStore)

    damage(store)

    assert invariant in {finding.invariant for finding in await check(store)}


async def test_findings_beyond_a_hundred_are_counted(small: OpenLedger) -> None:
    store = small.store
    assert isinstance(store, MemoryLedgerStore)
    for id_ in range(2, 402, 2):
        store.holds[id_] = StoredHold(id_, CONSUMER, Held(1, 0, 0), 1, 2, 0)

    findings = await check(store)

    assert len(findings) == 101
    assert findings[-1].invariant == "more"
    assert int(findings[-1].subject) >= 300
