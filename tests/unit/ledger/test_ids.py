"""Fact ids: ordered, disjoint, never backwards, never beyond the lease."""

from __future__ import annotations

import pytest

from hushnet.coordinator.ledger.ids import EPOCH_MS, ID_MAX, FactIds, first_id_at, id_ms
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import CapacityError

FOREVER = 1 << 62


def ids(clock: ManualClock, *, lane: int = 0, last_fact: int = 0, until_ms: int = FOREVER) -> FactIds:
    return FactIds(lane, clock, last_fact=last_fact, until_ms=until_ms)


def test_an_id_says_when_and_on_which_lane() -> None:
    clock = ManualClock()

    id_ = ids(clock, lane=127).next()

    assert id_ms(id_) == clock.now_ms()
    assert id_ >> 14 & 0xFF == 127
    assert id_ % 2 == 0


def test_ids_ascend_through_a_full_millisecond_and_a_clock_that_runs_backwards() -> None:
    clock = ManualClock()
    source = ids(clock)
    made = [source.next() for _ in range(8192 + 3)]
    clock._now_ms -= 5000
    made += [source.next() for _ in range(3)]

    assert made == sorted(set(made))
    assert id_ms(made[8191]) == clock.now_ms() + 5000
    assert id_ms(made[8192]) == clock.now_ms() + 5001


def test_a_new_claim_goes_on_after_the_last_fact_in_the_books() -> None:
    clock = ManualClock()
    last = ids(clock, lane=5).next() | 1

    assert ids(clock, lane=0, last_fact=last).next() > last


def test_no_id_reaches_beyond_the_lease() -> None:
    clock = ManualClock()
    source = ids(clock, until_ms=clock.now_ms())
    source.next()
    clock.advance(0.001)

    with pytest.raises(CapacityError) as caught:
        source.next()

    assert caught.value.error_code == "busy"
    source.extend(clock.now_ms())
    assert id_ms(source.next()) == clock.now_ms()


def test_ids_fit_63_bits_for_a_lifetime() -> None:
    in_2090 = EPOCH_MS + 65 * 365 * 86_400_000

    assert first_id_at(in_2090) < ID_MAX
    assert id_ms(first_id_at(in_2090)) == in_2090
    assert first_id_at(0) == 0
