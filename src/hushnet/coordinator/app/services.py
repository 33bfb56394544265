"""The services of one coordinator's domains over its database, made before anything serves."""

from __future__ import annotations

from dataclasses import dataclass

from hushnet.coordinator.accounts import Accounts, ProviderBook
from hushnet.coordinator.app.money import Bounds, Opened, build_bounds
from hushnet.coordinator.catalog import Catalog, DiscountBook
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage.accounts import SqlAccountStore
from hushnet.coordinator.storage.catalog import SqlDiscountStore, SqlTariffStore
from hushnet.coordinator.storage.providers import SqlProviderStore
from hushnet.coordinator.telemetry import Metrics
from hushnet.foundation.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every other part is given of: settings and clock, the open database, accounts, prices, providers, bounds."""

    settings: CoordinatorSettings
    clock: Clock
    opened: Opened
    metrics: Metrics
    accounts: Accounts
    catalog: Catalog
    discounts: DiscountBook
    providers: ProviderBook
    bounds: Bounds


def build_services(settings: CoordinatorSettings, clock: Clock, opened: Opened) -> Services:
    """Make them."""
    database = opened.database
    return Services(
        settings=settings,
        clock=clock,
        opened=opened,
        metrics=Metrics(),
        accounts=Accounts(SqlAccountStore(database), clock, settings=settings.access),
        catalog=Catalog(SqlTariffStore(database), clock, default=settings.price.price()),
        discounts=DiscountBook(SqlDiscountStore(database), clock),
        providers=ProviderBook(SqlProviderStore(database), clock),
        bounds=build_bounds(settings, clock, opened),
    )
