"""Gross, fee and net of a payout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.payments.payouts.fees import CENT, PayoutTooSmallError, Split, Tariff, split, whole_cents
from hushnet.foundation.errors import HushnetError
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX

USUAL = Tariff()


@pytest.mark.parametrize(
    ("gross_cents", "fee_cents"),
    [(100, 50), (3333, 50), (3334, 51), (10_000, 150), (10_001, 151), (2**40, -(-(2**40) * 150 // 10_000))],
)
def test_an_instant_payout_costs_the_larger_of_a_share_and_a_minimum_rounded_up(
    gross_cents: int, fee_cents: int
) -> None:
    gross, fee = gross_cents * CENT, fee_cents * CENT
    if gross <= TRANSFER_MICRO_USD_MAX:
        assert split(gross, USUAL, is_instant=True) == Split(gross, fee, gross - fee)
    assert split(min(gross, TRANSFER_MICRO_USD_MAX), USUAL, is_instant=False).fee == 0


@given(st.integers(100, TRANSFER_MICRO_USD_MAX // CENT), st.booleans())
def test_gross_fee_and_net_are_whole_cents_that_add_up(cents: int, is_instant: bool) -> None:
    made = split(cents * CENT, USUAL, is_instant=is_instant)
    assert made.gross == made.fee + made.net
    assert made.gross % CENT == made.fee % CENT == made.net % CENT == 0
    assert made.net > 0
    assert made.net_cents * CENT == made.net
    assert made.fee * 10_000 >= made.gross * 150 * is_instant


@pytest.mark.parametrize("gross", [0, -CENT, 99 * CENT, CENT * 100 + 1, TRANSFER_MICRO_USD_MAX + CENT, True, 1.5e6])
def test_an_amount_that_cannot_be_sent_is_refused(gross: int) -> None:
    with pytest.raises(HushnetError):
        split(gross, USUAL, is_instant=False)


def test_a_fee_that_eats_the_payout_is_refused() -> None:
    with pytest.raises(PayoutTooSmallError):
        split(100 * CENT, Tariff(instant_fee_cents_min=100), is_instant=True)


def test_everything_is_what_is_whole_cents_of_it() -> None:
    assert [whole_cents(amount) for amount in (0, 9_999, 10_000, 129_999)] == [0, 0, 10_000, 120_000]
