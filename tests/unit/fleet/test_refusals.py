"""Refusals for want of room: what they cost a provider whose own report leaves some."""

from __future__ import annotations

from hushnet.coordinator.fleet.health import COOL_DOWN_MS, COOL_DOWN_S, FAILURE_MS, REFUSALS_APART_S, REST_S, Health


def test_one_refusal_costs_little_and_a_minute_forgives_it() -> None:
    health = Health()
    health.refused(100.0)

    assert health.penalty_ms(100.0) == FAILURE_MS
    assert health.penalty_ms(161.0) == 0


def test_a_burst_is_one_refusal() -> None:
    health = Health()
    for number in range(9):
        health.refused(100.0 + number * REFUSALS_APART_S / 10)

    assert health.penalty_ms(102.0) == FAILURE_MS


def test_three_within_a_minute_rest_a_provider_for_one() -> None:
    health = Health()
    for at_s in (100.0, 105.0, 110.0):
        health.refused(at_s)

    assert health.penalty_ms(110.0 + REST_S - 1.0) == COOL_DOWN_MS
    assert health.penalty_ms(110.0 + REST_S) < COOL_DOWN_MS


def test_three_that_are_far_apart_rest_nobody() -> None:
    health = Health()
    for at_s in (100.0, 140.0, 180.0):
        health.refused(at_s)

    assert health.penalty_ms(180.0) == 2 * FAILURE_MS


def test_refusals_shorten_no_rest() -> None:
    health = Health()
    health.failed(100.0)
    health.failed(101.0)
    for at_s in (102.0, 107.0, 112.0):
        health.refused(at_s)

    assert health.penalty_ms(101.0 + COOL_DOWN_S - 1.0) == COOL_DOWN_MS


def test_a_whole_answer_that_began_after_the_refusals_forgives_them() -> None:
    health = Health()
    for at_s in (100.0, 105.0, 110.0):
        health.refused(at_s)

    assert not health.succeeded(109.0)
    assert health.penalty_ms(111.0) == COOL_DOWN_MS
    assert health.succeeded(110.0)
    assert health.penalty_ms(111.0) == 0
