"""One provider's record: evidence of four kinds, a score of 0..1, and what that costs it in routing. Pure.

The score is the chance, as far as the record tells, that a request sent there comes back whole and about in time:
success x latency^0.2 x availability^0.1 x challenges^0.2. What is missing to 1 is the chance that it has to be made again
elsewhere; that, times what making it again costs, is added to the provider's estimated cost.

Times are the clock's monotonic seconds; evidence keeps Unix milliseconds, `offset_ms` after them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from enum import Enum
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from hushnet.coordinator.fleet.reputation.evidence import Measure, Tally
from hushnet.coordinator.fleet.reputation.latency import Expected, punctuality
from hushnet.coordinator.fleet.reputation.outcomes import Outcome, Service
from hushnet.coordinator.fleet.reputation.speed import (
    Speed,
    believed_rate,
    decode_seconds,
    prefill_seconds,
    seen_rate,
)
from hushnet.coordinator.fleet.reputation.uptime import Uptime, UptimeClass, uptime_class
from hushnet.foundation.ids import ModelId

SUCCESS: Final = Measure(prior=0.98, prior_weight=20.0, weight_max=200.0)
LATENCY: Final = Measure(prior=0.98, prior_weight=10.0, weight_max=100.0)
PRESENCE: Final = Measure(prior=0.98, prior_weight=12.0)
"""In hours."""
CHALLENGES: Final = Measure(prior=0.98, prior_weight=10.0, weight_max=100.0)
"""A newcomer is taken for nearly good, and a few answers show that it is not; the newest 200 answers decide."""
FLAP_H: Final = 0.25
"""A link that is lost without a word weighs as much as a quarter of an hour away: what ran there had to be made again."""
EXPONENTS: Final = {"success": 1.0, "latency": 0.2, "availability": 0.1, "challenges": 0.2}
"""What fails requests counts whole; the others are signs of it, and what they cost otherwise is in other terms."""
REDO_MS: Final = 10_000
"""A request that is made again: half an answer lost, a whole one made elsewhere, at 40 tokens a second and 250 tokens."""
FALLBACK_MS: Final = 600_000
"""More than any honest estimate: by uptime only fallen back on is whoever is used when nobody else is there."""
STANDING_S: Final = 60.0
NEWS_S: Final = 5.0
"""How old a standing may be, and how old where something good has happened since; a failure shows at once. It is looked up
with every heartbeat, and worked out takes as long as the rest of one."""
MODELS_MAX: Final = 32
"""Models of one provider that are remembered; the one unheard of longest goes first."""
STANDINGS_MAX: Final = 128
"""Standings of one provider that are kept: as many as the models that it can offer at once, and those of its evidence."""


class ModelEvidence(Struct, array_like=True):
    """What is known of a provider with one model."""

    uptime: Uptime
    speed: Speed
    prefill: Speed = field(default_factory=Speed)
    """Last, and empty where it is not there: what was stored before there was such a part stays readable, and so does this
    for an older version."""


class Evidence(Struct, array_like=True):
    """All that is known of a provider: what is stored, and what can be joined."""

    outcomes: Tally
    latency: Tally
    presence: Tally
    challenges: Tally
    models: Annotated[dict[ModelId, ModelEvidence], Meta(max_length=MODELS_MAX)]

    @classmethod
    def none(cls) -> Evidence:
        """Return the evidence of a newcomer."""
        return cls(Tally(), Tally(), Tally(), Tally(), {})

    def of(self, model: ModelId) -> ModelEvidence:
        """Return what is known with `model`, to be added to."""
        found = self.models.pop(model, None) or ModelEvidence(Uptime.empty(), Speed())
        self.models[model] = found
        if len(self.models) > MODELS_MAX:
            del self.models[next(iter(self.models))]
        return found

    def join(self, other: Evidence) -> None:
        """Count another process's evidence of the same provider in."""
        SUCCESS.join(self.outcomes, other.outcomes)
        LATENCY.join(self.latency, other.latency)
        PRESENCE.join(self.presence, other.presence)
        CHALLENGES.join(self.challenges, other.challenges)
        for model, theirs in other.models.items():
            mine = self.of(model)
            mine.uptime.join(theirs.uptime)
            mine.speed.join(theirs.speed)
            mine.prefill.join(theirs.prefill)

    def clamp(self, now_ms: int) -> Evidence:
        """Take what a clock that was ahead has written for written now; returns itself."""
        for each in (self.outcomes, self.latency, self.presence, self.challenges):
            each.at_ms = min(each.at_ms, now_ms)
        for model in self.models.values():
            for speed in (model.speed, model.prefill):
                speed.at_ms = min(speed.at_ms, now_ms)
            model.uptime = model.uptime.not_after(now_ms)
        return self


class Component(Struct, frozen=True):
    """One part of a score: its value in 0..1, and what was weighed for and against."""

    name: str
    value: float
    good: float
    bad: float


class Standing(Struct, frozen=True):
    """What routing looks at, as it was at `made_s`."""

    record_ms: int
    seen_tokens_s: float
    answers: float
    made_s: float
    seen_prefill_tokens_s: float = 0.0
    prompts: float = 0.0

    def believed(self, reported: float) -> float:
        """Return the decode rate to count on where the provider reports `reported`."""
        return believed_rate(reported, self.seen_tokens_s, self.answers)

    def believed_prefill(self, reported: float) -> float:
        """Return the prefill rate to count on where the provider reports `reported`."""
        return believed_rate(reported, self.seen_prefill_tokens_s, self.prompts)


def score_of(*components: Component) -> float:
    """Return the score of components in 0..1: it lies there too, and grows with each of them."""
    score = 1.0
    for component in components:
        score *= component.value ** EXPONENTS[component.name]
    return score


def record_ms(score: float, uptime: UptimeClass) -> int:
    """Return the extra milliseconds that a request is expected to cost there: the chance to make it again, times that."""
    return round((1.0 - score) * REDO_MS) + (FALLBACK_MS if uptime is UptimeClass.FALLBACK else 0)


class _Presence(Enum):
    HERE = "here"
    VANISHED = "vanished"
    AWAY = "away"
    """It has said goodbye, or nobody has looked: that counts neither way."""


class Record:
    """The record of one provider; `others` is what other processes had seen when this one started."""

    __slots__ = ("_noted_s", "_presence", "_since_s", "_standings", "is_changed", "offset_ms", "others", "own")

    def __init__(self, offset_ms: int = 0, own: Evidence | None = None, others: Evidence | None = None) -> None:
        self.offset_ms = offset_ms
        self.own = own or Evidence.none()
        self.others = others or Evidence.none()
        self.is_changed = False
        """Whether something has happened since it was stored last."""
        self._presence = _Presence.AWAY
        self._since_s = self._noted_s = 0.0
        self._standings: dict[ModelId, Standing] = {}

    # What happens.

    def note(self, model: ModelId, outcome: Outcome, now_s: float) -> None:
        """Count how an attempt ended; those that say nothing of the provider change nothing."""
        if not outcome.is_counted:
            return
        now_ms, weight = self._ms(now_s), outcome.failure_weight
        SUCCESS.add(self.own.outcomes, good=0.0 if weight else 1.0, bad=weight, now_ms=now_ms)
        self.own.of(model).uptime.add(is_served=not weight, now_ms=now_ms)
        self._note(now_s, is_bad=weight > 0)

    def note_service(self, model: ModelId, service: Service, forecast: Expected, *, busy: int, now_s: float) -> None:
        """Count how an answer came; `busy` is how many others were made beside it when it ended."""
        now_ms, kept = self._ms(now_s), punctuality(service, forecast)
        LATENCY.add(self.own.latency, good=kept, bad=1.0 - kept, now_ms=now_ms)
        # The larger of both ends: an honest provider must not be taken for slower than it is.
        busy = max(busy, forecast.busy)
        seconds = decode_seconds(service, first_s=forecast.first_s, busy=busy)
        if seconds is not None:
            self.own.of(model).speed.add(service.output_tokens, seconds, now_ms=now_ms)
        seconds = prefill_seconds(service, link_s=forecast.link_s, load_s=forecast.load_s, busy=busy)
        if seconds is not None:
            self.own.of(model).prefill.add(service.prompt_tokens, seconds, now_ms=now_ms)
        self._note(now_s)

    def note_challenge(self, *, is_answered: bool, now_s: float) -> None:
        """Count a challenge that was answered rightly, or was not."""
        CHALLENGES.add(self.own.challenges, good=float(is_answered), bad=float(not is_answered), now_ms=self._ms(now_s))
        self._note(now_s, is_bad=not is_answered)

    def arrived(self, now_s: float, *, is_flap: bool = False) -> None:
        """It has a link; `is_flap`: a new one, while the old one had not ended."""
        self._become(_Presence.HERE, now_s, flaps=int(is_flap))

    def left(self, now_s: float, *, is_announced: bool, is_flap: bool) -> None:
        """Its link is gone. What was announced is not held against it, nor is its absence."""
        after = _Presence.AWAY if is_announced else _Presence.VANISHED
        self._become(after, now_s, flaps=int(is_flap and not is_announced))

    @property
    def is_here(self) -> bool:
        return self._presence is _Presence.HERE

    # What follows.

    def components(self, now_s: float) -> tuple[Component, ...]:
        """Return the parts of the score as of now."""
        self._advance(now_s)
        now_ms, own, others = self._ms(now_s), self.own, self.others
        return (
            _weighed("success", SUCCESS, now_ms, own.outcomes, others.outcomes),
            _weighed("latency", LATENCY, now_ms, own.latency, others.latency),
            _weighed("availability", PRESENCE, now_ms, own.presence, others.presence),
            _weighed("challenges", CHALLENGES, now_ms, own.challenges, others.challenges),
        )

    def uptime(self, model: ModelId, now_s: float) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return (served, failed) with `model` of the last day and of the last month."""
        now_ms, known = self._ms(now_s), self._known(model)
        return _sum(each.uptime.day(now_ms) for each in known), _sum(each.uptime.month(now_ms) for each in known)

    def standing(self, model: ModelId, now_s: float) -> Standing:
        """Return what routing looks at with `model`; worked out now and then only."""
        known = self._standings.get(model)
        if known is not None:
            is_news = self._noted_s >= known.made_s
            if now_s < known.made_s + (NEWS_S if is_news else STANDING_S):
                return known
        if known is None and len(self._standings) >= STANDINGS_MAX:
            del self._standings[next(iter(self._standings))]
        known = self._standings[model] = self._stand(model, now_s)
        return known

    def keep_standings(self, offered: Container[ModelId]) -> None:
        """Drop the standings of models that are neither `offered` nor known by evidence: names cost their sender nothing."""
        for model in list(self._standings):
            if not (model in offered or model in self.own.models or model in self.others.models):
                del self._standings[model]

    def snapshot(self, now_s: float) -> Evidence:
        """Return this process's own evidence as of now; to be written at once, it lives on."""
        self._advance(now_s)
        return self.own

    # Inside.

    def _stand(self, model: ModelId, now_s: float) -> Standing:
        now_ms, known = self._ms(now_s), self._known(model)
        score = score_of(*self.components(now_s))
        if not known:
            return Standing(record_ms(score, UptimeClass.UNRATED), 0.0, 0.0, now_s)
        day = _sum(each.uptime.day(now_ms) for each in known)
        seen, answers = seen_rate(now_ms, *(each.speed for each in known))
        prefill, prompts = seen_rate(now_ms, *(each.prefill for each in known))
        return Standing(record_ms(score, uptime_class(*day)), seen, answers, now_s, prefill, prompts)

    def _known(self, model: ModelId) -> list[ModelEvidence]:
        both = self.own.models.get(model), self.others.models.get(model)
        return [each for each in both if each is not None]

    def _note(self, now_s: float, *, is_bad: bool = False) -> None:
        self.is_changed, self._noted_s = True, now_s
        if is_bad:
            self._standings.clear()

    def _become(self, presence: _Presence, now_s: float, *, flaps: int) -> None:
        self._advance(now_s)
        self._presence = presence
        if flaps:
            PRESENCE.add(self.own.presence, bad=flaps * FLAP_H, now_ms=self._ms(now_s))
        self._note(now_s, is_bad=flaps > 0)

    def _advance(self, now_s: float) -> None:
        """Count how long it has been here, or gone without a word, since it was counted last."""
        since_s, self._since_s = self._since_s, now_s
        if self._presence is _Presence.AWAY or now_s <= since_s:
            return
        hours = PRESENCE.lasting(round((now_s - since_s) * 1000))
        good = hours if self._presence is _Presence.HERE else 0.0
        PRESENCE.add(self.own.presence, good=good, bad=hours - good, now_ms=self._ms(now_s))

    def _ms(self, now_s: float) -> int:
        return self.offset_ms + round(now_s * 1000)


def _weighed(name: str, measure: Measure, now_ms: int, *tallies: Tally) -> Component:
    good, bad = measure.weigh(now_ms, *tallies)
    return Component(name, measure.balance(good, bad), good, bad)


def _sum(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    served = failed = 0
    for one in pairs:
        served, failed = served + one[0], failed + one[1]
    return served, failed
