"""What a fleet remembers of providers that make up names, and of identities that come and go, is bounded."""

from __future__ import annotations

from typing import Final

from hushnet.coordinator.fleet.fleet import Fleet
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
