"""What a request reserves, what it costs, and who gets which part: pure integer arithmetic in micro-USD.

One rounding per request, up, in `foundation.money.cost`; every split takes its remainder by subtraction, so parts
always add up. The cost is monotone in each count: a settlement within a hold's bounds never exceeds the hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import CapUse, Close, CloseKind, Credit, Held, Tier, Usage
from hushnet.foundation.ids import AccountId, RequestId
from hushnet.foundation.money import (
    BASIS_POINTS_ONE,
    TIER_BASIS_POINTS_MAX,
    TRANSFER_MICRO_USD_MAX,
    Price,
    Tokens,
    cost,
    require_int,
)

REFERRAL_BPS_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Terms:
    """How a cost is reckoned and divided, in basis points.

    The platform takes `fee_bps` of the cost and gives `referral_bps` of that fee to the consumer's referrer, if any;
    the provider gets `share_bps` of the rest, the platform what remains. `tier_bps` multiplies the price.
    """

    fee_bps: int = 0
    share_bps: int = BASIS_POINTS_ONE
    referral_bps: int = 0
    tier_bps: int = BASIS_POINTS_ONE
    discount_bps: int = 0

    def __post_init__(self) -> None:
        require_int("fee_bps", self.fee_bps, 0, BASIS_POINTS_ONE)
        require_int("share_bps", self.share_bps, 0, BASIS_POINTS_ONE)
        require_int("referral_bps", self.referral_bps, 0, REFERRAL_BPS_MAX)
        require_int("tier_bps", self.tier_bps, 0, TIER_BASIS_POINTS_MAX)
        require_int("discount_bps", self.discount_bps, 0, BASIS_POINTS_ONE)


_NEUTRAL: Final = (BASIS_POINTS_ONE,) * len(Tier)


@dataclass(frozen=True, slots=True)
class TermsTable:
    """The terms of every attempt: fee and referral share are the same for all, the rest depends on the tier that serves.

    `tier_bps` and `share_bps` have one number for each `Tier`, weakest first; all 10,000 is neutral.
    """

    fee_bps: int = 0
    referral_bps: int = 0
    tier_bps: tuple[int, ...] = _NEUTRAL
    share_bps: tuple[int, ...] = _NEUTRAL

    def __post_init__(self) -> None:
        for tier in Tier:
            self.of(tier)

    def of(self, tier: int, discount_bps: int = 0) -> Terms:
        """Return the terms at a provider of `tier` whose owner gives that discount."""
        return Terms(self.fee_bps, self.share_bps[tier], self.referral_bps, self.tier_bps[tier], discount_bps)

    def tier_bps_max(self, floor: int) -> int:
        """Return the highest multiplier that a request of this trust floor may meet, wherever it is routed."""
        return max(self.tier_bps[max(floor, Tier.SELF_SIGNED) :])


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts of a cost."""

    provider: int
    platform: int
    referral: int


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """A hold that stands, as the life of its request carries it."""

    id: RequestId
    owner: AccountId
    parts: Held
    caps: tuple[CapUse, ...] = ()


def hold_amount(
    price: Price, *, prompt_tokens_max: int, output_tokens_max: int, tier_bps_max: int = BASIS_POINTS_ONE
) -> int:
    """Return the most that a request within these bounds can cost; 0 (a free model) needs no hold.

    Raises `AmountError` for a bound outside what the ledger counts in.
    """
    return cost(price, Tokens(input=prompt_tokens_max, cached=0, output=output_tokens_max), tier_bps=tier_bps_max)


def billed_tokens(
    reported: Tokens, *, prompt_tokens_max: int, output_tokens_max: int, content_bytes_relayed: int
) -> Tokens:
    """Return what is charged of what the provider reported, never more than the bounds or what was relayed.

    An output token is at least one byte of content, so more tokens than relayed bytes were not delivered.
    """
    prompt = min(reported.input, prompt_tokens_max)
    return Tokens(
        input=prompt,
        cached=min(reported.cached, prompt),
        output=min(reported.output, output_tokens_max, content_bytes_relayed),
    )


def split(amount: int, terms: Terms, *, has_referrer: bool = False) -> Split:
    """Divide a cost; the three parts are >= 0 and add up to it."""
    require_int("cost", amount, 0, TRANSFER_MICRO_USD_MAX)
    fee = amount * terms.fee_bps // BASIS_POINTS_ONE
    referral = fee * terms.referral_bps // BASIS_POINTS_ONE if has_referrer else 0
    provider = (amount - fee) * terms.share_bps // BASIS_POINTS_ONE
    return Split(provider=provider, platform=amount - provider - referral, referral=referral)


def settlement(reservation: Reservation, usage: Usage, price: Price, terms: Terms, *, is_delivered: bool) -> Close:
    """Return the close that finalises a request: a post of its cost, or a void.

    It is void when no content record was written to the consumer (the minimum charge needs delivery too), when the
    cost is 0, and when the provider's account is the consumer's own. `usage` has the billed tokens, not the reported.
    """
    amount = 0
    if is_delivered and usage.provider != reservation.owner:
        tokens = Tokens(input=usage.tokens_in, cached=usage.tokens_cached, output=usage.tokens_out)
        amount = cost(price, tokens, tier_bps=terms.tier_bps, discount_bps=terms.discount_bps)
    return Close(
        id=reservation.id,
        owner=reservation.owner,
        parts=reservation.parts,
        kind=CloseKind.POST if amount else CloseKind.VOID,
        usage=usage,
        credits=_credits(split(amount, terms, has_referrer=usage.referrer is not None), usage.provider),
        caps=reservation.caps,
    )


def _credits(parts: Split, provider: AccountId) -> tuple[Credit, ...]:
    receivers = (
        Credit(user_account(provider, Kind.EARNINGS), parts.provider),
        Credit(operator_account(Kind.REVENUE), parts.platform),
        Credit(operator_account(Kind.REFERRAL_PAYABLE), parts.referral),
    )
    return tuple(credit for credit in receivers if credit.amount)
