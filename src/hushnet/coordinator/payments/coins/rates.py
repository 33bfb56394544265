"""What a coin is worth: micro-USD per whole coin, an integer, fixed at the invoice or at the sending of a payout.

A deposit's rate is the gateway's own quote (units for dollars); a payout and late coins ask a `RateSource`. Every rate
passes the pair's bounds, so that a gateway that mixes up dollars and coins is refused instead of believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hushnet.coordinator.payments.coins.assets import Pair
from hushnet.coordinator.payments.coins.units import USD_SCALE, UnitsError, parse_amount
from hushnet.foundation.errors import HushnetError


class RateError(HushnetError):
    """A rate is missing or cannot be believed; nothing is priced with it."""

    code = "bad_rate"
    is_retryable = True


class RateSource(Protocol):
    """Something that knows today's rates."""

    async def rate(self, pair: Pair) -> int:
        """Return micro-USD per whole coin; raises `RateError` when it is not known now."""
        ...


def checked_rate(pair: Pair, rate: int) -> int:
    """Return `rate` when it is believable for the pair; raises `RateError`."""
    if not pair.low <= rate <= pair.high:
        raise RateError(f"the rate of {pair.name} is out of its bounds")
    return rate


def parse_rate(pair: Pair, text: str) -> int:
    """Read dollars per whole coin, floored to micro-USD; raises `RateError`."""
    try:
        rate = parse_amount(text, USD_SCALE).units
    except UnitsError:
        raise RateError(f"the rate of {pair.name} is not a number") from None
    return checked_rate(pair, rate)


def quoted_rate(pair: Pair, *, usd: int, due: int) -> int:
    """Return the rate that a quote of `due` units for `usd` micro-USD means, rounded down; raises `RateError`."""
    if due < 1:
        raise RateError(f"the quote for {pair.name} is for nothing")
    return checked_rate(pair, usd * 10**pair.scale // due)


class FixedRates:
    """Rates that the operator wrote down, before another source is asked."""

    def __init__(self, rates: Mapping[str, int], otherwise: RateSource | None = None) -> None:
        self._rates = dict(rates)
        self._otherwise = otherwise

    async def rate(self, pair: Pair) -> int:
        """Return the rate that was set, else what the other source says; raises `RateError`."""
        fixed = self._rates.get(pair.name)
        if fixed is not None:
            return checked_rate(pair, fixed)
        if self._otherwise is None:
            raise RateError(f"no rate of {pair.name} is known")
        return checked_rate(pair, await self._otherwise.rate(pair))
