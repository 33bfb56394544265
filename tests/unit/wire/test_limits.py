"""The bounds fit each other, and the token bucket keeps its pace."""

from __future__ import annotations

from hushnet.sealing import limits as sealing
from hushnet.sealing.records import FINAL
from hushnet.sealing.records.layout import CIPHERTEXT_MAX
from hushnet.wire.codec import DATA_HEADER_BYTES
from hushnet.wire.limits import (
    CANCEL_CREDIT_BYTES,
    ENVELOPE_BYTES_MAX,
    ENVELOPE_PART_BYTES,
    MESSAGE_BYTES_MAX,
    WAITING_BYTES_MAX,
    LinkLimits,
    Pace,
)

LONGEST_RECORD = sealing.RECORD_HEADER + sealing.CLEAR_MAX + CIPHERTEXT_MAX


def test_the_longest_record_and_a_part_fit_one_message() -> None:
    assert LONGEST_RECORD + DATA_HEADER_BYTES <= MESSAGE_BYTES_MAX
    assert ENVELOPE_PART_BYTES + DATA_HEADER_BYTES <= MESSAGE_BYTES_MAX


def test_the_longest_envelope_for_one_provider_travels() -> None:
    entry = 52 + sealing.WRAP_MAX
    assert 8 + sealing.HEADER_MAX + entry + 4 + sealing.BODY_MAX <= ENVELOPE_BYTES_MAX


def test_a_cancel_lets_waiting_records_and_a_final_one_leave() -> None:
    assert FINAL
    assert WAITING_BYTES_MAX + LONGEST_RECORD < CANCEL_CREDIT_BYTES


def test_a_stalled_or_silent_link_is_given_up_after_three_heartbeats() -> None:
    limits = LinkLimits()
    assert limits.heartbeat_missing_s == 3 * limits.heartbeat_s
    assert limits.ping_reply_s <= limits.ping_idle_s


def test_a_pace_allows_a_burst_and_then_its_rate() -> None:
    pace = Pace(2.0, burst=3, now_s=0.0)
    assert [pace.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [pace.take(0.5), pace.take(0.5)] == [True, False]
    assert [pace.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_pace_says_when_it_is_ready() -> None:
    pace = Pace(3.0, burst=1, now_s=1e6)
    for _ in range(50):
        assert pace.take(pace.ready_s)
    assert Pace(0.0, burst=1, now_s=7.0).ready_s == 7.0
    spent = Pace(0.0, burst=1, now_s=7.0)
    spent.take(7.0)
    assert spent.ready_s == float("inf")


def test_what_is_given_back_can_be_taken_again_but_not_hoarded() -> None:
    pace = Pace(0.0, burst=1, now_s=0.0)
    for _ in range(5):
        pace.give_back()
    assert [pace.take(0.0), pace.take(0.0)] == [True, False]


def test_a_clock_that_jumps_back_gives_nothing() -> None:
    pace = Pace(1.0, burst=1, now_s=10.0)
    assert pace.take(10.0)
    assert not pace.take(0.0)
    assert not pace.take(0.5)
