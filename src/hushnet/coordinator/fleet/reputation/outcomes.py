"""How an attempt ended as far as its provider is concerned: a closed set, and what each says of the provider."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """The end of one attempt."""

    SERVED = "served"
    """A whole answer that was relayed, and whose meter and receipt verified."""
    SERVER_ERROR = "server_error"
    """The provider refused or broke it off for a reason of its own: an HTTP 401, 402, 404 or 5xx elsewhere."""
    LOST_LINK = "lost_link"
    TIMED_OUT = "timed_out"
    """Too late, or silent, while its consumer was reading."""
    VIOLATION = "violation"
    """Records, a meter or a receipt that no honest provider sends."""
    USER_ERROR = "user_error"
    """The request itself was at fault (400, 413), or the envelope was (keys that have rotated away)."""
    REFUSED_CAPACITY = "refused_capacity"
    """No room, and said so in time (429): routing learns from that at once, the record does not."""
    CANCELLED = "cancelled"
    """We stopped it: a hang-up, a reader that stalls, another attempt that was faster, a shutdown."""

    @property
    def is_counted(self) -> bool:
        """Whether it says anything of the provider."""
        return self in _FAILURE_WEIGHT or self is Outcome.SERVED

    @property
    def failure_weight(self) -> float:
        """How many failures it is worth; 0.0 for what is none."""
        return _FAILURE_WEIGHT.get(self, 0.0)


_FAILURE_WEIGHT: Final = {
    Outcome.SERVER_ERROR: 1.0,
    Outcome.LOST_LINK: 1.0,
    Outcome.TIMED_OUT: 1.0,
    Outcome.VIOLATION: 5.0,
}
"""A machine may crash; a record that breaks the protocol was made so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What was seen of an answer that was relayed whole, as fast as its consumer could take it. Times in seconds.

    `first_s` is from dispatch to the first content, None for an answer that came in one piece; `total_s` to its end.
    Tokens are those that were billed: bounded by the bytes that were relayed. `prompt_tokens` are without cached ones.
    """

    prompt_tokens: int
    output_tokens: int
    total_s: float
    first_s: float | None = None
