"""The rules of tariffs and discounts, without I/O: which one is in force, and what a model may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from hushnet.coordinator.catalog.model import Tariff
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import ModelId


class Dated(Protocol):
    """What holds from a moment on."""

    @property
    def from_ms(self) -> int: ...


D = TypeVar("D", bound=Dated)

_MODEL = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}", re.ASCII)
AHEAD_MS_MAX: Final = 366 * 86_400_000
"""A tariff may be announced at most this far ahead."""


def checked_model(text: str) -> ModelId:
    """Return a model's name, or raise `RequestError`."""
    if _MODEL.fullmatch(text) is None:
        raise RequestError("a model is named with 1 to 128 of A-Z a-z 0-9 . _ : / @ + -", code="out_of_range")
    return ModelId(text)


def by_model(tariffs: Iterable[Tariff]) -> Mapping[ModelId, Sequence[Tariff]]:
    """Sort tariffs into one list a model, latest first."""
    found: dict[ModelId, list[Tariff]] = {}
    for tariff in sorted(tariffs, key=lambda tariff: tariff.from_ms, reverse=True):
        found.setdefault(tariff.model, []).append(tariff)
    return found


def in_force(rows: Sequence[D], now_ms: int) -> D | None:
    """Return the row that holds at `now_ms`; `rows` are of one model, latest first."""
    return next((row for row in rows if row.from_ms <= now_ms), None)
