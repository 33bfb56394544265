"""Whether this process is a fork: key streams, counters and replay caches must not run twice (sections 6 and 8)."""

from __future__ import annotations

import os
from typing import Final


class _Process:
    """`generation` differs between a process and its forks."""

    __slots__ = ("generation",)

    def __init__(self) -> None:
        self.generation = 0

    def forked(self) -> None:
        self.generation += 1


PROCESS: Final = _Process()
os.register_at_fork(after_in_child=PROCESS.forked)
