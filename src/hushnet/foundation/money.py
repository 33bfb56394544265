"""Money is int micro-USD (10**-6 USD); text and cents exist only at the edge (design/ledger.md section 1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NewType

from hushnet.foundation.errors import RequestError

MicroUsd = NewType("MicroUsd", int)

TRANSFER_MICRO_USD_MAX: Final = 10**15
PRICE_MICRO_USD_MAX: Final = 10**10
TOKENS_MAX: Final = 2**31 - 1
BASIS_POINTS_ONE: Final = 10_000
TIER_BASIS_POINTS_MAX: Final = 50_000

_USD_TEXT = re.compile(r"(0|[1-9][0-9]{0,6})(?:\.([0-9]{1,2}))?", re.ASCII)


class AmountError(RequestError):
    """A number is outside the bounds that the ledger works in."""

    code = "amount_out_of_bounds"


def require_int(name: str, value: object, low: int, high: int) -> int:
    """Return `value` when it is an int (a bool is not) in `low..high`; raise `AmountError` otherwise."""
    if type(value) is not int or not low <= value <= high:
        raise AmountError(f"{name} must be an integer in {low}..{high}")
    return value


def parse_usd(text: str) -> MicroUsd:
    """Read `12`, `12.3` or `12.34` US dollars; anything else raises `AmountError`."""
    match = _USD_TEXT.fullmatch(text)
    if match is None:
        raise AmountError("an amount in USD looks like 12 or 12.34")
    dollars, cents = match.groups(default="")
    return MicroUsd(int(dollars) * 1_000_000 + int(cents.ljust(2, "0")) * 10_000)


def format_usd(amount: int) -> str:
    """Write micro-USD as dollars, at least two decimals, no digit lost: `$0.000123`, `-$1.50`."""
    sign = "-" if amount < 0 else ""
    dollars, micros = divmod(abs(amount), 1_000_000)
    decimals = f"{micros:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${dollars}.{decimals}"


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price: micro-USD per 10**6 tokens, and the least that a delivered answer costs."""

    input: int
    cached: int
    output: int
    minimum: int = 0

    def __post_init__(self) -> None:
        for name in ("input", "cached", "output", "minimum"):
            require_int(f"price.{name}", getattr(self, name), 0, PRICE_MICRO_USD_MAX)
        if self.cached > self.input:
            raise AmountError("a cached input token never costs more than a fresh one")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a request used: `cached` is the part of `input` that came from a prefix cache."""

    input: int
    cached: int
    output: int

    def __post_init__(self) -> None:
        for name in ("input", "cached", "output"):
            require_int(f"tokens.{name}", getattr(self, name), 0, TOKENS_MAX)
        if self.cached > self.input:
            raise AmountError("cached tokens are a part of the input tokens")


def cost(price: Price, tokens: Tokens, *, tier_bps: int = BASIS_POINTS_ONE, discount_bps: int = 0) -> MicroUsd:
    """Price `tokens` in micro-USD: one rounding, up, then the minimum (design/ledger.md section 1).

    Monotone in every count, so a settlement within a hold's bounds never exceeds the hold.
    """
    require_int("tier_bps", tier_bps, 0, TIER_BASIS_POINTS_MAX)
    require_int("discount_bps", discount_bps, 0, BASIS_POINTS_ONE)
    weighted = (
        (tokens.input - tokens.cached) * price.input + tokens.cached * price.cached + tokens.output * price.output
    ) * (tier_bps * (BASIS_POINTS_ONE - discount_bps))
    return MicroUsd(max(price.minimum, -(-weighted // 10**14)))
