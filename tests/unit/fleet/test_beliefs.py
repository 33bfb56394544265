"""What is believed of a report, and which word says what was not."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.fleet.beliefs import (
    NOTHING,
    BeliefPolicy,
    Doubt,
    believed_capacity,
    believed_load_ms,
    believed_offer,
    believed_rates,
    believed_strain_ms,
    is_at_least,
)
from hushnet.coordinator.routing.cost import RATE_MAX, THERMAL_MS
from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import THERMAL_WORDS, Capacity, ModelOffer

POLICY = BeliefPolicy()
GIB = 1 << 30


def offer(**changes: Any) -> ModelOffer:
    return ModelOffer(**{"model": ModelId("m"), "context_tokens": 4096, "slots": 4, **changes})


def test_an_honest_report_is_taken_as_it_is() -> None:
    honest = Capacity(
        slots=8,
        active=8,
        queued=3,
        tokens_active=9_000,
        tokens_max=100_000,
        decode_tokens_s=40.0,
        memory_bytes_free=4 * GIB,
        memory_bytes_total=16 * GIB,
        gpu_memory_bytes_used=70 * GIB,
        gpu_memory_bytes_total=80 * GIB,
        cpu=1.0,
        thermal="fair",
    )

    assert believed_capacity(honest, POLICY) == (honest, NOTHING)
    assert believed_capacity(honest, POLICY)[0] is honest


@pytest.mark.parametrize(
    ("claims", "believed", "doubt"),
    [
        ({"slots": 2**20}, {"slots": 1024}, Doubt.SLOTS),
        ({"active": 9}, {"active": 4}, Doubt.OVERCOMMITTED),
        ({"tokens_max": 3}, {"tokens_max": 0}, Doubt.TOKENS),
        ({"tokens_max": 2**40}, {"tokens_max": 2**27}, Doubt.TOKENS),
        ({"tokens_active": 2**40}, {"tokens_active": 2**27}, Doubt.TOKENS),
        ({"tokens_queued": 2**40}, {"tokens_queued": 2**27}, Doubt.TOKENS),
        ({"memory_bytes_free": 1}, {"memory_bytes_free": 0}, Doubt.MEMORY),
        ({"gpu_memory_bytes_used": 5}, {"gpu_memory_bytes_used": 0}, Doubt.MEMORY),
        ({"thermal": "glowing"}, {"thermal": ""}, Doubt.THERMAL),
    ],
)
def test_what_no_machine_can_be_is_brought_to_what_one_can(
    claims: dict[str, Any], believed: dict[str, Any], doubt: Doubt
) -> None:
    told = {"slots": 4, "active": 0} | claims

    assert believed_capacity(Capacity(**told), POLICY) == (Capacity(**(told | believed)), {doubt})


def test_several_lies_are_doubted_one_by_one() -> None:
    _, doubts = believed_capacity(Capacity(slots=2**20, active=2**20, tokens_max=1, thermal="hot"), POLICY)

    assert doubts == {Doubt.SLOTS, Doubt.OVERCOMMITTED, Doubt.TOKENS, Doubt.THERMAL}


# Offers.


def test_a_failed_check_of_the_template_takes_back_what_keeps_a_form_and_nothing_else() -> None:
    claimed = offer(features=("json_schema", "logprobs", "tools"), is_template_sound=False)

    believed, doubts = believed_offer(claimed, POLICY, agent_version="1.0")

    assert believed.features == ("logprobs",)
    assert believed.is_template_sound is False
    assert doubts == {Doubt.TEMPLATE}


@pytest.mark.parametrize("result", [None, True])
def test_a_template_that_was_not_looked_at_is_no_broken_one(result: bool | None) -> None:
    claimed = offer(features=("json_schema", "tools"), is_template_sound=result)

    assert believed_offer(claimed, POLICY, agent_version="anything") == (claimed, NOTHING)


@pytest.mark.parametrize(("version", "is_believed"), [("0.9.9", False), ("1.2", True), ("1.2.0", True), ("2", True)])
def test_an_agent_below_the_operators_floor_is_not_believed_to_keep_a_form(version: str, is_believed: bool) -> None:
    policy = BeliefPolicy(tools_agent_version_min="1.2.0")
    claimed = offer(features=("tools", "vision"))

    believed, doubts = believed_offer(claimed, policy, agent_version=version)

    assert believed.features == (("tools", "vision") if is_believed else ("vision",))
    assert doubts == (NOTHING if is_believed else {Doubt.AGENT_OLD})


def test_the_floor_says_nothing_of_an_offer_that_promises_no_form() -> None:
    policy = BeliefPolicy(tools_agent_version_min="9")

    assert believed_offer(offer(features=("vision",)), policy, agent_version="1")[1] == NOTHING


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1.2rc1", "1.2"),
        ("1.2.dev3", "1.2"),
        ("1.2", "1.2.1"),
        ("1.2", "1.2.post1"),
        ("nightly", "0.0.1"),
        ("", "0"),
    ],
)
def test_versions_are_compared_by_their_numbers(older: str, newer: str) -> None:
    assert is_at_least(newer, older)
    assert not is_at_least(older, newer)


@pytest.mark.parametrize("same", [("1.2", "1.2.0"), ("v1.2", "1.2"), ("1.2+local", "1.2")])
def test_versions_that_say_the_same_are_the_same(same: tuple[str, str]) -> None:
    assert is_at_least(*same)
    assert is_at_least(*reversed(same))


def test_a_model_that_is_not_loaded_takes_the_time_that_it_says_within_bounds() -> None:
    assert believed_load_ms(offer(load_s=50.0), POLICY) == 0
    assert believed_load_ms(offer(is_loaded=False, load_s=12.5), POLICY) == 12_500
    assert believed_load_ms(offer(is_loaded=False), POLICY) == 30_000
    slow, doubts = believed_offer(offer(is_loaded=False, load_s=86_400.0), POLICY, agent_version="1")
    assert believed_load_ms(slow, POLICY) == 3_600_000
    assert doubts == {Doubt.LOAD_TIME}


# Rates.


def test_a_rate_is_believed_up_to_what_others_make_likely() -> None:
    assert believed_rates(40.0, 400.0, POLICY, decode_max=inf, decode_typical=30.0) == (40.0, 400.0)
    assert believed_rates(1e7, 1e7, POLICY, decode_max=160.0, decode_typical=40.0) == (160.0, 16_000.0)
    assert believed_rates(1e7, 0.0, POLICY, decode_max=inf, decode_typical=40.0) == (RATE_MAX, 0.0)


def test_whoever_hides_how_fast_it_writes_is_not_believed_to_read_without_bound() -> None:
    assert believed_rates(0.0, 1e7, POLICY, decode_max=inf, decode_typical=40.0) == (0.0, 4_000.0)


# Strain.


def test_a_machine_at_ease_adds_nothing() -> None:
    easy = Capacity(
        slots=1,
        active=0,
        cpu=0.5,
        memory_bytes_free=4 * GIB,
        memory_bytes_total=16 * GIB,
        gpu_memory_bytes_used=75 * GIB,
        gpu_memory_bytes_total=80 * GIB,
        thermal="nominal",
    )

    assert believed_strain_ms(easy) == 0
    assert believed_strain_ms(Capacity(slots=1, active=0)) == 0


@pytest.mark.parametrize(
    "worse",
    [
        {"cpu": 1.0},
        {"memory_bytes_free": 1 * GIB},
        {"gpu_memory_bytes_used": 79 * GIB},
        {"thermal": "serious"},
    ],
)
def test_each_kind_of_strain_adds_to_the_cost(worse: dict[str, Any]) -> None:
    easy = {"memory_bytes_free": 8 * GIB, "memory_bytes_total": 16 * GIB, "gpu_memory_bytes_total": 80 * GIB}

    assert believed_strain_ms(Capacity(slots=1, active=0, **(easy | worse))) > 0


def test_every_thermal_word_of_the_wire_has_a_cost() -> None:
    assert set(THERMAL_WORDS) - {"nominal"} == set(THERMAL_MS)
    costs = [believed_strain_ms(Capacity(slots=1, active=0, thermal=word)) for word in THERMAL_WORDS]
    assert costs == sorted(set(costs))


@given(
    st.builds(
        Capacity,
        slots=st.integers(0, 2**20),
        active=st.integers(0, 2**20),
        tokens_max=st.integers(0, 2**40),
        tokens_active=st.integers(0, 2**40),
        memory_bytes_free=st.integers(0, 2**60),
        memory_bytes_total=st.integers(0, 2**60),
        gpu_memory_bytes_used=st.integers(0, 2**60),
        thermal=st.sampled_from(["", "fair", "odd"]),
    )
)
def test_what_is_believed_is_believed_again_unchanged(claimed: Capacity) -> None:
    believed, _ = believed_capacity(claimed, POLICY)

    assert believed_capacity(believed, POLICY) == (believed, NOTHING)
