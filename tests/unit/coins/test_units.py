"""Coin amounts and rates: digit by digit, floored at the scale, bounded, and never a float."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.payments.coins.addresses import Destination
from hushnet.coordinator.payments.coins.assets import PAIRS, AssetError, find_pair, pair_named, pair_of
from hushnet.coordinator.payments.coins.rates import FixedRates, RateError, parse_rate, quoted_rate
from hushnet.coordinator.payments.coins.units import (
    UNITS_MAX,
    Amount,
    UnitsError,
    format_units,
    parse_amount,
    parse_units,
    units_due,
    units_for,
    usd_at,
    usd_of,
)
from hushnet.coordinator.payments.coins.uris import payment_uri

BTC, ETH, XRP = (pair_named(name) for name in ("BTC.bitcoin", "ETH.ethereum", "XRP.ripple"))


def test_there_are_sixteen_pairs_with_the_scales_of_the_design() -> None:
    assert len({pair.name for pair in PAIRS}) == len(PAIRS) == 16
    scales = {pair.asset: pair.scale for pair in PAIRS}
    assert scales == {
        **dict.fromkeys(("BTC", "BCH", "DOGE"), 8),
        **dict.fromkeys(("ETH", "SOL", "POL", "BNB"), 9),
        **dict.fromkeys(("XRP", "ADA", "USDT", "USDC"), 6),
    }
    assert {pair.network for pair in PAIRS if pair.asset == "USDC"} == {"ethereum", "polygon", "solana", "base"}
    assert {pair.network for pair in PAIRS if pair.asset == "USDT"} == {"ethereum", "polygon", "solana"}
    assert all(pair.decimals >= pair.scale and pair.low < pair.high for pair in PAIRS)


def test_a_coin_on_several_networks_needs_its_network() -> None:
    assert find_pair("btc").name == "BTC.bitcoin"
    assert find_pair("USDC", "Base").name == "USDC.base"
    for asset, network in (("USDC", ""), ("USDC", "bitcoin"), ("USDT", "base"), ("LTC", ""), ("", "")):
        with pytest.raises(AssetError):
            find_pair(asset, network)
    with pytest.raises(AssetError):
        pair_of("BTC", "base")
    with pytest.raises(AssetError):
        pair_named("BTC")


@pytest.mark.parametrize(
    ("text", "scale", "expected"),
    [
        ("0", 8, Amount(0, False)),
        ("1", 8, Amount(100_000_000, False)),
        ("0.00032700", 8, Amount(32_700, False)),
        ("0.000000019", 8, Amount(1, True)),
        ("0.000000009999", 8, Amount(0, True)),
        ("1.5e-7", 8, Amount(15, False)),
        ("1.55E-7", 8, Amount(15, True)),
        ("2e+1", 6, Amount(20_000_000, False)),
        ("000.10", 6, Amount(100_000, False)),
        ("1000000000", 6, Amount(UNITS_MAX, False)),
        ("1000000000.0000001", 6, Amount(UNITS_MAX, True)),
    ],
)
def test_units_beyond_the_scale_are_floored(text: str, scale: int, expected: Amount) -> None:
    assert parse_amount(text, scale) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1", "1 ", "-1", "+1", ".5", "1.", "1,5", "0x10", "NaN", "Infinity", "inf", "1e", "1e-41", "1e99"),
        *("1_000", "١", "1e999999999", "1" * 65, "1000000000.000001", "9" * 30, "1\n"),
    ],
)
def test_what_is_no_plain_number_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(UnitsError) as refused:
        parse_amount(text, 6)
    assert not text.strip() or text not in str(refused.value)


@given(units=st.integers(0, UNITS_MAX), scale=st.sampled_from([6, 8, 9]))
def test_written_units_read_back_the_same(units: int, scale: int) -> None:
    assert parse_amount(format_units(units, scale), scale) == Amount(units, False)


@given(usd=st.integers(10_000, 10**13), rate=st.integers(1, 10**12), scale=st.sampled_from([6, 8, 9]))
def test_paying_exactly_what_is_due_credits_exactly_the_invoice(usd: int, rate: int, scale: int) -> None:
    try:
        due = units_due(usd, rate, scale)
    except UnitsError:
        assert -(-usd * 10**scale // rate) > UNITS_MAX
        return
    assert usd_of(due, usd=usd, due=due) == usd
    assert usd_of(due - 1, usd=usd, due=due) < usd
    assert usd_at(due, rate, scale) >= usd


@given(usd=st.integers(10_000, 10**13), rate=st.integers(10**3, 10**12), scale=st.sampled_from([6, 8, 9]))
def test_a_payout_never_sends_more_than_its_dollars(usd: int, rate: int, scale: int) -> None:
    try:
        units = units_for(usd, rate, scale)
    except UnitsError:
        return
    assert usd_at(units, rate, scale) <= usd
    assert usd_at(units + 1, rate, scale) >= usd - 1


def test_a_rate_is_believed_within_its_bounds_only() -> None:
    assert parse_rate(BTC, "61234.567890123") == 61_234_567_890
    for text in ("0", "20", "NaN", "-1", "1e12", "99999999"):
        with pytest.raises(RateError):
            parse_rate(BTC, text)
    with pytest.raises(RateError):
        parse_rate(pair_named("USDC.base"), "0.5")


def test_coin_amount_is_units_not_dollars() -> None:
    usd = 20_000_000
    assert quoted_rate(BTC, usd=usd, due=parse_units("0.000327", BTC)) == 61_162_079_510
    with pytest.raises(RateError):  # a gateway that says 20 where it means dollars asks for 20 bitcoin
        quoted_rate(BTC, usd=usd, due=parse_units("20", BTC))
    with pytest.raises(RateError):
        quoted_rate(BTC, usd=usd, due=0)


async def test_rates_that_the_operator_wrote_down_come_first() -> None:
    rates = FixedRates({"XRP.ripple": 2_500_000}, otherwise=FixedRates({"BTC.bitcoin": 60_000_000_000}))
    assert await rates.rate(XRP) == 2_500_000
    assert await rates.rate(BTC) == 60_000_000_000
    with pytest.raises(RateError):
        await rates.rate(ETH)
    with pytest.raises(RateError):
        await FixedRates({"BTC.bitcoin": 1}).rate(BTC)


def test_a_wallet_is_asked_for_exactly_what_is_due() -> None:
    assert payment_uri(BTC, Destination("bc1q"), 32_700) == "bitcoin:bc1q?amount=0.000327"
    assert payment_uri(ETH, Destination("0xA"), 1) == "ethereum:0xA@1?value=1000000000"
    assert payment_uri(XRP, Destination("rA", 7), 1_500_000) == "ripple:rA?amount=1.5&dt=7"
    assert payment_uri(pair_named("BCH.bitcoin-cash"), Destination("bitcoincash:q"), 10) == (
        "bitcoincash:q?amount=0.0000001"
    )
    assert payment_uri(pair_named("ADA.cardano"), Destination("addr1"), 2_000_000) == "web+cardano:addr1?amount=2"
    assert payment_uri(pair_named("DOGE.dogecoin"), Destination("D"), 10**8) == "dogecoin:D?amount=1"
    assert payment_uri(pair_named("USDC.base"), Destination("0xA"), 1) == ""
