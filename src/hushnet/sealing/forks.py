"""Whether this process is a fork: key streams, counters and replay caches must not run twice (sections 6 and 8)."""

from __future__ import annotations

import os


class _Generation:
    number = 0


def _forked() -> None:
    _Generation.number += 1


os.register_at_fork(after_in_child=_forked)


def generation() -> int:
    """Return a number that differs between a process and its forks."""
    return _Generation.number
