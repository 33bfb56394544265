"""The round trip of a link: smoothed, bounded, and not to be answered before it was asked."""

from __future__ import annotations

from hushnet.wire.round_trip import ROUND_TRIP_S_MAX, RoundTrip


def measured(*took_s: float) -> RoundTrip:
    trip, now_s = RoundTrip(), 100.0
    for number, each in enumerate(took_s):
        trip.ask(b"%d" % number, now_s)
        trip.answer(b"%d" % number, now_s + each)
        now_s += 100.0
    return trip


def test_nothing_is_known_before_the_first_answer() -> None:
    trip = RoundTrip()
    trip.ask(b"a", 1.0)

    assert trip.ms == 0


def test_the_first_answer_counts_whole_and_later_ones_for_an_eighth() -> None:
    assert measured(0.08).ms == 80
    assert measured(0.08, 0.16).ms == 90
    assert measured(*[0.08] * 5, 9.0).ms < 80 + 9000 // 8


def test_an_echo_of_nothing_asked_is_ignored() -> None:
    trip = RoundTrip()
    trip.answer(b"", 1.0)
    trip.answer(b"guess", 1.0)
    trip.ask(b"token", 2.0)
    trip.answer(b"guess", 2.0)
    assert trip.ms == 0
    trip.answer(b"token", 2.5)
    trip.answer(b"token", 9.0)
    assert trip.ms == 500


def test_whoever_does_not_answer_took_as_long_as_it_was_waited_for() -> None:
    trip = RoundTrip()
    trip.ask(b"a", 0.0)
    trip.ask(b"b", 5.0)

    assert trip.ms == 5_000


def test_a_question_is_due_at_once_and_then_now_and_then() -> None:
    trip = RoundTrip()
    assert trip.is_due(0.0, every_s=5.0)
    trip.ask(b"a", 0.0)
    assert not trip.is_due(4.9, every_s=5.0)
    assert trip.is_due(5.0, every_s=5.0)


def test_no_sample_is_longer_than_the_bound_or_shorter_than_nothing() -> None:
    assert measured(1e9).ms == ROUND_TRIP_S_MAX * 1000
    assert measured(-5.0).ms == 0
