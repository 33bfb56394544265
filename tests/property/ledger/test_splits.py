"""Laws of cost and split, over every price and count there can be."""

from __future__ import annotations

import os
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.coordinator.ledger.prices import Terms, TermsTable, hold_amount, split
from hushnet.foundation.money import PRICE_MICRO_USD_MAX, TOKENS_MAX, Price, Tokens, cost

DRAWS = 1_000 * int(os.environ.get("HUSH_HISTORIES", "1"))

bps = st.integers(0, 10_000)
tokens = st.integers(0, TOKENS_MAX)
money = st.integers(0, PRICE_MICRO_USD_MAX)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    input_ = draw(money)
    return Price(input_, draw(st.integers(0, input_)), draw(money), draw(money))


@settings(max_examples=DRAWS, deadline=None)
@given(
    st.integers(0, 10**15), st.builds(Terms, bps, bps, st.integers(0, 5000), st.integers(0, 50_000), bps), st.booleans()
)
def test_parts_always_add_up(amount: int, terms: Terms, has_referrer: bool) -> None:
    parts = split(amount, terms, has_referrer=has_referrer)

    assert parts.provider + parts.platform + parts.referral == amount
    assert min(parts.provider, parts.platform, parts.referral) >= 0


@settings(max_examples=DRAWS, deadline=None)
@given(prices(), tokens, tokens, st.integers(0, 50_000), st.data())
def test_settlement_never_exceeds_hold_bound(
    price: Price, prompt_max: int, output_max: int, tier_max: int, data: st.DataObject
) -> None:
    used = data.draw(st.integers(0, prompt_max))
    cached = data.draw(st.integers(0, used))
    output = data.draw(st.integers(0, output_max))
    tier = data.draw(st.integers(0, tier_max))
    bound = hold_amount(price, prompt_tokens_max=prompt_max, output_tokens_max=output_max, tier_bps_max=tier_max)

    assert cost(price, Tokens(used, cached, output), tier_bps=tier, discount_bps=data.draw(bps)) <= bound


@settings(max_examples=DRAWS // 10, deadline=None)
@given(prices(), st.lists(st.integers(0, 50_000), min_size=4, max_size=4), st.integers(0, 3), bps, st.data())
def test_no_tier_that_a_route_may_choose_exceeds_the_hold(
    price: Price, tiers: list[int], floor: int, discount: int, data: st.DataObject
) -> None:
    table = TermsTable(tier_bps=tuple(tiers))
    prompt, output = data.draw(st.integers(0, 100_000)), data.draw(st.integers(0, 100_000))
    bound = hold_amount(
        price, prompt_tokens_max=prompt, output_tokens_max=output, tier_bps_max=table.tier_bps_max(floor)
    )

    for tier in range(max(floor, 1), 4):
        terms = table.of(tier, discount)
        spent = cost(price, Tokens(prompt, 0, output), tier_bps=terms.tier_bps, discount_bps=terms.discount_bps)
        assert spent <= bound


def near(rng: Random, high: int) -> int:
    """A number up to `high`, often one of its ends or small: where rounding turns."""
    return rng.choice((0, min(high, 1), high, rng.randint(0, high), rng.randint(0, min(high, 1000))))


def test_settlement_never_exceeds_hold_bound_in_two_hundred_thousand_draws() -> None:
    rng = Random(2)
    for _ in range(200_000):
        input_ = near(rng, PRICE_MICRO_USD_MAX)
        price = Price(input_, near(rng, input_), near(rng, PRICE_MICRO_USD_MAX), near(rng, 10**6))
        prompt_max, output_max, tier_max = near(rng, TOKENS_MAX), near(rng, TOKENS_MAX), near(rng, 50_000)
        used = near(rng, prompt_max)
        tokens_used = Tokens(used, near(rng, used), near(rng, output_max))
        bound = hold_amount(price, prompt_tokens_max=prompt_max, output_tokens_max=output_max, tier_bps_max=tier_max)
        paid = cost(price, tokens_used, tier_bps=near(rng, tier_max), discount_bps=near(rng, 10_000))

        assert paid <= bound
