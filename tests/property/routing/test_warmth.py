"""The laws of the warm pool's policy, on a simulated fleet: bounds, no oscillation, pins, liars, and what it is good for."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.coordinator.routing.holdings import Holding, Load, Machine, ModelState, Unload, Why
from hushnet.coordinator.routing.warmth import WarmLimits
from hushnet.foundation.ids import ModelId, ProviderId
from support.routing import A, B
from support.warm_sim import Outcome, WarmSimulation, fleet, policy

OLD, NEW = ModelId("old"), ModelId("new")
MODELS = (OLD, NEW)
LIMITS = WarmLimits()
Rate = Callable[[ModelId, int], float]


def spread(rate: Rate) -> Callable[[ModelId, int], int]:
    """Turn requests a second into whole requests, evenly, without chance."""
    owed = dict.fromkeys(MODELS, 0.0)

    def trace(model: ModelId, second: int) -> int:
        owed[model] += rate(model, second)
        whole = int(owed[model])
        owed[model] -= whole
        return whole

    return trace


def steady(model: ModelId, second: int) -> float:
    del second
    return 2.0 if model == OLD else 1.0


def diurnal(model: ModelId, second: int) -> float:
    return 1.2 + 1.2 * math.sin(2 * math.pi * second / 3600 + (0 if model == OLD else math.pi))


def crowd(model: ModelId, second: int) -> float:
    if model == OLD or not 600 <= second < 1500:
        return 0.4
    return 0.4 + 5.0 * min((second - 600) / 240, 1.0)


def out_of_fashion(model: ModelId, second: int) -> float:
    return 0.5 if model == NEW or second < 1200 else 0.0


TRACES = (steady, diurnal, crowd, out_of_fashion)


def run(rate: Rate, *, has_policy: bool = True, seconds: int = 4000, holds: int = 1) -> Outcome:
    machines = fleet(MODELS, machines=12, holds=holds, load_s=20)
    return WarmSimulation(machines, policy=policy() if has_policy else None).run(spread(rate), seconds)


@pytest.mark.parametrize("holds", [1, 2])
@pytest.mark.parametrize("rate", TRACES)
def test_nothing_is_unloaded_soon_after_its_load_or_its_use(rate: Rate, holds: int) -> None:
    outcome = run(rate, holds=holds)

    assert outcome.unloads
    assert all(min(since_load, since_use) >= LIMITS.dwell_s for _, _, since_load, since_use in outcome.unloads)


@pytest.mark.parametrize("rate", [diurnal, crowd])
def test_forecasts_spare_requests_the_wait_for_a_load(rate: Rate) -> None:
    with_pool, without = run(rate, seconds=7200), run(rate, has_policy=False, seconds=7200)

    assert with_pool.served == without.served
    assert with_pool.cold.total() <= 0.7 * without.cold.total()


def test_a_steady_demand_comes_to_rest() -> None:
    outcome = run(steady, seconds=4000)

    settled = outcome.warm[2000:]
    assert all(warm == settled[0] for warm in settled)
    assert not [at for at, *_ in outcome.loads if at >= 2000]


def test_a_model_that_is_out_of_fashion_is_freed_and_the_other_stays() -> None:
    outcome = run(out_of_fashion, seconds=7200)

    assert outcome.warm[1000][OLD] >= 1
    assert outcome.warm[-1][OLD] == 0
    assert outcome.warm[-1][NEW] >= 1


def test_a_pinned_model_keeps_its_machines_without_any_demand() -> None:
    machines = fleet(MODELS, machines=6, holds=2)
    outcome = WarmSimulation(machines, policy=policy(new=3)).run(lambda *_: 0, 4000)

    assert outcome.warm[-1][NEW] == 3
    assert outcome.warm[-1][OLD] == 0
    assert min(warm[NEW] for warm in outcome.warm) == 3


def test_a_pin_loads_what_is_missing_and_takes_memory_only_from_what_nobody_has_used() -> None:
    machines = fleet(MODELS, machines=4, holds=1)
    outcome = WarmSimulation(machines, policy=policy(new=2)).run(lambda *_: 0, 1000)

    assert outcome.warm[-1][NEW] == 2
    assert outcome.warm[int(LIMITS.dwell_s) - 1][NEW] == 0
    assert {action.why for _, action in outcome.loads} == {Why.PIN}


def test_machines_that_promise_and_never_load_do_not_stand_in_the_way() -> None:
    machines = fleet(MODELS, machines=12, holds=2, load_s=20)
    for machine in machines:
        machine.loaded.pop(NEW)
    for machine in machines[:6]:
        machine.is_liar, machine.load_s = True, 1  # the best offers of all
    outcome = WarmSimulation(machines, policy=policy(new=4)).run(lambda *_: 0, 400)

    assert outcome.warm[100][NEW] >= 4
    assert max(machine.asked for machine in machines[:6]) <= 5  # ever rarer: 30, 60, 120 s and so on


def test_a_crowd_for_many_models_keeps_to_the_cap_on_loads() -> None:
    models = tuple(ModelId(f"m{number}") for number in range(40))
    machines = fleet(models, machines=60, holds=1, load_s=30)
    limits = WarmLimits(pending_max=5)
    outcome = WarmSimulation(machines, policy=policy(limits, **dict.fromkeys(models, 1))).run(lambda *_: 0, 700)

    assert outcome.pending_most == 5
    assert len(outcome.warm[-1]) == 40


@settings(max_examples=40, deadline=None)
@given(
    rates=st.lists(st.tuples(st.floats(0, 4), st.floats(0, 4)), min_size=1, max_size=8),
    machines=st.integers(1, 8),
    holds=st.integers(1, 2),
    load_s=st.integers(1, 60),
    pin=st.integers(0, 3),
)
def test_the_bounds_hold_whatever_comes(
    rates: list[tuple[float, float]], machines: int, holds: int, load_s: int, pin: int
) -> None:
    made = fleet(MODELS, machines=machines, holds=holds, load_s=load_s)
    limits = WarmLimits(pending_max=3, dwell_s=60.0)
    simulation = WarmSimulation(made, policy=policy(limits, old=pin))
    outcome = simulation.run(
        spread(lambda model, second: rates[second // 120 % len(rates)][MODELS.index(model)]), 120 * len(rates)
    )

    assert outcome.pending_most <= 3
    assert all(min(since_load, since_use) >= 60.0 for _, _, since_load, since_use in outcome.unloads)
    for second, action, *_ in outcome.unloads:
        if action.model == OLD:  # what was left after this second's plan
            assert outcome.warm[second][OLD] >= min(pin, machines)


# One plan at a time.


def machine(name: str, *, old: Holding, new: Holding, has_memory: bool = True) -> Machine:
    return Machine({"a": A, "b": B}[name], {OLD: old, NEW: new}, has_memory)


COLD = Holding(is_loaded=False, load_s=10.0)
IDLE = Holding(is_loaded=True, load_s=10.0, used_s=0.0)
USED = Holding(is_loaded=True, load_s=10.0, running=1, used_s=0.0)
FIXED = Holding(is_loaded=False, load_s=0.0)


def test_a_queue_without_a_warm_machine_loads_at_once_and_only_once() -> None:
    pool = policy()
    states = {NEW: ModelState(warm=0, slots=4.0, queue=3)}
    machines = [machine("a", old=USED, new=COLD), machine("b", old=COLD, new=COLD)]

    assert pool.plan(states, machines, 0.0) == [Load(B, NEW, Why.QUEUE), Load(A, NEW, Why.QUEUE)]
    assert pool.plan(states, machines, 1.0) == []


def test_a_machine_in_use_is_asked_after_an_idle_one_and_one_without_memory_last() -> None:
    pool = policy(new=1)
    states = {OLD: ModelState(warm=2), NEW: ModelState(warm=0)}
    full = machine("a", old=IDLE, new=COLD, has_memory=False)

    assert pool.plan(states, [full, machine("b", old=USED, new=COLD)], 1000.0) == [
        Load(B, NEW, Why.PIN),
        Unload(A, OLD, Why.IDLE),
    ]


def test_memory_is_made_before_the_load_and_never_from_a_model_in_use() -> None:
    states = {OLD: ModelState(warm=1), NEW: ModelState(warm=0)}
    idle, used = (machine("a", old=old, new=COLD, has_memory=False) for old in (IDLE, USED))

    assert policy(new=1).plan(states, [idle], 1000.0) == [Unload(A, OLD, Why.DISPLACED), Load(A, NEW, Why.PIN)]
    assert policy(new=1).plan(states, [idle], LIMITS.dwell_s - 1) == []
    assert policy(new=1).plan(states, [used], 1000.0) == []
    assert policy(new=1, old=1).plan(states, [idle], 1000.0) == []


def test_a_machine_that_does_not_load_on_request_is_left_alone() -> None:
    states = {NEW: ModelState(warm=0, queue=1)}

    assert policy(new=1).plan(states, [machine("a", old=IDLE, new=FIXED)], 1000.0) == []


def test_a_refusal_rests_the_machine_for_longer_each_time_and_a_load_forgives() -> None:
    pool, states = policy(new=1), {NEW: ModelState(warm=0)}
    machines, wish = [machine("a", old=COLD, new=COLD)], [Load(A, NEW, Why.PIN)]

    assert pool.plan(states, machines, 0.0) == wish
    pool.failed(A, NEW, 1.0)
    assert pool.plan(states, machines, 30.0) == []
    assert pool.plan(states, machines, 31.0) == wish
    pool.failed(A, NEW, 32.0)
    assert pool.plan(states, machines, 91.0) == []
    assert pool.plan(states, machines, 92.0) == wish
    pool.loaded(A, NEW)
    assert pool.pending == {}


def test_a_provider_that_leaves_takes_its_loads_along() -> None:
    pool, states = policy(new=1), {NEW: ModelState(warm=0)}
    pool.plan(states, [machine("a", old=COLD, new=COLD)], 0.0)
    pool.left(A)

    assert pool.plan(states, [machine("b", old=COLD, new=COLD)], 1.0) == [Load(B, NEW, Why.PIN)]


def test_a_load_that_a_request_has_begun_is_not_asked_for_again() -> None:
    pool, states = policy(), {NEW: ModelState(warm=0, slots=4.0)}
    pool.arrived(NEW, 0.0)
    pool.began(A, NEW, load_s=10.0, now_s=0.0)

    assert pool.plan(states, [machine("b", old=COLD, new=COLD)], 0.1) == []


def test_the_models_whose_demand_is_remembered_are_those_asked_for_last() -> None:
    pool = policy(WarmLimits(models_max=2))
    pool.arrived(OLD, 0.0)
    pool.arrived(ModelId("once"), 0.0)
    pool.arrived(OLD, 0.0)
    pool.arrived(NEW, 1.0)

    assert list(pool.asked_for) == [OLD, NEW]
    assert pool.rate(OLD, 1.0) > pool.rate(NEW, 1.0) > pool.rate(ModelId("once"), 1.0) == 0.0


def test_a_model_that_was_not_asked_for_in_a_long_time_is_forgotten() -> None:
    pool = policy()
    pool.arrived(OLD, 0.0)
    pool.arrived(NEW, 3000.0)
    pool.plan({}, [], 3000.0)

    assert list(pool.asked_for) == [NEW]


def test_who_promises_most_and_fails_comes_after_everybody_else() -> None:
    pool, states = policy(new=1), {NEW: ModelState(warm=0)}
    quick = machine("a", old=COLD, new=Holding(is_loaded=False, load_s=0.1))
    honest = machine("b", old=COLD, new=COLD)

    assert pool.plan(states, [quick, honest], 0.0) == [Load(A, NEW, Why.PIN)]
    pool.failed(A, NEW, 1.0)
    assert pool.plan(states, [quick, honest], 100.0) == [Load(B, NEW, Why.PIN)]


def test_a_plan_looks_for_machines_for_so_many_models_and_no_more() -> None:
    models = [ModelId(f"m{number}") for number in range(10)]
    pool = policy(WarmLimits(needy_max=3), **dict.fromkeys(models, 1))
    machines = [Machine(ProviderId(f"{number:064x}"), dict.fromkeys(models, COLD)) for number in range(len(models))]

    assert len(pool.plan({model: ModelState(warm=0) for model in models}, machines, 0.0)) == 3
