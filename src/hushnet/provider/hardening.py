"""What keeps prompts and keys of this process out of files and other processes, as far as the system allows.

Order matters: exec resets the dumpable flag, so `harden` runs in the process that serves, before it makes a key.
Root on the machine can still read process memory; nothing here claims otherwise (docs/sealing.md section 13).
"""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4


class Protection(StrEnum):
    """Whether a measure is in force. `unknown` is not `on`: it means that this system cannot say."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Measure:
    """One protective measure as it was read back, not as it was asked for."""

    name: str
    state: Protection
    meaning: str


def harden() -> tuple[Measure, ...]:
    """Forbid core dumps and same-user memory reads where the system allows; return what is in force afterwards.

    Never raises: a system that lacks a measure is reported, not refused.
    """
    _attempt(lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    if sys.platform == "linux":
        _attempt(lambda: _prctl(_PR_SET_DUMPABLE, 0))
    return posture()


def posture(root: Path = Path("/")) -> tuple[Measure, ...]:
    """Read back every measure without changing one; `root` is where `proc` hangs."""
    return (
        Measure("core_limit", _core_limit(), "this process writes no core file"),
        Measure("not_dumpable", _not_dumpable(), "other processes of this user cannot read its memory"),
        Measure("not_traced", _not_traced(root), "no debugger is attached"),
        Measure("no_swap", _no_swap(root), "memory is not written to a swap device"),
    )


def _core_limit() -> Protection:
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    return Protection.ON if soft == 0 else Protection.OFF


def _not_dumpable() -> Protection:
    if sys.platform != "linux":
        return Protection.UNKNOWN
    try:
        return Protection.ON if _prctl(_PR_GET_DUMPABLE, 0) != 1 else Protection.OFF
    except OSError:
        return Protection.UNKNOWN


def _not_traced(root: Path) -> Protection:
    for line in _lines_of(root / "proc/self/status"):
        name, _, value = line.partition(":")
        if name == "TracerPid":
            return Protection.ON if value.strip() == "0" else Protection.OFF
    return Protection.UNKNOWN


def _no_swap(root: Path) -> Protection:
    lines = _lines_of(root / "proc/swaps")
    if not lines:
        return Protection.UNKNOWN
    return Protection.ON if len(lines) == 1 else Protection.OFF  # the first line names the columns


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _prctl(option: int, value: int) -> int:
    """Call prctl(2); raise `OSError` when the system refuses or has none."""
    try:
        call = ctypes.CDLL(None, use_errno=True).prctl
    except AttributeError as error:
        raise OSError("this system has no prctl") from error
    result: int = call(option, value, 0, 0, 0)
    if result < 0:
        raise OSError(ctypes.get_errno(), "prctl was refused")
    return result


def _attempt(step: Callable[[], object]) -> None:
    try:
        step()
    except (OSError, ValueError):
        return  # posture() reads back what is really in force
