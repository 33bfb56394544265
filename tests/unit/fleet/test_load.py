"""What a provider has left, between its own reports."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.fleet.health import COOL_DOWN_MS, FAILURE_MS, Health
from hushnet.coordinator.fleet.load import Load, Share
from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import Capacity, ModelCapacity

M, N = ModelId("m"), ModelId("n")


def test_what_was_dispatched_counts_at_once() -> None:
    load = Load(Capacity(slots=2, active=0))
    load.opened(M, tokens=10, output=5)

    assert load.slots_left(M, 2) == 1
    assert load.tokens_ahead == 5


def test_a_report_that_does_not_know_of_a_dispatch_yet_gives_no_slot_back() -> None:
    load = Load(Capacity(slots=2, active=0))
    load.opened(M, tokens=10, output=5)

    load.reported(Capacity(slots=2, active=0))

    assert load.slots_left(M, 2) == 1


def test_a_report_that_includes_our_attempts_does_not_count_them_twice() -> None:
    load = Load(Capacity(slots=2, active=0))
    load.opened(M, tokens=10, output=5)

    load.reported(Capacity(slots=2, active=1))

    assert load.slots_left(M, 2) == 1
    load.closed(M, tokens=10, output=5)
    assert load.slots_left(M, 2) == 2


def test_the_work_of_others_takes_slots_until_the_next_report() -> None:
    load = Load(Capacity(slots=4, active=3, queued=1))
    assert load.slots_left(M, 4) == 0

    load.reported(Capacity(slots=4, active=1))

    assert load.slots_left(M, 4) == 3


def test_slots_are_the_machines_and_the_models() -> None:
    load = Load(Capacity(slots=4, active=0))
    load.opened(M, tokens=1, output=1)
    load.opened(M, tokens=1, output=1)

    assert load.slots_left(M, 2) == 0
    assert load.slots_left(N, 4) == 2


def test_a_models_own_report_is_used_where_there_is_one() -> None:
    part = ModelCapacity(model=M, slots=2, active=2, queued=0)
    load = Load(Capacity(slots=8, active=2, per_model=(part,)))

    assert load.slots_left(M, 2) == 0
    assert load.slots_left(N, 2) == 2


def test_tokens_left_follow_the_same_rule() -> None:
    load = Load(Capacity(slots=4, active=1, tokens_active=100, tokens_max=1000))
    load.opened(M, tokens=300, output=100)

    assert load.tokens_left() == 600
    load.reported(Capacity(slots=4, active=1, tokens_active=150, tokens_max=1000))
    assert load.tokens_left() == 700
    assert Load(Capacity(slots=4, active=0)).tokens_left() is None


def test_a_refusal_for_want_of_room_lasts_until_news() -> None:
    load = Load(Capacity(slots=4, active=0))
    load.full.add(M)
    assert (load.slots_left(M, 4), load.slots_left(N, 4)) == (0, 4)

    load.reported(Capacity(slots=4, active=0))

    assert load.slots_left(M, 4) == 4


@given(st.lists(st.tuples(st.sampled_from([M, N]), st.integers(0, 100)), max_size=20), st.integers(0, 8))
def test_opening_and_closing_leaves_no_trace(attempts: list[tuple[ModelId, int]], slots: int) -> None:
    load = Load(Capacity(slots=slots, active=0, tokens_max=1000))
    for model, tokens in attempts:
        load.opened(model, tokens=tokens, output=tokens)
        assert load.slots_left(model, slots) >= 0
    for model, tokens in attempts:
        load.closed(model, tokens=tokens, output=tokens)

    assert load.slots_left(M, slots) == slots
    assert load.tokens_left() == 1000
    assert load.tokens_ahead == 0


def test_one_failure_costs_two_seconds_for_a_minute() -> None:
    health = Health()
    health.failed(100.0)

    assert health.penalty_ms(101.0) == FAILURE_MS
    assert health.penalty_ms(161.0) == 0


def test_two_failures_within_a_minute_rest_the_provider_for_five() -> None:
    health = Health()
    health.failed(100.0)
    health.failed(150.0)

    assert health.penalty_ms(151.0) == COOL_DOWN_MS
    assert health.penalty_ms(451.0) == 0


def test_failures_far_apart_are_no_pattern() -> None:
    health = Health()
    health.failed(100.0)
    health.failed(200.0)

    assert health.penalty_ms(201.0) == FAILURE_MS


def test_a_whole_answer_forgives() -> None:
    health = Health()
    health.failed(100.0)
    health.failed(101.0)

    assert health.succeeded(101.5)
    assert health.penalty_ms(102.0) == 0
    assert not health.succeeded(103.0), "there is nothing left to forgive"


def test_an_answer_that_began_before_the_last_failure_forgives_nothing() -> None:
    health = Health()
    health.failed(100.0)
    health.failed(101.0)

    assert not health.succeeded(100.5)
    assert health.penalty_ms(102.0) == COOL_DOWN_MS


def test_being_outrun_costs_two_seconds_for_a_minute_and_is_no_strike() -> None:
    health = Health()
    for at_s in (100.0, 101.0, 102.0):
        health.outrun(at_s)

    assert health.penalty_ms(103.0) == FAILURE_MS
    assert health.penalty_ms(163.0) == 0
    assert health.succeeded(110.0)
    assert health.penalty_ms(110.0) == 0


ATTEMPTS = st.lists(
    st.tuples(st.sampled_from([M, N]), st.integers(1, 50), st.integers(1, 50), st.booleans()), max_size=20
)


@given(ATTEMPTS, st.integers(0, 8))
def test_two_workers_see_the_same_room_whoever_dispatched_what(
    attempts: list[tuple[ModelId, int, int, bool]], busy: int
) -> None:
    """The worker with the link counts everything; another one is told all but its own part, which it knows itself."""
    report = Capacity(slots=64, active=busy, tokens_max=10_000, tokens_active=busy * 10)
    owner, share, elsewhere = Load(report), Share(), Load(Capacity(slots=64, active=0))
    for model, tokens, output, is_from_elsewhere in attempts:
        owner.opened(model, tokens=tokens, output=output)
        if is_from_elsewhere:
            share.opened(model, tokens=tokens, output=output)
            elsewhere.opened(model, tokens=tokens, output=output)
    owner.full.add(N)
    elsewhere.told(owner.beside(share))
    for model in (M, N):
        assert elsewhere.slots_left(model, 40) == owner.slots_left(model, 40)
    assert elsewhere.tokens_left() == owner.tokens_left()
    assert elsewhere.tokens_ahead == owner.tokens_ahead


def test_an_attempt_that_is_still_on_its_way_to_the_other_worker_is_counted_already() -> None:
    owner, elsewhere = Load(Capacity(slots=2, active=0)), Load(Capacity(slots=2, active=0))
    elsewhere.opened(M, tokens=10, output=5)
    elsewhere.told(owner.beside(Share()))
    assert elsewhere.slots_left(M, 2) == 1
