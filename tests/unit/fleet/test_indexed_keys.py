"""Which sealing keys a fleet says that some live provider opens with, whatever its providers report meanwhile."""

from __future__ import annotations

from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import Capacity, ModelOffer
from support.live_fleet import UNSIGNED, live, report, verified

MODEL = ModelId("m")
OFFER = ModelOffer(model=MODEL, context_tokens=4096, slots=2)


def busy(active: int) -> Capacity:
    return report((MODEL,), slots=2, active=active, decode_tokens_s=10.0, prefill_tokens_s=100.0)


def joined(fleet: Fleet, number: int) -> LiveProvider:
    provider = live(number, (OFFER,), busy(0))
    fleet.join(provider)
    return provider


def known(fleet: Fleet) -> set[bytes]:
    return set(fleet.view(MODEL).key_ids)


def test_reports_and_new_offers_leave_the_keys_known() -> None:
    fleet = Fleet(ManualClock())
    provider = joined(fleet, 1)

    fleet.reported(provider, busy(1))
    fleet.offered(provider, (OFFER,))

    assert known(fleet) == set(provider.key_ids) != set()


def test_a_restated_provider_is_known_by_its_old_keys_and_its_new_ones() -> None:
    fleet = Fleet(ManualClock())
    provider = joined(fleet, 1)
    old = set(provider.key_ids)

    fleet.restated(provider, UNSIGNED, verified(2))
    fleet.reported(provider, busy(1))

    assert known(fleet) == old | {key.key_id for key in verified(2).keys}


def test_who_is_not_routable_is_known_by_no_key_until_it_is_again() -> None:
    fleet = Fleet(ManualClock())
    provider = joined(fleet, 1)
    provider.is_stale = True
    fleet.refresh(provider)
    assert known(fleet) == set()

    provider.is_stale = False
    fleet.refresh(provider)

    assert known(fleet) == set(provider.key_ids)


def test_a_key_of_two_is_known_until_both_have_left() -> None:
    fleet = Fleet(ManualClock())
    one, other = joined(fleet, 1), joined(fleet, 2)
    fleet.restated(other, UNSIGNED, one.verified)

    fleet.leave(one)
    assert set(one.key_ids) <= known(fleet)

    fleet.leave(other)
    assert known(fleet) == set()
