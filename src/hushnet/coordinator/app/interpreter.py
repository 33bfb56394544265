"""How a coordinator's process runs Python, once everything is loaded: when memory is collected, how threads take turns."""

from __future__ import annotations

import gc
import sys
from typing import Final

COLLECT_AFTER: Final = (20_000, 20, 20)
"""With the default of 700 objects the collector took 5 % of a busy loop to find next to nothing."""
SWITCH_S: Final = 0.0002
"""How long the event loop may keep the interpreter from the ledger's writer. A commit takes it several times, and waits for
as long each time: under 8,000 chunks/s 5 ms, the default, gave first tokens a p95 of 24 ms, this 9 ms, at the same
processor time a chunk (`python -m bench.relay.links`)."""


def tune() -> None:
    """Set up this process; what was loaded stays for its life, so the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_S)
