"""Amounts of coins: integers at a pair's scale, read from and written to decimal text, digit by digit.

No float and no `Decimal` takes part, not even for JSON numbers: `gateways.http` hands those over as the text that was
sent. Digits finer than the scale are floored, and the text is kept beside the units (design/ledger.md section 1).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from hushnet.coordinator.payments.coins.assets import Pair
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX

UNITS_MAX: Final = TRANSFER_MICRO_USD_MAX
"""The ledger's bound of one transfer, in any asset."""
USD_SCALE: Final = 6
_TEXT_MAX: Final = 64
_EXPONENT_MAX: Final = 40
_DECIMAL: Final = re.compile(r"([0-9]{1,40})(?:\.([0-9]{1,40}))?(?:[eE]([+-]?[0-9]{1,2}))?", re.ASCII)


class UnitsError(RequestError):
    """An amount of a coin is not a plain decimal number inside the bounds."""

    code = "bad_coin_amount"


class Amount(NamedTuple):
    """What a text said: whole units, floored, and whether something finer was left off."""

    units: int
    is_floored: bool


def parse_amount(text: str, scale: int) -> Amount:
    """Read a decimal text as units of 10**-scale, floored.

    An exponent is taken digit by digit too (gateways that write JSON from doubles send `1e-7`). Signs, spaces, NaN,
    infinities, hexadecimal and more than 10**15 units raise `UnitsError`, which never shows the text.
    """
    match = _DECIMAL.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if match is None:
        raise UnitsError("an amount of coins is a plain decimal number")
    whole, fraction, exponent = match.group(1), match.group(2) or "", int(match.group(3) or "0")
    if abs(exponent) > _EXPONENT_MAX:
        raise UnitsError("an amount of coins is a plain decimal number")
    digits, places = int(whole + fraction), len(fraction) - exponent
    if places <= scale:
        units, rest = digits * 10 ** (scale - places), 0
    else:
        units, rest = divmod(digits, 10 ** (places - scale))
    if units > UNITS_MAX:
        raise UnitsError("an amount of coins is out of bounds")
    return Amount(units, rest != 0)


def parse_units(text: str, pair: Pair) -> int:
    """Read a decimal text as the pair's units, floored; raises `UnitsError`."""
    return parse_amount(text, pair.scale).units


def format_units(units: int, scale: int) -> str:
    """Write units as decimal text that is exactly as much, without needless zeros: `0.00032700` is `0.000327`."""
    whole, fraction = divmod(units, 10**scale)
    decimals = f"{fraction:0{scale}d}".rstrip("0") if scale else ""
    return f"{whole}.{decimals}" if decimals else str(whole)


def units_due(usd: int, rate: int, scale: int) -> int:
    """Return the units that `usd` micro-USD cost at `rate` micro-USD per whole coin, rounded up.

    Raises `UnitsError` when that is not in 1..10**15.
    """
    due: int = -(-usd * 10**scale // rate)
    if not 1 <= due <= UNITS_MAX:
        raise UnitsError("the amount is too small or too large for this coin")
    return due


def usd_of(units: int, *, usd: int, due: int) -> int:
    """Return what `units` are worth at an invoice of `usd` for `due` units, rounded down: exactly due is exactly usd."""
    return units * usd // due


def usd_at(units: int, rate: int, scale: int) -> int:
    """Return what `units` are worth in micro-USD at a rate, rounded down."""
    usd: int = units * rate // 10**scale
    return usd


def units_for(usd: int, rate: int, scale: int) -> int:
    """Return the most units that are worth no more than `usd` at a rate; raises `UnitsError` outside 1..10**15."""
    units: int = usd * 10**scale // rate
    if not 1 <= units <= UNITS_MAX:
        raise UnitsError("the amount is too small or too large for this coin")
    return units
