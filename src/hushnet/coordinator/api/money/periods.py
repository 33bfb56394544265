"""Reading `?from=&to=` and the other parameters that reports share.

A time is a day (`2026-11-20`, UTC) or milliseconds since 1970. `from` is inclusive; a `to` that is a day includes that
day, one in milliseconds is exclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import QueryParams

from hushnet.coordinator.accounts.rules import parse_key_id
from hushnet.coordinator.api.bodies import FieldError
from hushnet.coordinator.ledger.books.days import DAY_MS, day_of, parse_day
from hushnet.coordinator.ledger.reports.model import TIME_MAX_MS, Part, Scope, Side
from hushnet.foundation.ids import AccountId, ModelId

DAYS_DEFAULT: Final = 30
DAYS_MAX: Final = 366
_MODEL_LENGTH_MAX: Final = 128
_DIGITS_MAX: Final = 15


def read_scope(query: QueryParams, owner: AccountId, *, side: Side = Side.CONSUMER) -> Scope:
    """Return the caller's requests that the parameters from, to, model and key name; raises `FieldError`."""
    from_ms = _time(query, "from")
    to_ms = _time(query, "to", is_end=True)
    model, key = query.get("model"), query.get("key")
    key_id = None if key is None else parse_key_id(key)
    if key is not None and key_id is None:
        raise FieldError("key is a key's id, as GET /v1/keys shows it", param="key")
    if model is not None and not 1 <= len(model) <= _MODEL_LENGTH_MAX:
        raise FieldError("model is a model's id", param="model")
    return Scope(
        owner,
        side=side,
        from_ms=from_ms or 0,
        to_ms=TIME_MAX_MS if to_ms is None else to_ms,
        model=None if model is None else ModelId(model),
        key=key_id,
    )


def read_period(query: QueryParams, *, now_ms: int) -> tuple[int, int]:
    """Return from and to, by default the last 30 days; now is in it, and nothing after; at most 366 days long.

    Raises `FieldError`.
    """
    to_ms = _time(query, "to", is_end=True)
    until_ms = now_ms + 1 if to_ms is None else min(to_ms, now_ms + 1)
    from_ms = _time(query, "from")
    if from_ms is None:
        from_ms = (day_of(until_ms) - DAYS_DEFAULT + 1) * DAY_MS
    if not from_ms < until_ms:
        raise FieldError("from must be before to, and not in the future", param="from")
    if until_ms - from_ms > DAYS_MAX * DAY_MS:
        raise FieldError(f"at most {DAYS_MAX} days are summed at once", param="from")
    return from_ms, until_ms


def read_parts(query: QueryParams, allowed: Sequence[Part], *, default: Part) -> tuple[Part, ...]:
    """Return what `?by=day,model` asks to be split by; raises `FieldError`."""
    names = query.get("by", default.value).split(",")
    known = {part.value: part for part in allowed}
    if len(names) > len(known) or len(set(names)) != len(names) or not set(names) <= set(known):
        raise FieldError(f"by is one or more of {', '.join(known)}, with commas", param="by")
    return tuple(known[name] for name in names)


def read_limit(query: QueryParams, *, limit_max: int) -> int:
    """Return `?limit=`, the largest one by default; raises `FieldError`."""
    text = query.get("limit")
    if text is None:
        return limit_max
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX and 1 <= int(text) <= limit_max):
        raise FieldError(f"limit is a number in 1..{limit_max}", param="limit")
    return int(text)


def _time(query: QueryParams, name: str, *, is_end: bool = False) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return int(text)
    day = parse_day(text)
    if day is None or day < 0:
        raise FieldError(f"{name} is a day like 2026-11-20, or milliseconds since 1970", param=name)
    return (day + is_end) * DAY_MS
