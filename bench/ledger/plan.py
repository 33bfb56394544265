"""What to run, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is not whole is a look and writes no result."""

    rounds: int = 5
    pairs: int = 40_000
    """Hold + post pairs a round and database, batched; one at a time a tenth of the time is enough."""
    single_pairs: int = 3_000
    tpcb_s: int = 10
    """Seconds of pgbench a round."""
    waits_s: float = 60.0
    """Seconds of requests at a fixed rate, a round and database."""
    rate: int = 500
    """Requests a second."""
    histories: int = 100_000
    """On each database."""
    is_whole: bool = True
