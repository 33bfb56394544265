"""Every failure that serving can name has its row in the table of problems."""

from __future__ import annotations

import pytest

from hushnet.coordinator.api.problems import BY_CODE
from hushnet.coordinator.serving.attempt import AttemptEnd, Ending
from hushnet.coordinator.serving.failures import Failure, FailureCode
from hushnet.coordinator.serving.model import Mode
from hushnet.coordinator.serving.rules.failover import failure_of, judge
from hushnet.sealing.errors import WireCode


@pytest.mark.parametrize("code", list(FailureCode))
def test_a_failure_code_has_a_status(code: FailureCode) -> None:
    assert code in BY_CODE


@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.parametrize("code", [*WireCode, 0, 9999])
def test_the_end_of_an_attempt_has_a_status(ending: Ending, code: int) -> None:
    end = AttemptEnd(ending, is_committed=True, code=code)

    assert failure_of(end).code in BY_CODE
    for mode in Mode:
        assert judge(end, mode).failure.code in BY_CODE


def test_a_failure_does_not_show_what_the_provider_wrote() -> None:
    assert "secret" not in repr(Failure("bad_request", detail=b"secret"))
