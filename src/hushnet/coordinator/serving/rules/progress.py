"""What can be known of a consumer's reading: bytes that its kernel took, and whether it takes no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReaderLook:
    """One look at a consumer's connection, as its kernel reports it to ours."""

    acknowledged: int
    """Bytes that the consumer's kernel has taken since the connection began."""
    is_shut: bool
    """Whether it takes nothing more until the consumer's program reads: nothing but the reader holds the line up."""
    quiet_s: float
    """Since bytes left last. While the window is shut: for how long it has been."""


class ReaderProgress(Protocol):
    """Looks at one consumer's connection; cheap enough for every pass of the pulse."""

    def look(self) -> ReaderLook | None:
        """Return what is known now; None where the platform or the connection does not tell."""
        ...
