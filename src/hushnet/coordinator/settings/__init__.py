"""What an operator can choose: one tree of frozen dataclasses, one table that documents it, one loader.

Lowest place inside the coordinator: everything else may read settings, settings read nothing of it.
"""

from hushnet.coordinator.settings.coins import BtcPaySettings, CoinPaySettings, CoinSettings, named
from hushnet.coordinator.settings.loading import load_settings
from hushnet.coordinator.settings.model import (
    AccessSettings,
    CoordinatorSettings,
    FleetSettings,
    HttpSettings,
    LinkSettings,
    LogSettings,
    PriceSettings,
    ServingSettings,
)
from hushnet.coordinator.settings.money import (
    BudgetSettings,
    IncentiveSettings,
    PricingSettings,
    X402Settings,
    by_tier,
)
from hushnet.coordinator.settings.stripe import StripeSettings
from hushnet.coordinator.settings.table import Setting, render_markdown, settings_table

__all__ = [
    "AccessSettings",
    "BtcPaySettings",
    "BudgetSettings",
    "CoinPaySettings",
    "CoinSettings",
    "CoordinatorSettings",
    "FleetSettings",
    "HttpSettings",
    "IncentiveSettings",
    "LinkSettings",
    "LogSettings",
    "PriceSettings",
    "PricingSettings",
    "ServingSettings",
    "Setting",
    "StripeSettings",
    "X402Settings",
    "by_tier",
    "load_settings",
    "named",
    "render_markdown",
    "settings_table",
]
