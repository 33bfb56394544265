"""Which price holds when, and what a model may be called."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hushnet.coordinator.catalog import DEFAULT_TARIFF_ID, Catalog, Tariff, rules
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import ModelId
from hushnet.foundation.money import Price

DEFAULT = Price(input=100, cached=50, output=400, minimum=1)
DEAR = Price(input=1000, cached=500, output=4000)
MODEL = ModelId("llama/3.1-8b:q4")


class MemoryTariffs:
    def __init__(self) -> None:
        self.rows: list[Tariff] = []

    async def tariffs(self) -> Sequence[Tariff]:
        return self.rows

    async def tariffs_of(self, model: ModelId) -> Sequence[Tariff]:
        return rules.by_model(self.rows).get(model, [])

    async def add_tariff(self, tariff: Tariff) -> bool:
        if any((row.model, row.from_ms) == (tariff.model, tariff.from_ms) for row in self.rows):
            return False
        self.rows.append(tariff)
        return True


def bench() -> tuple[Catalog, MemoryTariffs, ManualClock]:
    store, clock = MemoryTariffs(), ManualClock()
    return Catalog(store, clock, default=DEFAULT), store, clock


async def test_a_model_without_a_price_costs_the_default() -> None:
    catalog, _, _ = bench()
    assert catalog.price_of(MODEL) == DEFAULT
    assert catalog.tariff_of(MODEL).id == DEFAULT_TARIFF_ID


async def test_a_price_holds_from_now_and_the_old_one_stays_in_the_history() -> None:
    catalog, _, clock = bench()
    first = await catalog.set_price(MODEL, DEAR)
    clock.advance(10)
    second = await catalog.set_price(MODEL, DEFAULT)
    assert catalog.price_of(MODEL) == DEFAULT
    assert [tariff.id for tariff in await catalog.history(MODEL)] == [second.id, first.id]
    assert catalog.price_of(ModelId("other")) == DEFAULT


async def test_an_announced_price_holds_from_its_moment() -> None:
    catalog, _, clock = bench()
    await catalog.set_price(MODEL, DEAR, from_ms=clock.now_ms() + 60_000)
    assert catalog.price_of(MODEL) == DEFAULT
    clock.advance(59.9)
    assert catalog.price_of(MODEL) == DEFAULT
    clock.advance(0.1)
    assert catalog.price_of(MODEL) == DEAR


async def test_the_same_price_again_adds_no_row() -> None:
    catalog, store, clock = bench()
    first = await catalog.set_price(MODEL, DEAR)
    clock.advance(5)
    assert await catalog.set_price(MODEL, DEAR) == first
    assert len(store.rows) == 1


async def test_two_prices_in_one_millisecond_are_both_kept() -> None:
    catalog, store, _ = bench()
    await catalog.set_price(MODEL, DEAR)
    await catalog.set_price(MODEL, DEFAULT)
    assert len({row.from_ms for row in store.rows}) == 2


async def test_a_price_in_the_past_or_far_ahead_is_refused() -> None:
    catalog, _, clock = bench()
    for from_ms in (clock.now_ms() - 1, clock.now_ms() + rules.AHEAD_MS_MAX + 1):
        with pytest.raises(RequestError):
            await catalog.set_price(MODEL, DEAR, from_ms=from_ms)


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "é", "a\n", 'a"b'])
async def test_what_no_model_is_called_is_refused(name: str) -> None:
    catalog, _, _ = bench()
    with pytest.raises(RequestError):
        await catalog.set_price(name, DEAR)
