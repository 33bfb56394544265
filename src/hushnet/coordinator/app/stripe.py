"""Stripe joined to what moves money: the one gateway, deposits by card, the two addresses where Stripe tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hushnet.coordinator.accounts import Accounts
from hushnet.coordinator.api.money.deposits import DepositsApi
from hushnet.coordinator.api.money.stripe_webhooks import StripeWebhooks
from hushnet.coordinator.app.money import Money
from hushnet.coordinator.payments.deposits.assembly import build_deposits
from hushnet.coordinator.payments.deposits.model import DepositLimits
from hushnet.coordinator.payments.inbox import EventHandler
from hushnet.coordinator.payments.payouts.matching import MATCHERS
from hushnet.coordinator.payments.stripe.events import ACCOUNT, CONNECT, StripeEvents
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.coordinator.settings import StripeSettings
from hushnet.foundation.clock import Clock

_OF_THE_PLATFORM = "transfer."


@dataclass(frozen=True, slots=True)
class JoinedStripe:
    """The gateway, and the handlers by kind of event of each source."""

    gateway: StripeGateway
    account_kinds: dict[str, EventHandler]
    connect_kinds: dict[str, EventHandler]

    def add_kinds(self, kinds: Mapping[str, EventHandler]) -> None:
        """Add handlers of payouts: transfers are told by our own account, everything else by connected ones."""
        for kind, handler in kinds.items():
            place = self.account_kinds if kind.startswith(_OF_THE_PLATFORM) else self.connect_kinds
            place[kind] = handler


def join_stripe(
    money: Money,
    settings: StripeSettings,
    clock: Clock,
    *,
    accounts: Accounts,
) -> JoinedStripe | None:
    """Add Stripe to `money`, or, without a key, routes that say that there is none."""
    if not settings.is_on:
        money.routes.extend(DepositsApi(accounts, None).routes())
        return None
    gateway = StripeGateway(settings.secret_key, api_base=settings.api_base)
    rail = build_deposits(
        money.store,
        gateway,
        clock,
        limits=limits_of(settings),
        wake_calls=money.calls.wake,
        matchers=MATCHERS,
    )
    joined = JoinedStripe(gateway, dict(rail.handlers), {})
    money.handlers[ACCOUNT], money.handlers[CONNECT] = (
        StripeEvents(joined.account_kinds),
        StripeEvents(joined.connect_kinds),
    )
    money.callers.update(rail.callers)
    webhooks = StripeWebhooks(
        money.inbox,
        clock,
        secrets=settings.account_secrets,
        connect_secrets=settings.connect_secrets,
        is_live=gateway.is_live,
    )
    money.routes.extend([*DepositsApi(accounts, rail).routes(), *webhooks.routes()])
    money.works.extend([("top-ups", rail.topups.run), ("reconcile-stripe", rail.reconciliation.run)])
    money.closes.append(gateway.aclose)
    return joined


def limits_of(settings: StripeSettings) -> DepositLimits:
    """Return what the settings say of deposits."""
    return DepositLimits(
        cents_min=settings.deposit_cents_min,
        cents_max=settings.deposit_cents_max,
        success_url=settings.success_url,
        cancel_url=settings.cancel_url,
        takes_earnings=settings.takes_earnings,
    )
