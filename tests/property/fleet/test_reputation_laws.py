"""Laws of a provider's record: bounded, monotone, forgetting, and fair to newcomers."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hushnet.coordinator.fleet.reputation.evidence import HOUR_MS, Measure, Tally
from hushnet.coordinator.fleet.reputation.latency import Expected, punctuality
from hushnet.coordinator.fleet.reputation.outcomes import Outcome, Service
from hushnet.coordinator.fleet.reputation.record import (
    FALLBACK_MS,
    MODELS_MAX,
    REDO_MS,
    Evidence,
    Record,
    record_ms,
    score_of,
)
from hushnet.coordinator.fleet.reputation.speed import (
    ANSWERS_MAX,
    TRUST_OVER_SEEN,
    Speed,
    believed_rate,
    decode_seconds,
    seen_rate,
)
from hushnet.coordinator.fleet.reputation.uptime import Uptime, UptimeClass, uptime_class
from hushnet.foundation.ids import ModelId

MODEL = ModelId("m")
BEGAN_MS = 1_763_690_000_000
DAY_S = 86_400.0
FAILURES = [outcome for outcome in Outcome if outcome.failure_weight]
NEUTRAL = [outcome for outcome in Outcome if not outcome.is_counted]

outcomes = st.sampled_from(Outcome)
seconds = st.floats(0.0, 1e6, allow_nan=False)
services = st.builds(
    Service,
    prompt_tokens=st.integers(0, 10**6),
    output_tokens=st.integers(0, 10**6),
    total_s=seconds,
    first_s=st.none() | seconds,
)
forecasts = st.builds(Expected, seconds, st.floats(1e-5, 10.0), st.integers(0, 256))
events = st.lists(
    st.one_of(
        st.tuples(st.just("note"), outcomes),
        st.tuples(st.just("service"), st.tuples(services, forecasts)),
        st.tuples(st.just("challenge"), st.booleans()),
        st.tuples(st.just("arrived"), st.booleans()),
        st.tuples(st.just("left"), st.tuples(st.booleans(), st.booleans())),
        st.tuples(st.just("pass"), st.floats(0.0, 40 * DAY_S)),
    ),
    max_size=60,
)


def score(record: Record, now_s: float = 0.0) -> float:
    return score_of(*record.components(now_s))


def play(record: Record, story: list, now_s: float = 0.0) -> float:
    for kind, what in story:
        if kind == "note":
            record.note(MODEL, what, now_s)
        elif kind == "service":
            record.note_service(MODEL, *what, busy=3, now_s=now_s)
        elif kind == "challenge":
            record.note_challenge(is_answered=what, now_s=now_s)
        elif kind == "arrived":
            record.arrived(now_s, is_flap=what)
        elif kind == "left":
            record.left(now_s, is_announced=what[0], is_flap=what[1])
        else:
            now_s += what
    return now_s


@given(events)
def test_whatever_happens_a_score_is_a_share_and_its_cost_is_bounded(story: list) -> None:
    record = Record(BEGAN_MS)
    now_s = play(record, story)
    for component in record.components(now_s):
        assert 0.0 <= component.value <= 1.0
        assert component.good >= 0.0
        assert component.bad >= 0.0
    assert 0.0 <= score(record, now_s) <= 1.0
    standing = record.standing(MODEL, now_s)
    assert 0 <= standing.record_ms <= REDO_MS + FALLBACK_MS
    assert math.isfinite(standing.believed(40.0))
    assert 0.0 < standing.believed(40.0) <= 40.0


@given(events)
def test_a_record_that_was_stored_and_read_again_says_the_same(story: list) -> None:
    record = Record(BEGAN_MS)
    now_s = play(record, story)
    document = msgspec.json.encode(record.snapshot(now_s))
    again = Record(BEGAN_MS, msgspec.json.decode(document, type=Evidence))
    assert score(again, now_s) == pytest.approx(score(record, now_s))
    assert again.standing(MODEL, now_s) == record._stand(MODEL, now_s)


@given(events, st.sampled_from(FAILURES), st.integers(1, 30))
def test_a_failure_never_raises_a_score_and_a_second_lowers_it_further(
    story: list, failure: Outcome, times: int
) -> None:
    record = Record(BEGAN_MS)
    now_s = play(record, story)
    before = score(record, now_s)
    for _ in range(times):
        record.note(MODEL, failure, now_s)
        after = score(record, now_s)
        assert after < before or (after == before and after < 0.2)
        before = after


@given(events)
def test_a_whole_answer_never_lowers_a_score(story: list) -> None:
    record = Record(BEGAN_MS)
    now_s = play(record, story)
    before = score(record, now_s)
    record.note(MODEL, Outcome.SERVED, now_s)
    assert score(record, now_s) >= before - 1e-12


@given(events, st.sampled_from(NEUTRAL))
def test_what_users_and_we_cause_leaves_the_record_as_it_was(story: list, outcome: Outcome) -> None:
    record = Record(BEGAN_MS)
    now_s = play(record, story)
    before = msgspec.json.encode(record.snapshot(now_s))
    record.note(MODEL, outcome, now_s)
    assert msgspec.json.encode(record.snapshot(now_s)) == before


@given(st.lists(st.sampled_from([outcome for outcome in Outcome if outcome.is_counted]), max_size=40))
def test_after_long_enough_everybody_is_a_newcomer_again(story: list[Outcome]) -> None:
    record, newcomer = Record(BEGAN_MS), Record(BEGAN_MS)
    for outcome in story:
        record.note(MODEL, outcome, 0.0)
    gaps = [abs(score(record, day * DAY_S) - score(newcomer)) for day in (0, 2, 5, 12, 25)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-5


@given(
    st.lists(st.tuples(st.sampled_from([Outcome.SERVED, *FAILURES]), st.integers(0, 48 * 3_600)), max_size=30),
    st.randoms(use_true_random=False),
)
def test_below_its_bound_the_order_of_evidence_does_not_matter(story: list, shuffler) -> None:
    told, shuffled = Record(BEGAN_MS), Record(BEGAN_MS)
    for outcome, at_s in story:
        told.note(MODEL, outcome, at_s)
    shuffler.shuffle(story)
    for outcome, at_s in story:
        shuffled.note(MODEL, outcome, at_s)
    assert score(told, 48 * 3_600.0) == pytest.approx(score(shuffled, 48 * 3_600.0))
    assert told.uptime(MODEL, 48 * 3_600.0)[1] == shuffled.uptime(MODEL, 48 * 3_600.0)[1]


def test_a_newcomer_is_neither_trusted_nor_shunned() -> None:
    newcomer, proven, failing = Record(BEGAN_MS), Record(BEGAN_MS), Record(BEGAN_MS)
    for _ in range(50):
        proven.note(MODEL, Outcome.SERVED, 0.0)
        failing.note(MODEL, Outcome.SERVER_ERROR, 0.0)
    assert score(failing) < 0.5 < score(newcomer) < score(proven)
    assert newcomer.standing(MODEL, 0.0).record_ms == 298, "docs/reputation.md says so"
    newcomer.note(MODEL, Outcome.SERVER_ERROR, 0.0)
    assert score(newcomer) > 0.9


def test_a_long_good_past_does_not_outweigh_an_hour_of_failures() -> None:
    record = Record(BEGAN_MS)
    for _ in range(20_000):
        record.note(MODEL, Outcome.SERVED, 0.0)
    for _ in range(200):
        record.note(MODEL, Outcome.SERVER_ERROR, 3_600.0)
    assert score(record, 3_600.0) < 0.5


def test_an_announced_absence_counts_neither_way_and_a_silent_one_does() -> None:
    polite, rude = Record(BEGAN_MS), Record(BEGAN_MS)
    for record, is_announced in ((polite, True), (rude, False)):
        record.arrived(0.0)
        record.left(3_600.0, is_announced=is_announced, is_flap=not is_announced)
    assert score(polite, 12 * 3_600.0) > score(Record(BEGAN_MS), 0.0) - 1e-9
    assert score(rude, 12 * 3_600.0) < score(polite, 12 * 3_600.0)


def test_a_link_that_flaps_costs_more_than_one_that_holds() -> None:
    steady, flapping = Record(BEGAN_MS), Record(BEGAN_MS)
    steady.arrived(0.0)
    for second in range(600):
        flapping.arrived(float(second))
        flapping.left(second + 0.5, is_announced=False, is_flap=True)
    assert flapping.standing(MODEL, 600.0).record_ms > steady.standing(MODEL, 600.0).record_ms + 1_000


# Several processes.


@given(events, events)
def test_what_two_processes_have_seen_adds_up_in_any_order(one: list, two: list) -> None:
    first, second = Record(BEGAN_MS), Record(BEGAN_MS)
    now_s = max(play(first, one), play(second, two))
    documents = [msgspec.json.encode(record.snapshot(now_s)) for record in (first, second)]

    def joined(order: list[bytes]) -> Evidence:
        evidence = Evidence.none()
        for document in order:
            evidence.join(msgspec.json.decode(document, type=Evidence))
        return evidence

    there, back = (Record(BEGAN_MS, joined(order)) for order in (documents, documents[::-1]))
    assert there.uptime(MODEL, now_s) == back.uptime(MODEL, now_s)
    # Bounds on weight make the newer evidence count more: below them sums are exact.
    assume(all(part.good + part.bad < 99.0 for part in there.components(now_s)))
    assert score(there, now_s) == pytest.approx(score(back, now_s))


def test_a_record_of_a_clock_that_was_ahead_is_not_deaf_to_news() -> None:
    ahead = Record(BEGAN_MS + 10 * 365 * 86_400_000)
    for _ in range(100):
        ahead.note(MODEL, Outcome.SERVER_ERROR, 0.0)
    record = Record(BEGAN_MS, ahead.snapshot(0.0).clamp(BEGAN_MS))
    before = score(record)
    record.note(MODEL, Outcome.SERVED, 60.0)
    assert score(record, 60.0) > before
    assert record.uptime(MODEL, 60.0)[0] == (1, 0)


def test_models_of_one_provider_are_remembered_up_to_a_bound() -> None:
    record = Record(BEGAN_MS)
    for number in range(4 * MODELS_MAX):
        record.note(ModelId(f"m{number}"), Outcome.SERVED, 0.0)
    assert len(record.own.models) == MODELS_MAX
    assert record.uptime(ModelId(f"m{4 * MODELS_MAX - 1}"), 0.0)[0] == (1, 0)
    assert len(msgspec.json.encode(record.snapshot(0.0))) < 65_536


# The parts.


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6), st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_measures_mean_is_a_share_at_any_time(good: float, bad: float, at_ms: int, now_ms: int) -> None:
    measure, tally = Measure(prior=0.9, prior_weight=3.0, weight_max=50.0), Tally()
    measure.add(tally, good=good, bad=bad, now_ms=at_ms)
    assert tally.good + tally.bad <= 50.0 + 1e-9
    assert 0.0 <= measure.mean(now_ms, tally) <= 1.0


def test_evidence_halves_with_its_half_life() -> None:
    measure, tally = Measure(prior=0.9, prior_weight=3.0), Tally()
    measure.add(tally, good=8.0, bad=4.0, now_ms=BEGAN_MS)
    assert measure.weigh(BEGAN_MS + int(24 * HOUR_MS), tally) == pytest.approx((4.0, 2.0))
    assert measure.mean(BEGAN_MS) == 0.9


def test_time_that_is_counted_in_pieces_weighs_as_much_as_in_one() -> None:
    measure, pieces, one = Measure(prior=0.9, prior_weight=3.0), Tally(at_ms=BEGAN_MS), Tally(at_ms=BEGAN_MS)
    for step in range(1, 49):
        measure.add(pieces, good=measure.lasting(3_600_000), now_ms=BEGAN_MS + step * 3_600_000)
    measure.add(one, good=measure.lasting(48 * 3_600_000), now_ms=BEGAN_MS + 48 * 3_600_000)
    assert pieces.good == pytest.approx(one.good)
    assert one.good < 24 / math.log(2)


@given(services, forecasts)
def test_punctuality_is_a_share_and_later_is_never_better(service: Service, forecast: Expected) -> None:
    kept = punctuality(service, forecast)
    assert 0.0 <= kept <= 1.0
    slower = Service(
        prompt_tokens=service.prompt_tokens,
        output_tokens=service.output_tokens,
        total_s=2 * service.total_s + 1,
        first_s=None if service.first_s is None else 2 * service.first_s + 1,
    )
    assert punctuality(slower, forecast) <= kept


@given(st.lists(st.tuples(st.integers(32, 10_000), st.floats(0.05, 1_000.0)), min_size=1, max_size=80))
def test_a_seen_rate_lies_between_the_rates_that_were_seen(answers: list[tuple[int, float]]) -> None:
    speed = Speed()
    for tokens, lasted_s in answers:
        speed.add(tokens, lasted_s, now_ms=BEGAN_MS)
    rates = [tokens / lasted_s for tokens, lasted_s in answers]
    rate, weight = seen_rate(BEGAN_MS, speed)
    assert min(rates) * 0.999 <= rate <= max(rates) * 1.001
    assert weight <= ANSWERS_MAX + 1e-9


@given(st.floats(0.0, 1e5), st.floats(0.0, 1e5), st.floats(0.0, 40.0))
def test_nobody_is_believed_to_be_faster_than_it_says_nor_than_it_was_seen(
    reported: float, seen: float, answers: float
) -> None:
    believed = believed_rate(reported, seen, answers)
    assert math.isfinite(believed)
    if reported > 0:
        assert believed <= reported
    if answers >= 4.0 and seen > 0:
        assert believed <= TRUST_OVER_SEEN * seen


def test_an_answer_that_is_held_back_and_let_go_at_once_seems_no_faster() -> None:
    honest = Service(prompt_tokens=0, output_tokens=400, total_s=10.0, first_s=0.5)
    burst = Service(prompt_tokens=0, output_tokens=400, total_s=10.0, first_s=9.99)
    rates = [
        service.output_tokens / (decode_seconds(service, first_s=0.25, busy=0) or 0) for service in (honest, burst)
    ]
    assert rates[1] == pytest.approx(rates[0], rel=0.1)


def test_neighbours_in_a_batch_are_no_fault_of_the_provider() -> None:
    alone = Service(prompt_tokens=0, output_tokens=100, total_s=2.5, first_s=0.0)
    beside = Service(prompt_tokens=0, output_tokens=100, total_s=2.5 * (1 + 0.27 * 3), first_s=0.0)
    assert decode_seconds(alone, first_s=0.0, busy=0) == pytest.approx(decode_seconds(beside, first_s=0.0, busy=3) or 0)


@pytest.mark.parametrize(
    ("served", "failed", "expected", "costs_more_than"),
    [
        (0, 0, UptimeClass.UNRATED, 0),
        (0, 99, UptimeClass.UNRATED, 0),
        (99, 0, UptimeClass.UNRATED, 0),
        (100, 0, UptimeClass.NORMAL, 0),
        (95, 5, UptimeClass.NORMAL, 0),
        (949, 51, UptimeClass.DEGRADED, 0),
        (94, 6, UptimeClass.DEGRADED, 0),
        (80, 20, UptimeClass.DEGRADED, 0),
        (799, 201, UptimeClass.FALLBACK, FALLBACK_MS),
        (0, 100, UptimeClass.FALLBACK, FALLBACK_MS),
    ],
)
def test_uptime_has_the_class_that_openrouter_gives_it(
    served: int, failed: int, expected: UptimeClass, costs_more_than: int
) -> None:
    uptime = Uptime.empty()
    for count, is_served in ((served, True), (failed, False)):
        for _ in range(count):
            uptime.add(is_served=is_served, now_ms=BEGAN_MS)
    assert uptime_class(*uptime.day(BEGAN_MS)) is expected
    assert record_ms(1.0, expected) == costs_more_than


@given(st.lists(st.tuples(st.integers(0, 40 * 24), st.booleans()), max_size=200), st.integers(0, 40 * 24))
def test_a_window_counts_what_lies_in_it_and_nothing_else(marks: list[tuple[int, bool]], end: int) -> None:
    uptime, began = Uptime.empty(), 480_000 * 3_600_000
    now_hour = max([end, *(hour for hour, _ in marks)])
    for hour, is_served in sorted(marks):
        uptime.add(is_served=is_served, now_ms=began + hour * 3_600_000)
    in_day = [is_served for hour, is_served in marks if hour > now_hour - 24]
    day = (480_000 + now_hour) // 24
    in_month = [is_served for hour, is_served in marks if (480_000 + hour) // 24 > day - 30]
    now_ms = began + now_hour * 3_600_000
    assert uptime.day(now_ms) == (sum(in_day), len(in_day) - sum(in_day))
    assert uptime.month(now_ms) == (sum(in_month), len(in_month) - sum(in_month))
