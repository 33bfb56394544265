"""What an epoch is worth: integers, monotone, never above a floor's part; and who counts as standing by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hushnet.attestation.tiers import Tier
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.incentives.programmes import month_start_ms
from hushnet.coordinator.incentives.rewards.attendance import Attendance, Attended, Epoch, Present, fit
from hushnet.coordinator.incentives.rewards.rules import (
    EPOCHS_A_MONTH,
    RewardTerms,
    reward,
)
from hushnet.foundation.clock import ManualClock
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ModelId, ProviderId
from hushnet.wire.frames import Capacity, ModelOffer
from support.live_fleet import live

GIB = 1 << 30
ONE, TWO = Present(ProviderId("a"), AccountId(70_000), 8), Present(ProviderId("b"), AccountId(70_001), 9)


@pytest.mark.parametrize(("present", "paid"), [(30, 1_000), (29, 666), (28, 333), (27, 0), (26, 0), (0, 0)])
def test_availability_counts_from_nine_tenths_on(present: int, paid: int) -> None:
    assert reward(1_000 * EPOCHS_A_MONTH, present=present, looks=30) == paid


@pytest.mark.parametrize(("present", "looks"), [(1, 0), (-1, 30), (31, 30)])
def test_counts_that_cannot_be_pay_nothing(present: int, looks: int) -> None:
    assert reward(10**9, present=present, looks=looks) == 0


@given(st.integers(0, 10**12), st.integers(1, 1_000), st.data())
def test_an_epoch_pays_at_most_its_part_and_more_for_more(floor: int, looks: int, data: st.DataObject) -> None:
    present = data.draw(st.integers(0, looks))
    paid = reward(floor, present=present, looks=looks)
    assert 0 <= paid * EPOCHS_A_MONTH <= floor
    assert present == 0 or reward(floor, present=present - 1, looks=looks) <= paid


def test_a_machine_has_the_highest_floor_that_its_memory_reaches() -> None:
    terms = RewardTerms(floors=((64, 18), (24, 10), (32, 12)))
    memory = (8, 22, 22.5, 24, 31, 32, 60, 61, 512)
    assert [terms.floor_of(int(gib * GIB)) for gib in memory] == [0, 0, 10, 10, 12, 12, 18, 18, 18]


@pytest.mark.parametrize(
    "numbers", [{"pool": -1}, {"pool": 10**15 + 1}, {"floors": ((0, 5),)}, {"floors": ((24, -5),)}]
)
def test_reward_terms_out_of_bounds_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(RequestError):
        RewardTerms(**numbers)  # type: ignore[arg-type] - one of its fields


@pytest.mark.parametrize(
    ("at_ms", "start_ms"),
    [
        (1_767_225_600_000, 1_767_225_600_000),
        (1_767_225_599_999, 1_764_547_200_000),
        (1_772_323_199_999, 1_769_904_000_000),
    ],
)
def test_a_month_is_the_calendars_in_utc(at_ms: int, start_ms: int) -> None:
    assert month_start_ms(at_ms) == start_ms


def test_looks_are_added_up_by_machine_and_owner_and_the_least_memory_counts() -> None:
    attendance = Attendance()
    assert attendance.look(5, [ONE, TWO]) is None
    assert attendance.look(5, [Present(ONE.machine, ONE.owner, 7)]) is None
    assert attendance.look(5, [Present(ONE.machine, TWO.owner, 8)]) is None
    assert attendance.look(6, []) == Epoch(
        5,
        3,
        (
            Attended(ONE.machine, ONE.owner, 7, 2),
            Attended(TWO.machine, TWO.owner, 9, 1),
            Attended(ONE.machine, TWO.owner, 8, 1),
        ),
    )
    assert attendance.look(9, [ONE]) == Epoch(6, 1, ())


MODEL = ModelId("m")
ROOMY = Capacity(slots=1, active=0, memory_bytes_free=20 * GIB, memory_bytes_total=64 * GIB)
LOADED = ModelOffer(model=MODEL, context_tokens=4096, slots=1)


@pytest.mark.parametrize(
    ("capacity", "offer", "tier", "is_fit"),
    [
        (ROOMY, LOADED, Tier.MEASURED, True),
        (ROOMY, LOADED, Tier.HARDWARE, True),
        (ROOMY, LOADED, Tier.SELF_SIGNED, False),
        (ROOMY, replace(LOADED, is_loaded=False), Tier.MEASURED, False),
        (replace(ROOMY, thermal="critical"), LOADED, Tier.MEASURED, False),
        (replace(ROOMY, memory_bytes_free=12 * GIB), LOADED, Tier.MEASURED, False),
        (replace(ROOMY, memory_bytes_free=0, memory_bytes_total=0), LOADED, Tier.MEASURED, False),
    ],
)
def test_who_stands_by_is_trusted_has_a_model_loaded_and_room(
    capacity: Capacity, offer: ModelOffer, tier: Tier, is_fit: bool
) -> None:
    fleet = Fleet(ManualClock())
    provider = live(1, [offer], capacity, tier=tier)
    fleet.join(provider)
    expected = [Present(provider.provider_id, provider.owner.account_id, 64 * GIB)] if is_fit else []
    assert list(fit(fleet, trust=Tier.MEASURED)) == expected


def test_who_is_leaving_does_not_stand_by() -> None:
    fleet = Fleet(ManualClock())
    provider = live(1, [LOADED], ROOMY)
    fleet.join(provider)
    fleet.drained(provider)
    assert list(fit(fleet, trust=Tier.MEASURED)) == []
