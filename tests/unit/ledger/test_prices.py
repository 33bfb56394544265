"""What a request reserves, costs and pays out."""

from __future__ import annotations

from typing import Any

import pytest

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import CloseKind, Credit, Held, Tier, UsageOutcome
from hushnet.coordinator.ledger.prices import (
    Reservation,
    Split,
    Terms,
    TermsTable,
    billed_tokens,
    hold_amount,
    settlement,
    split,
)
from hushnet.foundation.ids import RequestId
from hushnet.foundation.money import TOKENS_MAX, AmountError, Price, Tokens
from support.ledger import CONSUMER, PROVIDER, REFERRER, usage

PRICE = Price(input=100_000, cached=50_000, output=400_000, minimum=1)
RESERVATION = Reservation(RequestId(2), CONSUMER, Held(100, 0, 0))


def test_a_hold_covers_the_bounds_at_the_highest_tier() -> None:
    assert hold_amount(PRICE, prompt_tokens_max=1000, output_tokens_max=500) == 100 + 200
    assert hold_amount(PRICE, prompt_tokens_max=1000, output_tokens_max=500, tier_bps_max=15_000) == 450


def test_a_free_model_holds_nothing() -> None:
    free = Price(input=0, cached=0, output=0)

    assert hold_amount(free, prompt_tokens_max=TOKENS_MAX, output_tokens_max=TOKENS_MAX) == 0


@pytest.mark.parametrize("output_tokens_max", [2**31, 2**63, -1, True, 1.5, "9"])
def test_max_tokens_times_n_cannot_overflow_or_shrink_a_hold(output_tokens_max: object) -> None:
    with pytest.raises(AmountError):
        hold_amount(PRICE, prompt_tokens_max=1, output_tokens_max=output_tokens_max)  # type: ignore[arg-type]


def test_the_dearest_request_there_can_be_is_within_one_transfer() -> None:
    dearest = Price(input=10**10, cached=10**10, output=10**10)

    assert (
        hold_amount(dearest, prompt_tokens_max=TOKENS_MAX, output_tokens_max=TOKENS_MAX, tier_bps_max=50_000) < 10**15
    )


def test_a_provider_cannot_bill_tokens_it_did_not_relay() -> None:
    reported = Tokens(input=5000, cached=4500, output=900)

    billed = billed_tokens(reported, prompt_tokens_max=4000, output_tokens_max=800, content_bytes_relayed=70)

    assert billed == Tokens(input=4000, cached=4000, output=70)


def test_an_honest_report_is_billed_as_it_is() -> None:
    reported = Tokens(input=50, cached=10, output=20)

    assert billed_tokens(reported, prompt_tokens_max=64, output_tokens_max=32, content_bytes_relayed=90) == reported


def test_an_empty_completion_costs_nothing() -> None:
    close = settlement(RESERVATION, usage(tokens_out=0), PRICE, Terms(), is_delivered=False)

    assert (close.kind, close.credits) == (CloseKind.VOID, ())


def test_minimum_charge_needs_delivery() -> None:
    dear = Price(input=0, cached=0, output=0, minimum=30)
    failed = usage(UsageOutcome.NOT_DELIVERED, tokens_out=0)

    delivered = settlement(RESERVATION, usage(tokens_out=1), dear, Terms(), is_delivered=True)
    undelivered = settlement(RESERVATION, failed, dear, Terms(), is_delivered=False)

    assert delivered.credits == (Credit(user_account(PROVIDER, Kind.EARNINGS), 30),)
    assert undelivered.kind == CloseKind.VOID


def test_referral_comes_out_of_the_fee() -> None:
    terms = Terms(fee_bps=2000, referral_bps=2500)

    assert split(1000, terms, has_referrer=True) == Split(provider=800, platform=150, referral=50)
    assert split(1000, terms) == Split(provider=800, platform=200, referral=0)


def test_a_share_below_one_goes_to_the_platform() -> None:
    assert split(1000, Terms(fee_bps=1000, share_bps=9000)) == Split(provider=810, platform=190, referral=0)


def test_a_settlement_names_every_receiver_once_and_in_order() -> None:
    use = usage(tokens_out=100, referrer=REFERRER)
    price = Price(input=0, cached=0, output=1_000_000)

    close = settlement(RESERVATION, use, price, Terms(fee_bps=2000, referral_bps=5000), is_delivered=True)

    assert close.credits == (
        Credit(user_account(PROVIDER, Kind.EARNINGS), 80),
        Credit(operator_account(Kind.REVENUE), 10),
        Credit(operator_account(Kind.REFERRAL_PAYABLE), 10),
    )


def test_the_terms_of_an_attempt_are_those_of_its_tier() -> None:
    table = TermsTable(
        fee_bps=100, referral_bps=2_000, tier_bps=(0, 9_000, 12_000, 11_000), share_bps=(0, 7_000, 8_000, 9_000)
    )

    assert table.of(Tier.MEASURED, 250) == Terms(100, 8_000, 2_000, 12_000, 250)


@pytest.mark.parametrize(("floor", "most"), [(0, 12_000), (1, 12_000), (2, 12_000), (3, 11_000)])
def test_the_highest_tier_that_a_route_may_choose_bounds_the_hold(floor: int, most: int) -> None:
    """Nobody serves below `self_signed`, whatever that tier's number says."""
    assert TermsTable(tier_bps=(50_000, 9_000, 12_000, 11_000)).tier_bps_max(floor) == most


@pytest.mark.parametrize(
    "numbers", [{"tier_bps": (0, 0, 0, 50_001)}, {"share_bps": (0, 0, 0, 10_001)}, {"fee_bps": -1}]
)
def test_a_table_of_terms_out_of_bounds_is_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(AmountError):
        TermsTable(**numbers)


@pytest.mark.parametrize(
    "terms", [{"fee_bps": 10_001}, {"share_bps": -1}, {"referral_bps": 5001}, {"fee_bps": True}, {"fee_bps": 0.5}]
)
def test_terms_out_of_bounds_are_refused(terms: dict[str, int]) -> None:
    with pytest.raises(AmountError):
        Terms(**terms)
