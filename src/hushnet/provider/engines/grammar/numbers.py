"""Numbers within bounds, as grammar text: pure arithmetic on decimal digits."""

from __future__ import annotations

from typing import Final

DIGITS_MAX: Final = 15
"""Integers stay below 10**15, exact in the doubles that most readers of JSON use."""
LIMIT: Final = 10**DIGITS_MAX - 1


def integer_between(low: int, high: int) -> str:
    """Write the integers `low..high`, both within `-LIMIT..LIMIT` and in order."""
    parts = []
    if low < 0:
        parts.append(f'"-" ({_natural_between(max(1, -high), -low)})')
    if high >= 0:
        parts.append(_natural_between(max(0, low), high))
    return " | ".join(parts)


def number_between(low: int, high: int, *, with_low: bool, with_high: bool) -> str:
    """Write the decimals between two integers, each end in or out; `low` < `high`, or equal with both in."""
    parts = []
    if low < 0:
        ends = (max(0, -high), -low)
        inner = _decimal_between(*ends, with_low=(with_high if high <= 0 else True), with_high=with_low)
        parts.append(f'"-" ({inner})')
    if high > 0 or (high == 0 and with_high):
        parts.append(
            _decimal_between(max(0, low), high, with_low=(with_low if low >= 0 else True), with_high=with_high)
        )
    return " | ".join(parts)


_FRACTION = '("." [0-9]{1,15})?'
_ABOVE_ZERO = '"." "0"{0,6} [1-9] [0-9]{0,8}'
_ZERO = '("." "0"{1,6})?'


def _decimal_between(low: int, high: int, *, with_low: bool, with_high: bool) -> str:
    """Write decimals without a sign, `0 <= low <= high`."""
    parts = []
    if low < high:
        first = low if with_low else low + 1
        if not with_low:
            parts.append(f'"{low}" {_ABOVE_ZERO}')
        if first <= high - 1:
            parts.append(f"({_natural_between(first, high - 1)}) {_FRACTION}")
    if with_high:
        parts.append(f'"{high}" {_ZERO}')
    return " | ".join(parts)


def _natural_between(low: int, high: int) -> str:
    """Write the integers `low..high` without a sign: one alternative a count of digits."""
    parts = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (digits - 1) if digits > 1 else 0)
        last = min(high, 10**digits - 1)
        parts.append(_same_length(str(first), str(last)))
    return " | ".join(parts)


def _same_length(low: str, high: str) -> str:
    if not low:
        return '""'
    if low == high:
        return f'"{low}"'
    rest = len(low) - 1
    if low[0] == high[0]:
        return f'"{low[0]}" ({_same_length(low[1:], high[1:])})'
    parts = []
    first, last = int(low[0]), int(high[0])
    if low[1:] != "0" * rest:
        parts.append(f'"{low[0]}" ({_same_length(low[1:], "9" * rest)})')
        first += 1
    if high[1:] != "9" * rest:
        parts.append(f'"{high[0]}" ({_same_length("0" * rest, high[1:])})')
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}]" + (f" [0-9]{{{rest}}}" if rest else ""))
    return " | ".join(parts)
