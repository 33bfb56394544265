"""Percentiles by nearest rank; ratios and differences within a round, never across rounds."""

import pytest
from bench.relay.spread import differences, percentiles, ratios, spread

ROUNDS = [{"ours": 20.0, "nginx": 10.0}, {"ours": 60.0, "nginx": 20.0}, {"nginx": 5.0}]


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles([*range(1, 101)]) == (50, 95, 99)
    assert percentiles([7.0]) == (7.0, 7.0, 7.0)
    assert percentiles([]) == (0.0, 0.0, 0.0)


def test_a_spread_is_the_median_between_the_extremes() -> None:
    found = spread([3.0, 1.0, 2.0])
    assert (found.middle, found.low, found.high) == (2.0, 1.0, 3.0)


def test_a_ratio_is_taken_inside_a_round_and_rounds_without_both_are_left_out() -> None:
    assert ratios(ROUNDS, "ours", "nginx") == [2.0, 3.0]
    assert differences(ROUNDS, "ours", "nginx") == [10.0, 40.0]


def test_a_peer_that_cost_nothing_gives_no_ratio() -> None:
    assert ratios([{"ours": 1.0, "nginx": 0.0}], "ours", "nginx") == []


@pytest.mark.parametrize("values", [[5.0, 1.0], [1.0, 5.0]])
def test_the_order_of_values_does_not_matter(values: list[float]) -> None:
    assert percentiles(values, (50, 100)) == (1.0, 5.0)
