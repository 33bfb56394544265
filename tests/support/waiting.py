"""Wait for what another process does: look again every 20 ms, and give up with a sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_S = 0.02


def eventually(look: Callable[[], T | None], *, what: str, timeout_s: float = 60.0) -> T:
    """Return the first value of `look` that is neither None nor False; fail when `timeout_s` have passed."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout_s:.0f} s")
        pause.wait(_LOOK_S)
