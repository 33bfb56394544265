"""What a fleet believes of a speed that it has seen, whatever the provider says when an answer ends."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.reputation.outcomes import Outcome, Service
from hushnet.coordinator.fleet.reputation.record import Evidence, ModelEvidence
from hushnet.coordinator.fleet.reputation.speed import PROMPT_TOKENS_MIN, Speed
from hushnet.coordinator.fleet.reputation.uptime import Uptime
from hushnet.coordinator.routing.model import RouteRequest
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import Capacity, ModelOffer
from support.live_fleet import live

MODEL: Final = ModelId("hush-test")
SLOTS: Final = 64
OFFER: Final = ModelOffer(model=MODEL, context_tokens=32_768, slots=SLOTS)
OUTPUT: Final = 250
ANSWERS: Final = 6


def claim(active: int = 0) -> Capacity:
    return Capacity(slots=SLOTS, active=active, decode_tokens_s=160.0, prefill_tokens_s=1000.0)


def believed_after(*, before: int = 0, at_the_end: int = 0, seconds: float = 25.0) -> float:
    """Return the decode rate that is believed after answers of 10 tokens a second, with so many `active` reported."""
    clock = ManualClock()
    fleet = Fleet(clock)
    provider = fleet_of(fleet, claim(before))
    request = RouteRequest(model=MODEL, prompt_tokens_max=300, output_tokens_max=OUTPUT)
    for _ in range(ANSWERS):
        slot = fleet.take(provider.provider_id, request)
        clock.advance(seconds)
        fleet.reported(provider, claim(at_the_end))
        service = Service(prompt_tokens=100, output_tokens=OUTPUT, total_s=seconds + 0.1, first_s=0.1)
        fleet.note_outcome(slot, Outcome.SERVED, service)
        slot.release()
        fleet.reported(provider, claim(before))
    clock.advance(120.0)
    fleet.refresh(provider)
    return fleet.view(MODEL).index[provider.provider_id].decode_tokens_s


def fleet_of(fleet: Fleet, capacity: Capacity) -> LiveProvider:
    provider = live(0, (OFFER,), capacity)
    fleet.join(provider)
    return provider


def test_neighbours_that_are_reported_only_when_an_answer_ends_excuse_nothing() -> None:
    assert believed_after(at_the_end=SLOTS) == pytest.approx(12.5, rel=0.02)


def test_neighbours_that_were_shown_when_the_request_was_sent_excuse_what_they_cost() -> None:
    assert believed_after(before=10, at_the_end=11) == pytest.approx(12.5 * (1 + 0.27 * 10), rel=0.02)


def test_a_slot_knows_what_else_this_coordinator_has_open_there() -> None:
    fleet = Fleet(ManualClock())
    provider = fleet_of(fleet, claim())
    request = RouteRequest(model=MODEL, prompt_tokens_max=300, output_tokens_max=OUTPUT)
    first, second, third = (fleet.take(provider.provider_id, request) for _ in range(3))
    assert (first.beside, third.beside) == (2, 2)
    second.release()
    assert first.beside == 1
    assert second.beside == 2
    fleet.reported(provider, claim(active=40))
    assert first.beside == 1


def test_work_of_others_that_was_there_at_the_start_counts_with_our_own() -> None:
    fleet = Fleet(ManualClock())
    provider = fleet_of(fleet, claim(active=5))
    request = RouteRequest(model=MODEL, prompt_tokens_max=300, output_tokens_max=OUTPUT)
    first = fleet.take(provider.provider_id, request)
    fleet.take(provider.provider_id, request)
    assert first.beside == 6
    fleet.reported(provider, claim(active=2))
    assert first.beside == 1


def prefill_after(
    service: Service, *, answers: int = ANSWERS, claimed: float = 4000.0, is_loaded: bool = True, load_s: float = 0.0
) -> float:
    """Return the prefill rate that is believed after so many answers like `service` of a provider that claims another."""
    clock = ManualClock()
    fleet = Fleet(clock)
    capacity = Capacity(slots=SLOTS, active=0, decode_tokens_s=40.0, prefill_tokens_s=claimed)
    offer = ModelOffer(model=MODEL, context_tokens=32_768, slots=SLOTS, is_loaded=is_loaded, load_s=load_s)
    provider = live(0, (offer,), capacity)
    fleet.join(provider)
    request = RouteRequest(model=MODEL, prompt_tokens_max=12_000, output_tokens_max=OUTPUT)
    for _ in range(answers):
        slot = fleet.take(provider.provider_id, request)
        clock.advance(service.total_s)
        fleet.note_outcome(slot, Outcome.SERVED, service)
        slot.release()
    clock.advance(120.0)
    fleet.refresh(provider)
    return fleet.view(MODEL).index[provider.provider_id].prefill_tokens_s


def read_at(tokens_s: float, *, prompt: int = 4000) -> Service:
    first_s = prompt / tokens_s
    return Service(prompt_tokens=prompt, output_tokens=OUTPUT, total_s=first_s + OUTPUT / 40.0, first_s=first_s)


def test_a_prefill_rate_is_believed_up_to_a_quarter_more_than_was_seen() -> None:
    assert prefill_after(read_at(1000.0)) == pytest.approx(1250.0)
    assert prefill_after(read_at(4000.0)) == pytest.approx(4000.0)
    assert prefill_after(read_at(1000.0), claimed=0.0) == pytest.approx(1000.0)


def test_a_prefill_rate_is_believed_until_enough_long_prompts_were_seen() -> None:
    assert prefill_after(read_at(1000.0), answers=3) == 4000.0
    assert prefill_after(read_at(1000.0, prompt=PROMPT_TOKENS_MIN - 1)) == 4000.0
    assert prefill_after(Service(prompt_tokens=4000, output_tokens=OUTPUT, total_s=10.0)) == 4000.0


def test_a_load_that_was_announced_excuses_a_late_answer_and_a_pretended_one_does_not() -> None:
    late = read_at(400.0)
    assert prefill_after(late, is_loaded=False, load_s=8.0) == 4000.0
    assert prefill_after(late, is_loaded=False, load_s=0.01) == pytest.approx(500.0)


def test_a_record_without_a_prefill_rate_is_read_and_one_with_it_by_an_older_version() -> None:
    class Older(msgspec.Struct, array_like=True):
        uptime: Uptime
        speed: Speed

    speed = Speed(100.0, 10.0, 5.0, 1)
    old = msgspec.json.encode(Older(Uptime.empty(), speed))
    assert msgspec.json.decode(old, type=ModelEvidence) == ModelEvidence(Uptime.empty(), speed, Speed())
    new = msgspec.json.encode(ModelEvidence(Uptime.empty(), speed, Speed(4000.0, 4.0, 1.0, 1)))
    assert msgspec.json.decode(new, type=Older).speed == speed


def test_what_two_processes_have_seen_of_prompts_is_added_up() -> None:
    one, two = Evidence.none(), Evidence.none()
    one.of(MODEL).prefill.add(4000, 4.0, now_ms=1)
    two.of(MODEL).prefill.add(2000, 1.0, now_ms=1)
    one.join(two)
    joined = one.of(MODEL).prefill
    assert (joined.tokens, joined.seconds, joined.answers) == pytest.approx((6000.0, 5.0, 2.0))
    assert one.clamp(0).of(MODEL).prefill.at_ms == 0
