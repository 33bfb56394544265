"""What an operator chooses about Stripe: cards in, and the account that payouts come from. Off until there is a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hushnet.coordinator.settings.declare import NO_SECRET, setting
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.redaction import Secret

_STRIPE_SECRETS: Final = r"(whsec_[!-+\--~]{1,200}(\s*,\s*whsec_[!-+\--~]{1,200})*)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeSettings:
    """Cards and payouts through Stripe; off until there is a key."""

    secret_key: Secret = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        NO_SECRET,
        "secret or restricted API key of the Stripe account",
        pattern=r"((sk|rk)_(test|live)_[!-~]{1,300})?",
        default_text="none: no cards",
    )
    webhook_secrets: Secret = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        NO_SECRET,
        "signing secrets of the endpoint `/v1/webhooks/stripe`; several with commas while one is rotated",
        pattern=_STRIPE_SECRETS,
        default_text="none",
    )
    connect_webhook_secrets: Secret = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        NO_SECRET,
        "signing secrets of the endpoint `/v1/webhooks/stripe-connect`",
        pattern=_STRIPE_SECRETS,
        default_text="none",
    )
    api_base: str = setting(
        "",
        "another address of Stripe's API, for tests",
        pattern=r"(https?://\S{1,2000})?",
        default_text="Stripe's own",
    )
    deposit_cents_min: int = setting(500, "least deposit", unit="US cents", low=50, high=100_000_000)
    deposit_cents_max: int = setting(1_000_000, "largest deposit", unit="US cents", low=50, high=100_000_000)
    success_url: str = setting(
        "",
        "where a customer goes after paying, unless the deposit says another place",
        pattern=r"(https?://\S{1,1000})?",
        default_text="a page here",
    )
    cancel_url: str = setting(
        "", "where a customer goes who does not pay", pattern=r"(https?://\S{1,1000})?", default_text="nowhere"
    )
    takes_earnings: bool = setting(
        False, "a refund or dispute of spent money may take the owner's earnings; say so in your terms first"
    )

    def __post_init__(self) -> None:
        """Without webhooks money would come an hour late: that is a mistake, not a choice."""
        if self.secret_key.reveal() and not self.webhook_secrets.reveal():
            raise ConfigurationError(
                "setting stripe.secret_key has no stripe.webhook_secrets beside it",
                hint="make an endpoint for /v1/webhooks/stripe at Stripe and copy its signing secret",
            )
        if self.deposit_cents_min > self.deposit_cents_max:
            raise ConfigurationError("setting stripe.deposit_cents_min is above stripe.deposit_cents_max")

    @property
    def is_on(self) -> bool:
        return bool(self.secret_key.reveal())

    @property
    def account_secrets(self) -> tuple[Secret, ...]:
        return _split(self.webhook_secrets)

    @property
    def connect_secrets(self) -> tuple[Secret, ...]:
        return _split(self.connect_webhook_secrets)


def _split(secrets: Secret) -> tuple[Secret, ...]:
    return tuple(Secret(one.strip()) for one in secrets.reveal().split(",") if one.strip())
