"""What an operator chooses about payouts. Each rail is off until it is switched on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.settings.declare import setting

EARNINGS_MATURITY_H: Final = 24
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutSettings:
    """Earnings on their way out."""

    stripe: bool = setting(False, "pay out to bank accounts over Stripe Connect; needs Stripe's key")
    coins: bool = setting(False, "pay out in coins; needs a gateway")
    country: str = setting("US", "where the banks of those who earn are, ISO 3166", pattern=r"[A-Z]{2}")
    return_url: str = setting(
        "",
        "page that Stripe sends one back to after its questions",
        pattern=r"(https?://\S{1,2000})?",
        default_text="the coordinator's address",
    )
    maturity_h: int = setting(
        EARNINGS_MATURITY_H, "earnings younger than this cannot be withdrawn", unit="hours", low=0, high=720
    )
    cool_down_h: int = setting(48, "a new payout method is used no sooner than this", unit="hours", low=0, high=720)
    cancel_s: int = setting(
        60, "a payout over Stripe can be cancelled for this long before it is sent", unit="seconds", low=0, high=86_400
    )
    gross_cents_min: int = setting(100, "least that is paid out", unit="cents", low=1, high=1_000_000)
    instant_fee_bps: int = setting(150, "fee of an instant payout", unit="basis points", low=0, high=5000)
    instant_fee_cents_min: int = setting(50, "least fee of an instant payout", unit="cents", low=0, high=10_000)
    overdue_days: int = setting(7, "a payout that takes longer is asked about", unit="days", low=1, high=60)
