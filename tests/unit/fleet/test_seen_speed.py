"""What a fleet believes of a speed that it has seen, whatever the provider says when an answer ends."""

from __future__ import annotations

from typing import Final

import pytest

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.fleet.reputation.outcomes import Outcome, Service
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
