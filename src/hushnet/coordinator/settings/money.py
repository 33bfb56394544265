"""What an operator chooses about money: prices, incentives, budgets, pay per use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.settings.declare import NO_SECRET, setting
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.money import (
    BASIS_POINTS_ONE,
    TIER_BASIS_POINTS_MAX,
    TRANSFER_MICRO_USD_MAX,
)
from hushnet.foundation.redaction import Secret

TIERS: Final = ("self_signed", "measured", "hardware")
"""The trust tiers that can be served at, weakest first."""
_TIER_BPS: Final = rf"({'|'.join(TIERS)})=[0-9]{{1,5}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingSettings:
    """What a provider's trust tier makes of prices and shares, and what referrers get."""

    referral_bps: int = setting(
        0,
        "part of the network's fee that goes to whoever referred the consumer",
        unit="basis points",
        low=0,
        high=5_000,
    )
    tier_price_bps: str = setting(
        "",
        "what a tier multiplies the price with: `measured=11000,hardware=12500`; up to 50000, unnamed tiers 10000",
        pattern=rf"({_TIER_BPS}(\s*,\s*{_TIER_BPS})*)?",
        unit="basis points",
        default_text="every tier 10000",
    )
    tier_share_bps: str = setting(
        "",
        "the provider's part after the fee by tier, the same way; unnamed tiers get `serving.provider_share_bps`",
        pattern=rf"({_TIER_BPS}(\s*,\s*{_TIER_BPS})*)?",
        unit="basis points",
        default_text="every tier the same",
    )

    def __post_init__(self) -> None:
        """Check the numbers that stand in texts."""
        for name, text, high in (
            ("tier_price_bps", self.tier_price_bps, TIER_BASIS_POINTS_MAX),
            ("tier_share_bps", self.tier_share_bps, BASIS_POINTS_ONE),
        ):
            if any(bps > high for bps in by_tier(text, 0)):
                raise ConfigurationError(f"setting pricing.{name} has a number above {high}", code="bad_setting")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncentiveSettings:
    """What is given rather than bought."""

    reward_pool: int = setting(
        0,
        "what machines that stand by may get in a calendar month, all together; 0 is off",
        unit="micro-USD",
        low=0,
        high=TRANSFER_MICRO_USD_MAX,
    )
    reward_trust: str = setting("measured", "least trust tier that is rewarded for standing by", choices=TIERS)
    reward_floors: str = setting(
        "24=10,32=12,48=16,64=18,96=22,128=26,192=30,512=40",
        "dollars a month for a machine that always stands by, by GiB of memory: `GIB=USD`, several with commas",
        pattern=r"[1-9][0-9]{0,4}=[0-9]{1,6}(\s*,\s*[1-9][0-9]{0,4}=[0-9]{1,6})*",
    )
    adjustment_limit: int = setting(
        100_000_000,
        "most that one operator's key gives at once: grant, invite, credit, adjustment; above, a second one approves",
        unit="micro-USD",
        low=0,
        high=TRANSFER_MICRO_USD_MAX,
    )
    adjustment_day_limit: int = setting(
        1_000_000_000,
        "most that is given so in a day (UTC), all keys and redeemed invites together; above, a second key approves",
        unit="micro-USD",
        low=0,
        high=TRANSFER_MICRO_USD_MAX,
    )

    def floors(self) -> tuple[tuple[int, int], ...]:
        """Return (GiB, micro-USD a month) of each class of machines."""
        pairs = (pair.strip().split("=") for pair in self.reward_floors.split(","))
        return tuple((int(gib), int(usd) * 1_000_000) for gib, usd in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """Budgets in memory, and how many requests an account may name with an `Idempotency-Key`."""

    cache_s: float = setting(
        10.0,
        "which budgets a key has is read again after this (a change by any worker acts at once; a new ceiling does anyway)",
        unit="seconds",
        low=0,
        high=300,
    )
    keys_cached_max: int = setting(
        10_000, "API keys whose budgets are remembered", unit="keys", low=16, high=10_000_000
    )
    request_keys_max: int = setting(
        100_000,
        "requests of one account within a day that carry an Idempotency-Key",
        unit="requests",
        low=1,
        high=10_000_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class X402Settings:
    """Pay per use: requests without a key pay for themselves in USDC. Off until a facilitator is named."""

    facilitator: str = setting(
        "",
        "URL of the x402 facilitator that verifies and settles payments",
        pattern=r"(https?://\S{1,2000})?",
        default_text="none: pay per use is off",
    )
    facilitator_token: Secret = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        NO_SECRET, "bearer token for the facilitator", default_text="none", pattern=r"\S{0,4096}"
    )
    node: Secret = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        NO_SECRET,
        "URL of a JSON-RPC node of the network: what it shows decides whether a payment was made",
        pattern=r"(https?://\S{1,2000})?",
        default_text="none",
    )
    pay_to: str = setting(
        "", "address that is paid", pattern=r"(0x[0-9a-fA-F]{40})?", default_text="none: it has to be set"
    )
    network: str = setting(
        "eip155:8453",
        "network (CAIP-2) whose USDC is taken: Base, Base Sepolia, Polygon, Avalanche",
        choices=("eip155:8453", "eip155:84532", "eip155:137", "eip155:43114"),
    )
    window_s: int = setting(
        120, "how long a payment may be valid; after it, its fate is certain", unit="seconds", low=30, high=3600
    )
    node_blocks_back: int = setting(
        9_000, "how far back the node's logs are searched; nodes bound it", unit="blocks", low=100, high=1_000_000
    )
    verify_s_max: float = setting(5.0, "wait for a verification or the node", unit="seconds", low=0.1, high=30)
    settle_s_max: float = setting(20.0, "wait for a settlement", unit="seconds", low=0.1, high=40)
    requests_per_s: float = setting(
        50.0,
        "sustained rate of requests without a key, all together, counted by each worker for itself; 0 sets no limit",
        unit="requests per second",
        low=0,
        high=1_000_000,
    )
    burst: int = setting(100, "requests without a key at once", unit="requests", low=1, high=1_000_000)
    address_requests_per_s: float = setting(
        10.0,
        "the same of one public address (IPv6: one /64); a proxy on a public address counts as one sender; 0 sets no limit",
        unit="requests per second",
        low=0,
        high=1_000_000,
    )
    address_burst: int = setting(
        40, "requests without a key at once of one public address", unit="requests", low=1, high=1_000_000
    )
    body_bytes_max: int = setting(2_097_152, "body of a request without a key", unit="bytes", low=1024, high=67_108_864)
    upto_facilitator: str = setting(
        "",
        "address of the facilitator that settles `upto` payments: what was used, after serving",
        pattern=r"(0x[0-9a-fA-F]{40})?",
        default_text="none: only `exact` is taken",
    )
    upto_max: int = setting(
        100_000, "most that is risked on one `upto` request", unit="micro-USD", low=1, high=1_000_000_000
    )

    @property
    def is_on(self) -> bool:
        return bool(self.facilitator)


def by_tier(text: str, unnamed: int) -> tuple[int, ...]:
    """Read `TIER=NUMBER,…` as one number for each trust tier, weakest first; of a tier named twice the last counts."""
    named = dict(pair.strip().split("=") for pair in text.split(",") if pair.strip())
    return tuple(int(named.get(tier, unnamed)) for tier in ("none", *TIERS))
