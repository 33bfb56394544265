"""What follows a failed attempt, code by code (design/sealing.md section 11)."""

from __future__ import annotations

import pytest

from hushnet.coordinator.serving.attempt import SEALERS_OWN, AttemptEnd, Ending
from hushnet.coordinator.serving.model import Mode
from hushnet.coordinator.serving.rules.failover import is_fault_of_provider, judge
from hushnet.sealing.errors import Fault, WireCode


def refused(code: int) -> AttemptEnd:
    return AttemptEnd(Ending.REFUSED, is_committed=False, code=code)


@pytest.mark.parametrize("code", list(WireCode))
@pytest.mark.parametrize("mode", list(Mode))
def test_every_code_has_an_answer_in_both_modes(code: WireCode, mode: Mode) -> None:
    verdict = judge(refused(code), mode)

    assert verdict.failure.code
    assert not (verdict.is_full and verdict.is_fault)


@pytest.mark.parametrize("code", [code for code in WireCode if code.fault is Fault.SEALER])
def test_a_sealers_fault_never_counts_against_a_provider_in_sealed_mode(code: WireCode) -> None:
    assert not judge(refused(code), Mode.SEALED).is_fault


@pytest.mark.parametrize("code", [WireCode.INTERNAL, WireCode.ENGINE_FAILED, WireCode.TIMED_OUT, WireCode.BACKPRESSURE])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_providers_fault_counts_against_it(code: WireCode, mode: Mode) -> None:
    assert judge(refused(code), mode).is_fault


@pytest.mark.parametrize("code", [WireCode.CAPACITY, WireCode.MODEL_UNAVAILABLE, WireCode.DRAINING])
def test_want_of_room_is_nobodys_fault(code: WireCode) -> None:
    verdict = judge(refused(code), Mode.STANDARD)

    assert verdict.is_full
    assert not verdict.is_fault
    assert verdict.failure.retry_after_s


def test_in_sealed_mode_an_entry_is_never_used_twice() -> None:
    for code in WireCode:
        assert judge(refused(code), Mode.SEALED).is_excluded
    for ending in (Ending.LINK_LOST, Ending.VIOLATION, Ending.BROKEN_OFF, Ending.STOPPED):
        assert judge(AttemptEnd(ending, is_committed=False), Mode.SEALED).is_excluded


def test_open_failed_is_final_the_second_time() -> None:
    assert not judge(refused(WireCode.OPEN_FAILED), Mode.SEALED).is_final
    assert judge(refused(WireCode.OPEN_FAILED), Mode.SEALED, open_failures=1).is_final


def test_in_standard_mode_no_refusal_is_blamed_on_the_consumer() -> None:
    for code in (code for code in WireCode if code < WireCode.HEADER_BODY_MISMATCH):
        verdict = judge(refused(code), Mode.STANDARD)
        assert verdict.failure.code == "provider_failed"
        assert not verdict.is_final


def test_a_number_that_is_no_code_is_a_providers_fault() -> None:
    assert judge(refused(65_000), Mode.SEALED).is_fault
    assert judge(refused(65_000), Mode.STANDARD).failure.code == "provider_failed"


@pytest.mark.parametrize("mode", list(Mode))
def test_an_attempt_that_was_outrun_is_nobodys_fault(mode: Mode) -> None:
    verdict = judge(AttemptEnd(Ending.OUTRUN, is_committed=False, code=WireCode.CANCELLED), mode)

    assert (verdict.is_fault, verdict.is_full, verdict.is_final) == (False, False, False)


@pytest.mark.parametrize("code", [*SEALERS_OWN, WireCode.BACKPRESSURE])
def test_an_answer_that_its_consumer_broke_is_not_its_providers_fault(code: WireCode) -> None:
    assert not is_fault_of_provider(AttemptEnd(Ending.ERROR, is_committed=True, code=code))
    assert is_fault_of_provider(AttemptEnd(Ending.REFUSED, is_committed=True, code=code))


@pytest.mark.parametrize("ending", [Ending.LINK_LOST, Ending.BROKEN_OFF, Ending.VIOLATION, Ending.ERROR])
def test_an_answer_that_broke_at_its_provider_is_its_fault(ending: Ending) -> None:
    assert is_fault_of_provider(AttemptEnd(ending, is_committed=True, code=WireCode.ENGINE_FAILED))
