"""The decode and prefill rates of a provider with a model as they were seen: of answers relayed, and verified. Pure.

Seconds are those of the answer alone: time that it shared with others in a batch is counted as the cost formula counts
it. First content that came later than twice what was forecast belongs to them, so that nobody seems faster by holding an
answer back and letting it go at once. A prompt's seconds are those to its first content, the link's round trip aside.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from hushnet.coordinator.fleet.reputation.evidence import HOUR_MS, Amount, Moment
from hushnet.coordinator.fleet.reputation.outcomes import Service
from hushnet.coordinator.routing.cost import CONTENTION

TOKENS_MIN: Final = 32
"""Shorter answers are over before their rate can be told from the network's."""
PROMPT_TOKENS_MIN: Final = 512
"""Shorter prompts are read in no more time than the first token and all around it take."""
SECONDS_MIN: Final = 0.05
ANSWERS_MIN: Final = 4.0
"""What a provider reports is believed until so many answers were seen."""
ANSWERS_MAX: Final = 32.0
"""More are as good as so many: the newest thirty or so decide."""
HALF_LIFE_MS: Final = 6 * HOUR_MS
"""Whoever was found slow and has been left alone since is believed again in a day: machines change."""
TRUST_OVER_SEEN: Final = 1.25
"""A provider may be as much faster than it was seen to be: estimates of contention are no better."""
LATE_RATIO: Final = 2.0
SLACK_S: Final = 0.5


class Speed(Struct, array_like=True):
    """Tokens and the seconds they took, as they weigh at `at_ms`; `answers` says how many answers that is."""

    tokens: Amount = 0.0
    seconds: Amount = 0.0
    answers: Amount = 0.0
    at_ms: Moment = 0

    def add(self, tokens: float, seconds: float, *, now_ms: int) -> None:
        """Count an answer in."""
        self._count(tokens, seconds, 1.0, now_ms)

    def join(self, other: Speed) -> None:
        self._count(other.tokens, other.seconds, other.answers, other.at_ms)

    def _count(self, tokens: float, seconds: float, answers: float, now_ms: int) -> None:
        later_ms = max(self.at_ms, now_ms)
        mine, its = _fade(later_ms - self.at_ms), _fade(later_ms - now_ms)
        total = self.answers * mine + answers * its
        kept = min(1.0, ANSWERS_MAX / total) if total else 1.0
        self.tokens = (self.tokens * mine + tokens * its) * kept
        self.seconds = (self.seconds * mine + seconds * its) * kept
        self.answers = total * kept
        self.at_ms = later_ms


def seen_rate(now_ms: int, *speeds: Speed) -> tuple[float, float]:
    """Return tokens a second of all that was seen, 0.0 for nothing, and how many answers that is as of `now_ms`."""
    fades = [_fade(max(now_ms - speed.at_ms, 0)) for speed in speeds]
    seconds = sum(speed.seconds * fade for speed, fade in zip(speeds, fades, strict=True))
    tokens = sum(speed.tokens * fade for speed, fade in zip(speeds, fades, strict=True))
    answers = sum(speed.answers * fade for speed, fade in zip(speeds, fades, strict=True))
    return (tokens / seconds if seconds > 0 else 0.0), answers


def believed_rate(reported: float, seen: float, answers: float) -> float:
    """Return what routing may count on: the report, unless enough was seen of it that is slower."""
    if answers < ANSWERS_MIN or seen <= 0:
        return reported
    return min(reported, TRUST_OVER_SEEN * seen) if reported > 0 else seen


def decode_seconds(service: Service, *, first_s: float, busy: int) -> float | None:
    """Return the seconds that an answer's tokens took, as of one answer alone; None where that can't be told.

    `first_s` is the forecast of its first content, `busy` how many answers were made beside it.
    """
    if service.output_tokens < TOKENS_MIN:
        return None
    late_s = service.total_s - LATE_RATIO * first_s - SLACK_S
    seconds = late_s if service.first_s is None else max(service.total_s - service.first_s, late_s)
    return seconds / (1.0 + CONTENTION * busy) if seconds >= SECONDS_MIN else None


def prefill_seconds(service: Service, *, link_s: float, load_s: float, busy: int) -> float | None:
    """Return the seconds that reading an answer's prompt took, as of one answer alone; None where that can't be told.

    `link_s` is the link's measured round trip, `load_s` how long the model was said to take to load first (0.0: it was
    loaded), `busy` how many answers were made beside it. A load excuses no more than it made the provider cost.
    """
    if service.first_s is None or service.prompt_tokens < PROMPT_TOKENS_MIN:
        return None
    if load_s > 0 and service.first_s <= LATE_RATIO * load_s + SLACK_S:
        return None
    seconds = service.first_s - link_s
    return seconds / (1.0 + CONTENTION * busy) if seconds >= SECONDS_MIN else None


def _fade(milliseconds: int) -> float:
    return float(0.5 ** (milliseconds / HALF_LIFE_MS))
