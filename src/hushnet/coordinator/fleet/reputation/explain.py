"""A record in figures and in plain words: for the provider's own page, and for operators. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hushnet.coordinator.fleet.reputation.record import EXPONENTS, Component, Record, record_ms, score_of
from hushnet.coordinator.fleet.reputation.speed import ANSWERS_MIN
from hushnet.coordinator.fleet.reputation.uptime import REQUESTS_MIN, UptimeClass, uptime_class
from hushnet.foundation.ids import ModelId

NEW_BELOW: Final = 5.0
"""Answers that are hardly a past."""


def summary(record: Record, now_s: float) -> dict[str, Any]:
    """Return a record's score and the values of its parts."""
    components = record.components(now_s)
    score = score_of(*components)
    return {
        "score": round(score, 4),
        "record_ms": record_ms(score, UptimeClass.UNRATED),
        **{component.name: round(component.value, 4) for component in components},
    }


def explain(record: Record, *, reported: Mapping[ModelId, float], now_s: float) -> dict[str, Any]:
    """Return a whole record; `reported` are the decode rates by the provider's last word, of the models on offer now."""
    components = record.components(now_s)
    score = score_of(*components)
    models = sorted({*reported, *record.own.models, *record.others.models})
    weighed = components[0].good + components[0].bad
    return {
        "score": round(score, 4),
        "is_new": weighed < NEW_BELOW,
        "record_ms": record_ms(score, UptimeClass.UNRATED),
        "components": [_component(component) for component in components],
        "models": [_model(record, model, reported.get(model, 0.0), score, now_s) for model in models],
    }


def _component(component: Component) -> dict[str, Any]:
    return {
        "name": component.name,
        "value": round(component.value, 4),
        "exponent": EXPONENTS[component.name],
        "for": round(component.good, 2),
        "against": round(component.bad, 2),
        "words": _WORDS[component.name].format(
            good=component.good, bad=component.bad, all=component.good + component.bad
        )
        if component.good + component.bad >= 0.05
        else "nothing seen yet: a newcomer's value",
    }


def _model(record: Record, model: ModelId, reported: float, score: float, now_s: float) -> dict[str, Any]:
    day, month = record.uptime(model, now_s)
    found = uptime_class(*day)
    standing = record.standing(model, now_s)
    return {
        "model": model,
        "uptime": {**_uptime(day), "class": found.value, "words": _uptime_words(found, sum(day))},
        "uptime_30d": _uptime(month),
        "speed": {
            "reported_tokens_s": round(reported, 2),
            "seen_tokens_s": round(standing.seen_tokens_s, 2),
            "answers": round(standing.answers, 1),
            "believed_tokens_s": round(standing.believed(reported), 2),
            "words": _speed_words(reported, standing.believed(reported), standing.answers),
        },
        "record_ms": record_ms(score, found),
    }


def _uptime(counts: Iterable[int]) -> dict[str, Any]:
    served, failed = counts
    total = served + failed
    return {"served": served, "failed": failed, "share": round(served / total, 4) if total else None}


def _uptime_words(found: UptimeClass, requests: int) -> str:
    match found:
        case UptimeClass.UNRATED:
            return f"{requests} requests in 24 hours; below {REQUESTS_MIN} no class is given"
        case UptimeClass.NORMAL:
            return "95 % or more of the last 24 hours' requests were served: routed normally"
        case UptimeClass.DEGRADED:
            return "80 to 95 % of the last 24 hours' requests were served: others come first where they are near"
        case UptimeClass.FALLBACK:
            return "less than 80 % of the last 24 hours' requests were served: used only when nobody else is there"


def _speed_words(reported: float, believed: float, answers: float) -> str:
    if answers < ANSWERS_MIN:
        return "too few answers seen to judge by: the report is believed"
    if reported <= 0:
        return "no rate is reported: what was seen counts"
    if believed < reported:
        return "slower than reported: routing counts on a quarter more than was seen, no more"
    return "as fast as reported"


_WORDS: Final = {
    "success": "{good:.1f} of {all:.1f} answers came whole; a day halves their weight, breaking the protocol weighs 5",
    "latency": "{good:.1f} of {all:.1f} answers came about when they were forecast; up to twice that is in time",
    "availability": "connected for {good:.1f} of {all:.1f} hours; a link lost without a word weighs a quarter of one",
    "challenges": "{good:.1f} of {all:.1f} challenges were answered",
}
