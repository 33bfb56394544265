"""What a fleet remembers of providers that make up names, and of identities that come and go, is bounded."""

from __future__ import annotations

from typing import Final

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.reputation.book import RecordBook
from hushnet.coordinator.fleet.reputation.outcomes import Outcome
from hushnet.coordinator.fleet.reputation.record import MODELS_MAX, STANDINGS_MAX, Record
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import Capacity, ModelOffer
from support.live_fleet import live

IDLE: Final = Capacity(slots=1, active=0)
MODEL: Final = ModelId("hush-test")


def offers(*models: str) -> list[ModelOffer]:
    return [ModelOffer(model=ModelId(model), context_tokens=4096, slots=1) for model in models]


def test_only_models_on_offer_or_with_evidence_have_a_standing() -> None:
    clock = ManualClock()
    fleet = Fleet(clock)
    provider = live(0, offers(MODEL), IDLE)
    fleet.join(provider)
    provider.record.note(MODEL, Outcome.SERVED, clock.monotonic_s())
    for frame in range(50):
        names = [f"name-{frame}-{number}" for number in range(64)]
        fleet.offered(provider, offers(*names))
        assert provider.record._standings.keys() == {MODEL, *names}
    fleet.drained(provider)
    fleet.leave(provider)
    assert provider.record._standings.keys() == {MODEL}


def test_standings_are_bounded_whoever_asks_for_them() -> None:
    record = Record()
    for number in range(STANDINGS_MAX + 10):
        record.standing(ModelId(f"m{number}"), 0.0)
        assert len(record._standings) <= STANDINGS_MAX
    for number in range(MODELS_MAX + 10):
        record.note(ModelId(f"known-{number}"), Outcome.SERVED, 0.0)
        record.standing(ModelId(f"known-{number}"), 0.0)
    record.keep_standings(())
    assert len(record._standings) == MODELS_MAX


def test_identities_that_come_and_go_push_out_nobody_who_is_here() -> None:
    clock = ManualClock()
    fleet = Fleet(clock, remembered_max=100)
    fleet.records = RecordBook(clock, records_max=100)
    steady = [live(number, offers(MODEL), IDLE) for number in range(70)]
    for provider in steady:
        fleet.join(provider)
        fleet.note_failed(provider, MODEL)
    for number in range(1000, 1400):
        passing = live(number, offers(MODEL), IDLE)
        fleet.join(passing)
        fleet.leave(passing)
    for memory in (fleet.records._records, fleet._health, fleet._steadiness):
        assert len(memory) == 100
        assert all(provider.provider_id in memory for provider in steady)
    again = live(0, offers(MODEL), IDLE)
    fleet.join(again)
    assert (again.record, again.health, again.steadiness) == (steady[0].record, steady[0].health, steady[0].steadiness)


def test_of_those_that_are_gone_the_longest_unseen_is_forgotten() -> None:
    clock = ManualClock()
    fleet = Fleet(clock, remembered_max=8)
    first, *others = [live(number, offers(MODEL), IDLE) for number in range(8)]
    for provider in (first, *others):
        fleet.join(provider)
    for provider in (*others, first):
        fleet.leave(provider)
    for number in range(100, 107):
        passing = live(number, offers(MODEL), IDLE)
        fleet.join(passing)
        fleet.leave(passing)
    for memory in (fleet._health, fleet._steadiness):
        assert first.provider_id in memory
        assert not any(provider.provider_id in memory for provider in others)


def test_more_that_are_here_than_the_bound_are_kept_and_let_go_when_they_leave() -> None:
    clock = ManualClock()
    fleet = Fleet(clock, remembered_max=4)
    fleet.records = RecordBook(clock, records_max=4)
    providers = [live(number, offers(MODEL), IDLE) for number in range(12)]
    memories = (fleet.records._records, fleet._health, fleet._steadiness)
    for provider in providers:
        fleet.join(provider)
    assert [len(memory) for memory in memories] == [12, 12, 12]
    for provider in providers:
        fleet.leave(provider)
    assert [len(memory) for memory in memories] == [4, 4, 4]
    assert all(provider.provider_id in memory for provider in providers[-4:] for memory in memories)
