"""What the end of an attempt says of its provider: the rule by which OpenRouter counts its providers' uptime."""

from __future__ import annotations

import pytest

from hushnet.coordinator.fleet.reputation.outcomes import Outcome
from hushnet.coordinator.serving.attempt import AttemptEnd, Ending
from hushnet.coordinator.serving.model import Mode
from hushnet.coordinator.serving.rules.outcomes import outcome_of
from hushnet.sealing.errors import WireCode

COUNTED = {
    WireCode.MODEL_UNAVAILABLE: Outcome.SERVER_ERROR,  # 404
    WireCode.INTERNAL: Outcome.SERVER_ERROR,  # 500
    WireCode.ENGINE_FAILED: Outcome.SERVER_ERROR,  # 502
    WireCode.TIMED_OUT: Outcome.TIMED_OUT,  # 504
    WireCode.BACKPRESSURE: Outcome.SERVER_ERROR,  # records beyond the credit that it was given
    WireCode.CANCELLED: Outcome.SERVER_ERROR,  # nobody had asked it to
}
UNCOUNTED = {
    WireCode.BAD_REQUEST: Outcome.USER_ERROR,  # 400
    WireCode.CONTEXT_TOO_LONG: Outcome.USER_ERROR,  # 400
    WireCode.BOUND_EXCEEDED: Outcome.USER_ERROR,  # 413
    WireCode.HEADER_BODY_MISMATCH: Outcome.USER_ERROR,
    WireCode.UNKNOWN_KEY: Outcome.USER_ERROR,
    WireCode.NOT_FOR_ME: Outcome.USER_ERROR,
    WireCode.CAPACITY: Outcome.REFUSED_CAPACITY,  # 429
    WireCode.DRAINING: Outcome.REFUSED_CAPACITY,
}
SEALERS = sorted(set(WireCode) - COUNTED.keys() - UNCOUNTED.keys())


@pytest.mark.parametrize(("code", "outcome"), [*COUNTED.items(), *UNCOUNTED.items()])
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("ending", [Ending.ERROR, Ending.REFUSED])
def test_a_wire_code_counts_as_the_status_that_it_is_nearest_to(
    code: WireCode, outcome: Outcome, mode: Mode, ending: Ending
) -> None:
    found = outcome_of(AttemptEnd(ending, is_committed=False, code=code), mode)
    assert found is outcome
    assert found.is_counted is (code in COUNTED)


@pytest.mark.parametrize("code", SEALERS)
def test_a_refusal_that_blames_the_sealer_counts_where_we_have_sealed(code: WireCode) -> None:
    end = AttemptEnd(Ending.REFUSED, is_committed=False, code=code)
    assert outcome_of(end, Mode.SEALED) is Outcome.USER_ERROR
    assert outcome_of(end, Mode.STANDARD) is Outcome.SERVER_ERROR


@pytest.mark.parametrize("code", [0, 7, 299, 65_535])
def test_a_code_that_is_none_is_the_providers_error(code: int) -> None:
    assert outcome_of(AttemptEnd(Ending.ERROR, is_committed=True, code=code), Mode.SEALED) is Outcome.SERVER_ERROR


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (Ending.COMPLETE, None),
        (Ending.VIOLATION, Outcome.VIOLATION),
        (Ending.BROKEN_OFF, Outcome.SERVER_ERROR),
        (Ending.LINK_LOST, Outcome.LOST_LINK),
    ],
)
def test_an_end_without_a_code_speaks_for_itself(ending: Ending, outcome: Outcome | None, is_committed: bool) -> None:
    assert outcome_of(AttemptEnd(ending, is_committed), Mode.STANDARD) is outcome


@pytest.mark.parametrize(
    ("code", "is_excused", "outcome"),
    [
        (WireCode.CANCELLED, False, Outcome.CANCELLED),
        (WireCode.BACKPRESSURE, True, Outcome.CANCELLED),
        (WireCode.TIMED_OUT, False, Outcome.TIMED_OUT),
        (WireCode.TIMED_OUT, True, Outcome.CANCELLED),
    ],
)
def test_what_we_stop_counts_only_where_the_provider_was_late_for_a_consumer_that_read(
    code: WireCode, is_excused: bool, outcome: Outcome
) -> None:
    end = AttemptEnd(Ending.STOPPED, is_committed=True, code=code)
    assert outcome_of(end, Mode.STANDARD, is_excused=is_excused) is outcome
