"""Where coins are joined: gateways from the settings, their events and calls, invoices, rates, routes."""

from __future__ import annotations

from hushnet.coordinator.accounts import Accounts
from hushnet.coordinator.api.money.coins import CoinDesk, CoinsApi
from hushnet.coordinator.app.money import Money
from hushnet.coordinator.payments.coins.assets import Pair, pair_named
from hushnet.coordinator.payments.coins.gateways import btcpay, coinpay
from hushnet.coordinator.payments.coins.gateways.base import Gateway
from hushnet.coordinator.payments.coins.gateways.btcpay import BtcPay
from hushnet.coordinator.payments.coins.gateways.coinpay import CoinPay, CoinPayDialect
from hushnet.coordinator.payments.coins.intake import CoinEvents, CoinWatch
from hushnet.coordinator.payments.coins.invoices import ASK, CoinInvoices, InvoiceCall, InvoiceLimits
from hushnet.coordinator.payments.coins.rates import FixedRates, RateError, RateSource, parse_rate
from hushnet.coordinator.settings import BtcPaySettings, CoinPaySettings, CoinSettings, named
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import ConfigurationError, HushnetError

_USD = 1_000_000


def join_coins(money: Money, settings: CoinSettings, clock: Clock, *, accounts: Accounts) -> CoinInvoices:
    """Add to `money` what coins bring; raises `ConfigurationError` when a gateway lacks something."""
    gateways = gateways_of(settings)
    rates = rates_of(settings, list(gateways.values()))
    for name, gateway in gateways.items():
        money.handlers[name] = CoinEvents(money.store, clock, gateway, rates=rates)
        money.callers[name, ASK] = InvoiceCall(money.store, gateway)
    limits = InvoiceLimits(
        usd_min=settings.deposit_usd_min * _USD,
        usd_max=settings.deposit_usd_max * _USD,
        open_max=settings.open_invoices_max,
    )
    invoices = CoinInvoices(money.store, clock, list(gateways.values()), calls=money.calls, limits=limits)
    if gateways:
        money.works.append(("coin-watch", CoinWatch(money.store, clock, gateways, rates=rates).run))
        money.closes.extend(gateway.aclose for gateway in gateways.values())
    money.routes.extend(CoinsApi(CoinDesk(accounts, invoices, money.inbox, clock, gateways)).routes())
    return invoices


def gateways_of(settings: CoinSettings) -> dict[str, BtcPay | CoinPay]:
    """Return the gateways that are configured, by name, the one that is preferred first."""
    gateways: dict[str, BtcPay | CoinPay] = {}
    if settings.btcpay.pairs or settings.btcpay.payout_pairs:
        gateways[btcpay.NAME] = _btcpay(settings.btcpay)
    if settings.coinpay.pairs:
        gateways[coinpay.NAME] = _coinpay(settings.coinpay)
    return gateways


def rates_of(settings: CoinSettings, gateways: list[BtcPay | CoinPay]) -> RateSource:
    """Return the rates that the operator fixed, then those of the first gateway that knows the pair."""
    fixed = {name: parse_rate(_pair(name, "coins.rates"), text) for name, text in named(settings.rates).items()}
    return FixedRates(fixed, otherwise=_GatewayRates(gateways))


class _GatewayRates:
    """`RateSource` over gateways."""

    def __init__(self, gateways: list[BtcPay | CoinPay]) -> None:
        self._gateways: list[Gateway] = list(gateways)

    async def rate(self, pair: Pair) -> int:
        for gateway in self._gateways:
            try:
                return await gateway.rate(pair)
            except RateError:
                continue
        raise RateError(f"no gateway knows the rate of {pair.name}")


def _btcpay(settings: BtcPaySettings) -> BtcPay:
    _require("btcpay", url=settings.url, key=settings.key.reveal(), store=settings.store)
    _require("btcpay", webhook_secret=settings.webhook_secret.reveal())
    return BtcPay(
        settings.url,
        settings.key,
        store=settings.store,
        webhook_secrets=(settings.webhook_secret, settings.webhook_secret_before),
        codes=_codes(settings.pairs, btcpay.CODES, "coins.btcpay.pairs"),
    )


def _coinpay(settings: CoinPaySettings) -> CoinPay:
    _require("coinpay", url=settings.url, key=settings.key.reveal(), webhook_secret=settings.webhook_secret.reveal())
    dialect = CoinPayDialect(
        create_path=settings.create_path,
        payment_path=settings.payment_path,
        key_header=settings.key_header.lower(),
        amount_field=settings.amount_field,
        coin_field=settings.coin_field,
        extra_fields=named(settings.extra_fields),
        pay_url=settings.pay_url,
        is_body_signature_taken=settings.body_signatures,
        is_asked_amount_believed=settings.believe_asked_amount,
    )
    return CoinPay(
        settings.url,
        settings.key,
        webhook_secrets=(settings.webhook_secret, settings.webhook_secret_before),
        codes=_codes(settings.pairs, coinpay.CODES, "coins.coinpay.pairs"),
        dialect=dialect,
    )


def _require(gateway: str, **values: str) -> None:
    for name, value in values.items():
        if not value:
            raise ConfigurationError(f"setting coins.{gateway}.{name} is missing", code="bad_setting")


def _codes(text: str, usual: dict[str, str], setting: str) -> dict[str, str]:
    codes = {}
    for name, code in named(text).items():
        _pair(name, setting)
        if not (code or usual.get(name)):
            raise ConfigurationError(f"setting {setting} needs {name}=CODE", code="bad_setting")
        codes[name] = code or usual[name]
    return codes


def _pair(name: str, setting: str) -> Pair:
    try:
        return pair_named(name)
    except HushnetError:
        raise ConfigurationError(f"setting {setting} names no coin: {name}", code="bad_setting") from None
