"""What to run, and what a part gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from bench.record import Figure


class Sized(Protocol):
    """Something of a fleet of so many."""

    @property
    def providers(self) -> int: ...


S = TypeVar("S", bound=Sized)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run with `providers_max` or with other than the usual numbers of requests is a look and writes no result."""

    rounds: int = 5
    decisions: int = 4_000
    """Timed decisions a round and fleet."""
    requests: int = 24_000
    """Requests of a simulated trace at 1,000 machines; other sizes have their share of it."""
    steps: int = 1_000_000
    """Of simulated networks."""
    providers_max: int = 100_000
    seed: int = 1
    is_whole: bool = True

    def sizes(self, known: Sequence[S]) -> list[S]:
        """Return those that are not too large."""
        return [size for size in known if size.providers <= self.providers_max]


@dataclass(frozen=True, slots=True)
class Part:
    """What one part gave; `more` goes into the result beside the figures."""

    figures: Mapping[str, Figure]
    rounds: list[dict[str, Any]]
    more: Mapping[str, Any] = field(default_factory=dict)
    stamped: Mapping[str, str] = field(default_factory=dict)
