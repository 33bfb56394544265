"""Where coins are joined: gateways from the settings, their events and calls, invoices, rates, routes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from hushnet.coordinator.accounts import Accounts
from hushnet.coordinator.api.money.coins.consumer import CoinDesk, CoinsApi
from hushnet.coordinator.api.money.coins.operator import CoinOffice, CoinOperatorApi
from hushnet.coordinator.app.money import Money
from hushnet.coordinator.payments.coins.assets import Pair, pair_named
from hushnet.coordinator.payments.coins.gateways import btcpay, coinpay
from hushnet.coordinator.payments.coins.gateways.base import Gateway, PayoutGateway
from hushnet.coordinator.payments.coins.gateways.btcpay import BtcPay
from hushnet.coordinator.payments.coins.gateways.coinpay import CoinPay, CoinPayDialect
from hushnet.coordinator.payments.coins.intake import CoinEvents, CoinWatch
from hushnet.coordinator.payments.coins.invoices import ASK, CoinInvoices, InvoiceCall, InvoiceLimits
from hushnet.coordinator.payments.coins.rail import ByHand, GatewayRail, payout_told
from hushnet.coordinator.payments.coins.rates import FixedRates, RateError, RateSource, parse_rate
from hushnet.coordinator.payments.coins.settlement import BatchLimits, Settlement
from hushnet.coordinator.payments.payouts.coin_rail import coin_callers
from hushnet.coordinator.settings import BtcPaySettings, CoinPaySettings, CoinSettings, CoordinatorSettings, named
from hushnet.coordinator.storage.books.keys import load_book_keys
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import ConfigurationError, HushnetError

_USD = 1_000_000


def join_coins(
    money: Money, settings: CoordinatorSettings, clock: Clock, *, accounts: Accounts, is_first: bool = True
) -> GatewayRail | None:
    """Add to `money` what coins bring; return what sends coins, or None when nothing does.

    `is_first`: of several workers this is the one that sends batches and looks at silent invoices.

    Raises `ConfigurationError` when a gateway lacks something.
    """
    coins = settings.coins
    gateways = gateways_of(coins)
    rates = rates_of(coins, list(gateways.values()))
    _join_deposits(money, coins, clock, accounts=accounts, gateways=gateways, rates=rates, is_watching=is_first)
    rail = rail_of(coins, gateways)
    settlement = Settlement(money.store, clock, rail, rates=rates, limits=batch_limits(coins), sent=money.calls.wake)
    office = CoinOffice(
        accounts, money.store, clock, settlement, settings.network, lambda: load_book_keys(settings.home).identity
    )
    money.routes.extend(CoinOperatorApi(office).routes())
    if not rail.gateways:
        return None
    money.callers.update(coin_callers(money.store, rail))
    if coins.batch_every_s and is_first:
        money.works.append(("coin-batches", lambda: settlement.run_every(coins.batch_every_s)))
    return rail


def _join_deposits(
    money: Money,
    settings: CoinSettings,
    clock: Clock,
    *,
    accounts: Accounts,
    gateways: dict[str, BtcPay | CoinPay],
    rates: RateSource,
    is_watching: bool,
) -> None:
    for name, gateway in gateways.items():
        told = partial(payout_told, gateway) if isinstance(gateway, BtcPay) else None
        money.handlers[name] = CoinEvents(money.store, clock, gateway, rates=rates, payouts=told)
        money.callers[name, ASK] = InvoiceCall(money.store, gateway)
    limits = InvoiceLimits(
        usd_min=settings.deposit_usd_min * _USD,
        usd_max=settings.deposit_usd_max * _USD,
        open_max=settings.open_invoices_max,
    )
    quoting = [gateway for gateway in gateways.values() if gateway.name != btcpay.NAME or settings.btcpay.pairs]
    invoices = CoinInvoices(money.store, clock, quoting, calls=money.calls, limits=limits)
    if gateways and is_watching:
        money.works.append(("coin-watch", CoinWatch(money.store, clock, gateways, rates=rates).run))
    if gateways:
        money.closes.extend(gateway.aclose for gateway in gateways.values())
    paid = frozenset(rail_of(settings, gateways).gateways)
    money.routes.extend(CoinsApi(CoinDesk(accounts, invoices, money.inbox, clock, gateways, paid)).routes())


def rail_of(settings: CoinSettings, gateways: Mapping[str, BtcPay | CoinPay]) -> GatewayRail:
    """Return what sends coins: BTCPay for its payout pairs, the operator's hands for theirs."""
    paying: list[PayoutGateway] = []
    server = gateways.get(btcpay.NAME)
    if settings.btcpay.payout_pairs and isinstance(server, BtcPay):
        paying.append(
            server.for_payouts(_codes(settings.btcpay.payout_pairs, btcpay.CODES, "coins.btcpay.payout_pairs"))
        )
    by_hand = {_pair(name, "coins.manual_pairs").name: name for name in named(settings.manual_pairs)}
    return GatewayRail(*paying, ByHand(by_hand))


def batch_limits(settings: CoinSettings) -> BatchLimits:
    """Return the limits of settlement batches that the settings say."""
    return BatchLimits(
        payouts_max=settings.batch_payouts_max,
        usd_max=settings.batch_usd_max * _USD,
        day_usd_max=settings.day_usd_max * _USD,
    )


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
