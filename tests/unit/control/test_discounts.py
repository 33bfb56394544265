"""What owners take off prices: which row holds when, and for whom."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hushnet.coordinator.catalog import EVERY_MODEL, Discount, DiscountBook
from hushnet.coordinator.catalog.discounts import CHANGES_MAX, DAY_MS
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ModelId

MINE, OTHERS = AccountId(70_000), AccountId(70_001)
MODEL, ANOTHER = ModelId("llama/3.1-8b:q4"), ModelId("tiny")


class MemoryDiscounts:
    """Rows in a list, as the database would answer."""

    def __init__(self) -> None:
        self.rows: list[Discount] = []

    async def discounts(self, *, now_ms: int, owner: AccountId | None = None) -> Sequence[Discount]:
        rows = [row for row in self.rows if owner in (None, row.owner)]

        def is_over(row: Discount) -> bool:
            later = [each for each in rows if (each.owner, each.model) == (row.owner, row.model)]
            return any(row.from_ms < each.from_ms <= now_ms for each in later)

        return [row for row in rows if not is_over(row)]

    async def add_discount(self, discount: Discount, *, since_ms: int, changes_max: int) -> bool | None:
        lately = [row for row in self.rows if row.owner == discount.owner and row.from_ms > since_ms]
        if len(lately) >= changes_max:
            return None
        key = (discount.owner, discount.model, discount.from_ms)
        if any((row.owner, row.model, row.from_ms) == key for row in self.rows):
            return False
        self.rows.append(discount)
        return True


def bench() -> tuple[DiscountBook, MemoryDiscounts, ManualClock]:
    store, clock = MemoryDiscounts(), ManualClock()
    return DiscountBook(store, clock), store, clock


async def test_a_discount_is_its_owners_alone() -> None:
    book, _, _ = bench()
    await book.set(MINE, MODEL, 1_000)
    assert (book.bps_of(MINE, MODEL), book.bps_of(OTHERS, MODEL), book.bps_of(MINE, ANOTHER)) == (1_000, 0, 0)


async def test_what_is_said_of_one_model_counts_before_what_is_said_of_all() -> None:
    book, _, clock = bench()
    await book.set(MINE, EVERY_MODEL, 500)
    clock.advance(1)
    await book.set(MINE, MODEL, 0)
    assert (book.bps_of(MINE, MODEL), book.bps_of(MINE, ANOTHER)) == (0, 500)


async def test_an_announced_discount_holds_from_its_moment() -> None:
    book, _, clock = bench()
    await book.set(MINE, MODEL, 800, from_ms=clock.now_ms() + 60_000)
    assert book.bps_of(MINE, MODEL) == 0
    clock.advance(60)
    assert book.bps_of(MINE, MODEL) == 800


async def test_the_same_discount_again_adds_no_row() -> None:
    book, store, clock = bench()
    first = await book.set(MINE, MODEL, 800)
    clock.advance(5)
    assert await book.set(MINE, MODEL, 800) == first
    assert len(store.rows) == 1


@pytest.mark.parametrize("bps", [-1, 10_001, True, 0.5])
async def test_a_discount_out_of_bounds_is_refused(bps: int) -> None:
    book, store, _ = bench()
    with pytest.raises(RequestError):
        await book.set(MINE, MODEL, bps)
    assert store.rows == []


@pytest.mark.parametrize("shift_ms", [-1, 367 * DAY_MS])
async def test_a_discount_is_not_set_for_the_past_nor_for_far_ahead(shift_ms: int) -> None:
    book, store, clock = bench()
    with pytest.raises(RequestError):
        await book.set(MINE, MODEL, 10, from_ms=clock.now_ms() + shift_ms)
    assert store.rows == []


async def test_a_flood_of_changes_is_refused_and_another_owner_is_not_hindered() -> None:
    book, _, clock = bench()
    for number in range(CHANGES_MAX):
        await book.set(MINE, MODEL, number)
        clock.advance(1)
    with pytest.raises(RequestError) as caught:
        await book.set(MINE, MODEL, 9_999)
    assert caught.value.error_code == "too_many_changes"
    assert (await book.set(OTHERS, MODEL, 1)).bps == 1
    clock.advance(2 * DAY_MS / 1000)
    assert (await book.set(MINE, MODEL, 9_999)).bps == 9_999


async def test_who_listens_hears_of_every_load() -> None:
    book, _, _ = bench()
    heard: list[int] = []
    book.subscribe(lambda: heard.append(book.bps_of(MINE, MODEL)))
    await book.set(MINE, MODEL, 300)
    await book.load()
    assert heard == [300, 300]
