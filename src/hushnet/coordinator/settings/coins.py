"""What an operator chooses about coins: which gateways, for which coins, under which limits. Off until a gateway has pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hushnet.coordinator.settings.declare import NO_SECRET, setting
from hushnet.foundation.redaction import Secret

_URL: Final = r"(https?://\S{1,500})?"
_PAIR: Final = r"[A-Z]{2,8}\.[a-z-]{2,20}"
_CODED: Final = rf"{_PAIR}(=[A-Za-z0-9_.-]{{1,40}})?"
_CODES: Final = rf"({_CODED}(\s*,\s*{_CODED})*)?"
_RATE: Final = rf"{_PAIR}=[0-9]{{1,9}}(\.[0-9]{{1,6}})?"
_RATES: Final = rf"({_RATE}(\s*,\s*{_RATE})*)?"
_FIELD: Final = r"[A-Za-z0-9_]{1,40}=[^,\s]{1,100}"
_FIELDS: Final = rf"({_FIELD}(\s*,\s*{_FIELD})*)?"
_HIDDEN: Final = r"\S{0,500}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinPaySettings:
    """CoinPayPortal, a gateway that forwards coins to your wallets. Its documents disagree, so its dialect can be set."""

    url: str = setting("https://coinpayportal.com/api", "base URL of CoinPayPortal's interface", pattern=_URL)
    key: Secret = setting(NO_SECRET, "API key at CoinPayPortal", pattern=_HIDDEN, default_text="none")  # noqa: RUF009
    webhook_secret: Secret = setting(  # noqa: RUF009
        NO_SECRET, "secret that its webhooks are signed with", pattern=_HIDDEN, default_text="none"
    )
    webhook_secret_before: Secret = setting(  # noqa: RUF009
        NO_SECRET, "the secret before, while it is being changed", pattern=_HIDDEN, default_text="none"
    )
    pairs: str = setting(
        "",
        "coins that it quotes: `BTC.bitcoin, USDC.base`, with `=CODE` where it calls one otherwise",
        pattern=_CODES,
        default_text="none: off",
    )
    create_path: str = setting("/payments/create", "path under which a payment is made", pattern=r"/\S{1,200}")
    payment_path: str = setting("/payments/{id}", "path under which a payment is shown", pattern=r"/\S{1,200}")
    key_header: str = setting(
        "authorization",
        "header that carries the key: `authorization` as a bearer token, any other bare",
        pattern=r"[A-Za-z-]{1,40}",
    )
    amount_field: str = setting("amount_usd", "member of the request with the dollars", pattern=r"[A-Za-z0-9_]{1,40}")
    coin_field: str = setting("currency", "member of the request with the coin's code", pattern=r"[A-Za-z0-9_]{1,40}")
    extra_fields: str = setting(
        "", "further members of the request: `business_id=…, currency=USD`", pattern=_FIELDS, default_text="none"
    )
    pay_url: str = setting(
        "https://coinpayportal.com/pay/{id}", "hosted page of a payment whose answer names none", pattern=_URL
    )
    body_signatures: bool = setting(
        False, "also take webhooks of the older dialect, which sign no time and can be replayed"
    )
    believe_asked_amount: bool = setting(
        False, "when a confirmed payment does not say how much came in, take what was asked for"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BtcPaySettings:
    """A BTCPay Server of your own, for invoices and payouts."""

    url: str = setting("", "address of the BTCPay Server", pattern=_URL, default_text="none")
    key: Secret = setting(NO_SECRET, "API key of the store", pattern=_HIDDEN, default_text="none")  # noqa: RUF009
    store: str = setting("", "id of the store", pattern=r"[A-Za-z0-9]{0,64}", default_text="none")
    webhook_secret: Secret = setting(  # noqa: RUF009
        NO_SECRET, "secret that its webhooks are signed with", pattern=_HIDDEN, default_text="none"
    )
    webhook_secret_before: Secret = setting(  # noqa: RUF009
        NO_SECRET, "the secret before, while it is being changed", pattern=_HIDDEN, default_text="none"
    )
    pairs: str = setting(
        "",
        "coins that it quotes: `BTC.bitcoin`, with `=METHOD` for those of plugins: `ETH.ethereum=ETH-CHAIN`",
        pattern=_CODES,
        default_text="none: off",
    )
    payout_pairs: str = setting("", "coins that it pays out, the same way", pattern=_CODES, default_text="none: off")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinSettings:
    """Coins in and out. Where both gateways offer a pair, BTCPay quotes it."""

    coinpay: CoinPaySettings = field(default_factory=CoinPaySettings)
    btcpay: BtcPaySettings = field(default_factory=BtcPaySettings)
    rates: str = setting(
        "",
        "rates that you fix, in USD per coin, for payouts and late coins: `USDC.base=1`; others come from the gateway",
        pattern=_RATES,
        default_text="none",
    )
    deposit_usd_min: int = setting(1, "least that an invoice is over", unit="USD", low=1, high=1_000_000)
    deposit_usd_max: int = setting(10_000, "most that an invoice is over", unit="USD", low=1, high=1_000_000)
    open_invoices_max: int = setting(5, "invoices of one account that wait for coins", unit="invoices", low=1, high=100)
    manual_pairs: str = setting(
        "", "coins that you pay out by hand, from a signed batch file", pattern=_CODES, default_text="none"
    )
    batch_payouts_max: int = setting(20, "payouts of one settlement batch", unit="payouts", low=1, high=50)
    batch_usd_max: int = setting(1_000, "worth of one settlement batch", unit="USD", low=1, high=10_000_000)
    day_usd_max: int = setting(
        5_000, "worth of all settlement batches of a day, UTC", unit="USD", low=1, high=100_000_000
    )
    batch_every_s: float = setting(
        0.0,
        "how often a settlement batch is sent by itself; 0: only when you ask, with `hush payout batch`",
        unit="seconds",
        low=0,
        high=604_800,
    )


def named(text: str) -> dict[str, str]:
    """Read `NAME, NAME=VALUE` as a dictionary; a name alone has an empty value."""
    items = (item.strip().partition("=") for item in text.split(",") if item.strip())
    return {name: value for name, _, value in items}
