"""Hardening is read back from the system, in a process of its own, and never claims what it cannot see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hushnet.provider.hardening import Protection, posture

_SCRIPT = """
import json, resource
from hushnet.provider.hardening import harden, posture
before = {m.name: m.state for m in posture()}
after = {m.name: m.state for m in harden()}
print(json.dumps([before, after, resource.getrlimit(resource.RLIMIT_CORE)]))
"""


def state_of(name: str, root: Path) -> Protection:
    return next(measure.state for measure in posture(root) if measure.name == name)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux")
def test_hardening_forbids_core_dumps_and_memory_reads() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, check=True, text=True)
    before, after, core_limit = json.loads(done.stdout)

    assert before["not_dumpable"] == "off"
    assert (after["core_limit"], after["not_dumpable"]) == ("on", "on")
    assert core_limit == [0, 0]


def test_what_cannot_be_read_is_unknown_and_not_on(tmp_path: Path) -> None:
    assert state_of("not_traced", tmp_path) is Protection.UNKNOWN
    assert state_of("no_swap", tmp_path) is Protection.UNKNOWN


@pytest.mark.parametrize(("pid", "state"), [("0", Protection.ON), ("812", Protection.OFF)])
def test_a_debugger_is_seen(tmp_path: Path, pid: str, state: Protection) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(f"Name:\thush\nTracerPid:\t{pid}\n")

    assert state_of("not_traced", tmp_path) is state


@pytest.mark.parametrize(("devices", "state"), [([], Protection.ON), (["/dev/vda2 partition 1 0 -2"], Protection.OFF)])
def test_a_swap_device_is_seen(tmp_path: Path, devices: list[str], state: Protection) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text("\n".join(["Filename Type Size Used Priority", *devices]) + "\n")

    assert state_of("no_swap", tmp_path) is state
