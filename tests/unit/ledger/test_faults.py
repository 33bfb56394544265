"""Fault points do nothing unless a test asks for one by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hushnet.coordinator.ledger.faults import faults_from, no_faults
from hushnet.foundation.errors import ConfigurationError


def test_without_the_variable_nothing_is_watched() -> None:
    assert faults_from({}) is no_faults
    assert faults_from({"HUSH_FAULT": ""}) is no_faults


@pytest.mark.parametrize("text", ["ledger.after_commit", "ledger.after_commit:sleep", "a:kill:x", "a:kill:-1"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        faults_from({"HUSH_FAULT": text})


def test_a_process_is_killed_at_the_named_point_the_nth_time() -> None:
    script = (
        "from hushnet.coordinator.ledger.faults import faults_from\n"
        "reach = faults_from({'HUSH_FAULT': 'b:kill:2'})\n"
        "for point in ('a', 'b', 'a', 'b', 'b'): print(point, flush=True); reach(point)\n"
    )

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout.split()) == (-9, ["a", "b", "a", "b"])
