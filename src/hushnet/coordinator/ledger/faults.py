"""Named points where a test may kill this process, to prove what a crash leaves behind.

`HUSH_FAULT=ledger.after_commit:kill` sends SIGKILL to this process at that point; `...:kill:3` at the third time.
Without the variable nothing is watched.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from hushnet.foundation.errors import ConfigurationError

BEFORE_COMMIT: Final = "ledger.before_commit"
AFTER_COMMIT: Final = "ledger.after_commit"
APPLY_BEFORE_COMMIT: Final = "apply.before_commit"
APPLY_AFTER_COMMIT: Final = "apply.after_commit"
INBOX_BEFORE_COMMIT: Final = "inbox.before_commit"
INBOX_AFTER_COMMIT: Final = "inbox.after_commit"
CALL_BEFORE_SEND: Final = "call.before_send"
CALL_AFTER_SEND: Final = "call.after_send"

FaultHook: TypeAlias = Callable[[str], None]
"""Called with the name of each point as it is reached; what it raises passes through."""


def no_faults(_point: str) -> None:
    """Watch nothing."""


def faults_from(environment: Mapping[str, str]) -> FaultHook:
    """Return the hook that `HUSH_FAULT` asks for; raises `ConfigurationError` when it cannot be read."""
    wanted = environment.get("HUSH_FAULT", "")
    if not wanted:
        return no_faults
    point, _, rest = wanted.partition(":")
    action, _, nth = rest.partition(":")
    if action != "kill" or not (nth or "1").isdecimal():
        raise ConfigurationError("HUSH_FAULT cannot be read", hint="POINT:kill or POINT:kill:NTH")
    return _Killer(point, int(nth or "1"))


class _Killer:
    def __init__(self, point: str, nth: int) -> None:
        self._point = point
        self._left = nth

    def __call__(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
