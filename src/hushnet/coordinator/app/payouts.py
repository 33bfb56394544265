"""Payouts joined to what moves money: their routes, their background work, and the rails that are configured."""

from __future__ import annotations

from dataclasses import dataclass, field

from hushnet.coordinator.accounts import Accounts
from hushnet.coordinator.api.money.payouts import PayoutsApi
from hushnet.coordinator.app.money import Money
from hushnet.coordinator.payments.coins.addresses import check_address
from hushnet.coordinator.payments.coins.assets import find_pair
from hushnet.coordinator.payments.inbox import EventHandler
from hushnet.coordinator.payments.payouts.asking import Terms
from hushnet.coordinator.payments.payouts.coin_rail import CoinRail, coin_callers
from hushnet.coordinator.payments.payouts.connect import Onboarder
from hushnet.coordinator.payments.payouts.events import KINDS, PayoutEvents
from hushnet.coordinator.payments.payouts.fees import Tariff
from hushnet.coordinator.payments.payouts.methods import Place
from hushnet.coordinator.payments.payouts.model import COIN, STRIPE
from hushnet.coordinator.payments.payouts.service import Payouts
from hushnet.coordinator.payments.payouts.stripe_rail import stripe_callers
from hushnet.coordinator.payments.payouts.sweep import CoinWitness, PayoutWorker, StripeWitness, Witness
from hushnet.coordinator.payments.stripe.connect import StripeConnect
from hushnet.coordinator.payments.stripe.gateway import StripeGateway
from hushnet.coordinator.settings.payouts import HOUR_MS, PayoutSettings
from hushnet.foundation.clock import Clock


@dataclass(slots=True)
class Joined:
    """Payouts, and the handlers of Stripe's events about them by kind, for both of Stripe's sources."""

    payouts: Payouts
    kinds: dict[str, EventHandler] = field(default_factory=dict)


def join_payouts(
    money: Money,
    settings: PayoutSettings,
    clock: Clock,
    *,
    accounts: Accounts,
    home_url: str = "",
    stripe: StripeGateway | None = None,
    coins: CoinRail | None = None,
) -> Joined:
    """Add payouts to `money`; a rail that is switched off, or has no gateway, sends nothing.

    `home_url` is where Stripe sends an owner back to unless the settings name a page.
    """
    terms = terms_of(settings)
    check = coin_place if COIN in terms.rails else None
    joined = Joined(Payouts(money.store, terms=terms, check=check, called=money.calls.wake))
    witnesses: dict[str, Witness] = {}
    onboarder = None
    if stripe is not None and STRIPE in terms.rails:
        url = settings.return_url or home_url
        connect = StripeConnect(stripe, country=settings.country, return_url=url, refresh_url=url)
        onboarder = Onboarder(money.store, connect, cool_down_ms=terms.cool_down_ms)
        handler = PayoutEvents(connect, connect, cool_down_ms=terms.cool_down_ms)
        joined.kinds = dict.fromkeys(KINDS, handler)
        money.callers.update(stripe_callers(money.store, connect))
        witnesses[STRIPE] = StripeWitness(connect)
    if coins is not None and COIN in terms.rails:
        money.callers.update(coin_callers(money.store, coins))
        witnesses[COIN] = CoinWitness(coins)
    worker = PayoutWorker(money.store, clock, terms=terms, witnesses=witnesses, sent=money.calls.wake)
    money.works.append(("payouts", worker.run))
    money.routes.extend(PayoutsApi(accounts, joined.payouts, onboarder).routes())
    return joined


def terms_of(settings: PayoutSettings) -> Terms:
    """Return the terms that the settings say."""
    rails = {STRIPE: settings.stripe, COIN: settings.coins}
    return Terms(
        tariff=Tariff(settings.instant_fee_bps, settings.instant_fee_cents_min, settings.gross_cents_min),
        maturity_ms=settings.maturity_h * HOUR_MS,
        cool_down_ms=settings.cool_down_h * HOUR_MS,
        send_after_ms=settings.cancel_s * 1000,
        overdue_ms=settings.overdue_days * 24 * HOUR_MS,
        rails=frozenset(rail for rail, is_on in rails.items() if is_on),
    )


def coin_place(asset: str, network: str, address: str, tag: int | None) -> Place:
    """Return the place of a coin's address; the network may be left out where the coin has only one."""
    pair = find_pair(asset, network)
    stored = check_address(pair, address, tag)
    return Place(COIN, pair.asset, pair.network, stored.address, stored.tag)
