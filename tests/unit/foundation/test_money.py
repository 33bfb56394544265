"""Money at the edge and in prices."""

from __future__ import annotations

import pytest

from hushnet.foundation.money import AmountError, MicroUsd, Price, Tokens, cost, format_usd, parse_usd

PRICE = Price(input=100_000, cached=50_000, output=400_000, minimum=1)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", 0), ("5", 5_000_000), ("5.1", 5_100_000), ("0.01", 10_000), ("9999999.99", 9_999_999_990_000)],
)
def test_usd_text_is_read_exactly(text: str, amount: int) -> None:
    assert parse_usd(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "01",
        "1.",
        ".5",
        "1.234",
        "1e3",
        "nan",
        "inf",
        "1,5",
        " 1",
        "1 ",
        "1\n",
        "10000000",
        "١",
        "0x1",
        "1_0",
    ],
)
def test_nan_inf_exponent_negative_and_fraction_of_a_cent_are_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_usd(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (5_000_000, "$5.00"), (123, "$0.000123"), (-1_500_000, "-$1.50"), (1, "$0.000001")],
)
def test_micro_usd_is_written_without_losing_a_digit(amount: int, text: str) -> None:
    assert format_usd(amount) == text


def test_cost_is_rounded_up_once() -> None:
    assert cost(PRICE, Tokens(input=11, cached=0, output=0)) == MicroUsd(2)  # 1.1 rounded up
    assert cost(PRICE, Tokens(input=10, cached=10, output=0)) == MicroUsd(1)  # 0.5 rounded up
    assert cost(PRICE, Tokens(input=3, cached=1, output=2)) == MicroUsd(2)  # 1.05 rounded up: one rounding, not three


def test_the_minimum_holds_for_a_tiny_answer() -> None:
    assert cost(Price(input=1, cached=0, output=1, minimum=7), Tokens(input=1, cached=0, output=1)) == 7


def test_a_tier_multiplies_and_a_discount_lowers() -> None:
    tokens = Tokens(input=1_000_000, cached=0, output=0)
    assert cost(PRICE, tokens, tier_bps=15_000) == 150_000
    assert cost(PRICE, tokens, discount_bps=2_500) == 75_000


@pytest.mark.parametrize("value", [True, 1.0, "1", -1, 2**31, None])
def test_token_counts_are_bounded_integers(value: object) -> None:
    with pytest.raises(AmountError):
        Tokens(input=value, cached=0, output=0)  # type: ignore[arg-type]


def test_max_tokens_times_price_cannot_overflow_or_shrink() -> None:
    most = Price(input=10**10, cached=10**10, output=10**10)
    huge = cost(most, Tokens(input=2**31 - 1, cached=0, output=2**31 - 1), tier_bps=50_000)
    assert huge == -(-(2 * (2**31 - 1) * 10**10 * 50_000 * 10_000) // 10**14)


def test_cached_input_never_costs_more_than_fresh() -> None:
    with pytest.raises(AmountError):
        Price(input=1, cached=2, output=0)
