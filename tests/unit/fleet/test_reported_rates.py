"""Which rate a provider claims with which of its models: the fastest engine's is not that of every model."""

from __future__ import annotations

from typing import Final

import pytest

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.routing.model import Assignment, Candidate, RouteRequest
from hushnet.coordinator.routing.router import route
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import Capacity, ModelCapacity, ModelOffer
from support.live_fleet import live

BIG: Final = ModelId("big")
TINY: Final = ModelId("tiny")


def part(model: ModelId, decode: float = 0.0, prefill: float = 0.0) -> ModelCapacity:
    return ModelCapacity(model=model, slots=4, active=0, queued=0, decode_tokens_s=decode, prefill_tokens_s=prefill)


def machine(*parts: ModelCapacity, decode: float = 200.0, prefill: float = 5000.0) -> Capacity:
    return Capacity(slots=8, active=0, decode_tokens_s=decode, prefill_tokens_s=prefill, per_model=parts)


def offer(model: ModelId, *, is_loaded: bool = True) -> ModelOffer:
    return ModelOffer(model=model, context_tokens=8192, slots=4, is_loaded=is_loaded, load_s=0.0 if is_loaded else 5.0)


def rates(capacity: Capacity, *models: ModelId) -> list[tuple[float, float]]:
    provider = live(0, [offer(model) for model in models], capacity)
    return [(provider.reported_tokens_s(model), provider.reported_prefill_tokens_s(model)) for model in models]


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        (machine(part(BIG, 15.0, 150.0), part(TINY, 200.0, 5000.0)), [(15.0, 150.0), (200.0, 5000.0)]),
        (machine(part(BIG), part(TINY, 200.0, 5000.0)), [(0.0, 0.0), (200.0, 5000.0)]),
        (machine(part(TINY, 200.0)), [(0.0, 0.0), (200.0, 5000.0)]),
        (machine(part(BIG, 15.0), part(TINY, 200.0)), [(15.0, 0.0), (200.0, 0.0)]),
        (machine(), [(200.0, 0.0), (200.0, 0.0)]),
    ],
    ids=["both_measured", "one_measured", "one_cold", "an_older_agent", "no_figures_of_models"],
)
def test_a_model_without_figures_of_its_own_has_not_the_fastest_engines(capacity: Capacity, expected: list) -> None:
    assert rates(capacity, BIG, TINY) == expected


def test_a_single_models_rates_are_the_machines() -> None:
    assert rates(machine(), BIG) == [(200.0, 5000.0)]
    assert rates(machine(part(BIG, 200.0)), BIG) == [(200.0, 5000.0)]


def test_a_cold_model_beside_a_fast_one_is_not_taken_for_fast() -> None:
    fleet = Fleet(ManualClock())
    for number in (1, 2, 3):
        fleet.join(live(number, [offer(BIG)], machine(part(BIG, 15.0, 150.0), decode=15.0, prefill=150.0)))
    mixed = live(9, [offer(TINY), offer(BIG, is_loaded=False)], machine(part(TINY, 200.0, 5000.0)))
    fleet.join(mixed)
    view = fleet.view(BIG)
    seen: Candidate = view.index[mixed.provider_id]
    assert (seen.decode_tokens_s, seen.prefill_tokens_s) == (0.0, 0.0)
    request = RouteRequest(model=BIG, prompt_tokens_max=1200, output_tokens_max=400)
    decisions = [route(view, request, seed=seed) for seed in range(20)]
    assert all(isinstance(each, Assignment) and each.provider_id != mixed.provider_id for each in decisions)
