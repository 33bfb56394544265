"""Everything about money that a coordinator offers, joined in one place: books, incentives, and the rails that are on."""

from __future__ import annotations

from dataclasses import dataclass

from hushnet.coordinator.api.chat import WalkIns
from hushnet.coordinator.api.money.pricing import PricingApi
from hushnet.coordinator.app import addresses
from hushnet.coordinator.app.books import BookParts, join_books
from hushnet.coordinator.app.coins import join_coins
from hushnet.coordinator.app.incentives import join_incentives
from hushnet.coordinator.app.money import Money, build_money
from hushnet.coordinator.app.payouts import join_payouts
from hushnet.coordinator.app.services import Services
from hushnet.coordinator.app.stripe import join_stripe
from hushnet.coordinator.incentives.grants import Grants
from hushnet.coordinator.serving.assembly import Serving


@dataclass(frozen=True, slots=True)
class Rails:
    """`walk_ins` takes requests that come without a key, where they may pay for themselves."""

    money: Money
    books: BookParts
    grants: Grants
    walk_ins: WalkIns | None


def join_rails(services: Services, serving: Serving, *, is_first: bool) -> Rails:
    """Join them; `is_first`: of several workers this is the one that does what needs doing once.

    Raises `ConfigurationError` when a rail is on and lacks something.
    """
    settings, clock, accounts = services.settings, services.clock, services.accounts
    opened = services.opened
    money = build_money(settings, clock, opened, accounts=accounts, bounds=services.bounds)
    books = join_books(settings, clock, opened.database, accounts=accounts, ledger=opened.ledger)
    incentives = join_incentives(
        money, settings.incentives, serving, accounts=accounts, database=opened.database, is_payer=is_first
    )
    coins = join_coins(money, settings, clock, accounts=accounts, is_first=is_first)
    stripe = join_stripe(money, settings.stripe, clock, accounts=accounts)
    payouts = join_payouts(
        money,
        settings.payouts,
        clock,
        accounts=accounts,
        home_url=addresses.base_url(settings, settings.http.port),
        stripe=None if stripe is None else stripe.gateway,
        coins=coins,
    )
    if stripe is not None:
        stripe.add_kinds(payouts.kinds)
    money.routes.extend(PricingApi(accounts, services.catalog, services.discounts, serving).routes())
    money.routes.extend(books.routes)
    return Rails(money, books, incentives.grants, _walk_ins(services, serving, money))


def _walk_ins(services: Services, serving: Serving, money: Money) -> WalkIns | None:
    settings = services.settings
    if not settings.x402.is_on:
        return None
    from hushnet.coordinator.api.admin.wallets import WalletsApi
    from hushnet.coordinator.app.x402 import build_pay_per_use

    parts = build_pay_per_use(
        settings.x402,
        settings.http,
        store=money.store,
        ledger=services.opened.ledger,
        service=serving.service,
        tariffs=services.catalog,
        clock=services.clock,
        base_url=addresses.base_url(settings, settings.http.port),
        budgets=services.bounds.budgets,
        reach=money.reach,
    )
    money.callers.update(parts.callers)
    money.routes.extend([*parts.door.routes(), *WalletsApi(services.accounts, money.store).routes()])
    money.works.append(("x402", parts.run))
    money.closes.append(parts.aclose)
    return parts.door
