"""A provider that comes and goes is set back, and forgiven once it has stayed."""

from __future__ import annotations

from itertools import pairwise

from hushnet.coordinator.fleet.steadiness import JOINS_FREE, JOINS_MAX, UNSTEADY_MS_MAX, WINDOW_S, Steadiness


def joined_every(seconds: float, times: int) -> tuple[Steadiness, list[int]]:
    steadiness, penalties = Steadiness(), []
    for number in range(times):
        steadiness.joined(number * seconds, link=number)
        penalties.append(steadiness.penalty_ms(number * seconds))
    return steadiness, penalties


def test_a_few_joins_a_minute_cost_nothing() -> None:
    assert joined_every(1.0, JOINS_FREE)[1] == [0] * JOINS_FREE
    assert not any(joined_every(WINDOW_S / JOINS_FREE + 1, 50)[1])


def test_each_join_beyond_costs_twice_the_one_before_up_to_a_bound() -> None:
    _, penalties = joined_every(1.0, JOINS_MAX)
    growing = penalties[JOINS_FREE:]

    assert growing[0] > 0
    assert all(after == min(2 * before, UNSTEADY_MS_MAX) for before, after in pairwise(growing))
    assert growing[-1] == UNSTEADY_MS_MAX


def test_whoever_stays_is_forgiven_step_by_step() -> None:
    steadiness, penalties = joined_every(5.0, 6)
    last_s = 25.0

    assert steadiness.penalty_ms(last_s + WINDOW_S - 20) < penalties[-1]
    assert steadiness.penalty_ms(last_s + WINDOW_S + 1) == 0


def test_too_many_joins_are_refused_until_the_window_has_passed() -> None:
    steadiness, _ = joined_every(0.1, JOINS_MAX)

    assert not steadiness.may_join(JOINS_MAX * 0.1)
    assert steadiness.may_join(WINDOW_S + 0.1)


def test_news_of_the_same_link_is_no_join() -> None:
    steadiness = Steadiness()
    for _ in range(100):
        steadiness.joined(1.0, link=7)

    assert steadiness.joins(1.0) == 1
