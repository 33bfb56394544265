"""Laws of the price formula (design: one rounding up, monotone in every count)."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hushnet.foundation.money import Price, Tokens, cost, format_usd, parse_usd

_prices = st.integers(0, 10**7)
_counts = st.integers(0, 10**6)


@st.composite
def _price(draw: st.DrawFn) -> Price:
    fresh = draw(_prices)
    return Price(
        input=fresh, cached=draw(st.integers(0, fresh)), output=draw(_prices), minimum=draw(st.integers(0, 100))
    )


@given(_price(), _counts, _counts, _counts, st.integers(0, 50_000), st.integers(0, 10_000))
def test_cost_is_the_exact_price_rounded_up(
    price: Price, fresh: int, cached: int, out: int, tier: int, off: int
) -> None:
    exact = Fraction(fresh * price.input + cached * price.cached + out * price.output, 10**6)
    exact *= Fraction(tier, 10_000) * Fraction(10_000 - off, 10_000)
    got = cost(price, Tokens(input=fresh + cached, cached=cached, output=out), tier_bps=tier, discount_bps=off)
    assert got == max(price.minimum, -(-exact.numerator // exact.denominator))


@given(_price(), _counts, _counts, _counts, _counts, _counts)
def test_a_settlement_inside_the_bounds_never_exceeds_its_hold(
    price: Price, fresh: int, cached: int, out: int, more_in: int, more_out: int
) -> None:
    used = cost(price, Tokens(input=fresh + cached, cached=cached, output=out))
    held = cost(price, Tokens(input=fresh + cached + more_in, cached=0, output=out + more_out))
    assert used <= held


@given(st.integers(0, 999_999_999))
def test_cents_survive_the_round_trip_through_text(cents: int) -> None:
    assert parse_usd(format_usd(cents * 10_000).removeprefix("$")) == cents * 10_000
