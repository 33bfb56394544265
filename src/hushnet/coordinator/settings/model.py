"""The tree of settings: every field carries its default, bounds, unit and meaning, and nothing is said twice."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hushnet.coordinator.settings.coins import CoinSettings
from hushnet.coordinator.settings.declare import NO_SECRET, setting
from hushnet.coordinator.settings.money import BudgetSettings, IncentiveSettings, PricingSettings, X402Settings
from hushnet.coordinator.settings.payouts import PayoutSettings
from hushnet.coordinator.settings.stripe import StripeSettings
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import resolve_home
from hushnet.foundation.ids import ModelId
from hushnet.foundation.money import (
    PRICE_MICRO_USD_MAX,
    Price,
)
from hushnet.foundation.redaction import Secret

NETWORK_LOOPBACK: Final = "hushnet-local"
NETWORK_PUBLIC: Final = "hushnet-main"
DATABASE_FILE: Final = "coordinator.db"
LINK_PATH: Final = "/v1/provider/link"
_PIN: Final = r"[A-Za-z0-9._:/@+-]{1,128}=[0-9]{1,4}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """The listener that consumers and operators talk to."""

    host: str = setting("127.0.0.1", "address that the HTTP listener binds", flag="--host", pattern=r"\S{1,255}")
    port: int = setting(8470, "port of the HTTP listener; 0 takes a free one", flag="--port", low=0, high=65535)
    public_url: str = setting(
        "",
        "base URL that clients see when a proxy stands in front",
        flag="--public-url",
        pattern=r"(https?://\S{1,2000})?",
        default_text="the listener's own address",
    )
    connections_max: int = setting(4096, "open HTTP connections; one more is answered 503", low=1, high=1_000_000)
    header_bytes_max: int = setting(
        65_536, "request line and headers of one request", unit="bytes", low=1024, high=1_048_576
    )
    header_s_max: float = setting(10.0, "time to send a request's headers", unit="seconds", low=0.1, high=300)
    body_bytes_max: int = setting(
        2_097_152, "body of a request in standard mode", unit="bytes", low=1024, high=67_108_864
    )
    sealed_body_bytes_max: int = setting(
        17_825_792, "body of a sealed request (16 MiB and its envelope)", unit="bytes", low=1024, high=67_108_864
    )
    body_idle_s_max: float = setting(
        30.0, "silence in the middle of a request's body", unit="seconds", low=0.1, high=600
    )
    keep_alive_s: float = setting(75.0, "an idle connection is kept this long", unit="seconds", low=0.1, high=3600)
    write_stall_s_max: float = setting(
        60.0, "a consumer that reads nothing is cut off after this", unit="seconds", low=0.1, high=3600
    )
    drain_s_max: float = setting(
        30.0, "running requests may finish for this long at shutdown", unit="seconds", low=0.0, high=3600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """The listener that providers dial."""

    host: str = setting("127.0.0.1", "address that the provider listener binds", flag="--link-host")
    port: int = setting(
        8471, "port of the provider listener; 0 takes a free one", flag="--link-port", low=0, high=65535
    )
    public_url: str = setting(
        "",
        "link URL that providers are told",
        flag="--link-public-url",
        pattern=r"(wss?://\S{1,2000})?",
        default_text="the listener's own address",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    """What a model costs that has no price of its own."""

    input: int = setting(
        100_000, "fresh input tokens", unit="micro-USD per 10^6 tokens", low=0, high=PRICE_MICRO_USD_MAX
    )
    cached: int = setting(
        50_000, "input tokens from a prefix cache", unit="micro-USD per 10^6 tokens", low=0, high=PRICE_MICRO_USD_MAX
    )
    output: int = setting(400_000, "output tokens", unit="micro-USD per 10^6 tokens", low=0, high=PRICE_MICRO_USD_MAX)
    minimum: int = setting(1, "least that a delivered answer costs", unit="micro-USD", low=0, high=PRICE_MICRO_USD_MAX)

    def price(self) -> Price:
        return Price(input=self.input, cached=self.cached, output=self.output, minimum=self.minimum)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """API keys in memory and how fast one key may call."""

    requests_per_s: float = setting(
        1000.0,
        "sustained rate of one API key, counted by each worker for itself; 0 sets no limit",
        unit="requests per second",
        low=0,
        high=1_000_000,
    )
    burst: int = setting(2000, "requests that one API key may send at once", unit="requests", low=1, high=1_000_000)
    keys_cached_max: int = setting(10_000, "API keys remembered in memory", unit="keys", low=16, high=10_000_000)
    key_cache_s: float = setting(
        30.0,
        "a remembered key is read again after this (a revocation by any worker acts at once)",
        unit="seconds",
        low=0,
        high=3600,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """The life of a request."""

    queue_s_max: float = setting(
        120.0, "a request waits this long for a free provider", unit="seconds", low=0, high=3600
    )
    request_s_max: float = setting(
        600.0, "from the hold to the last byte, without the queue", unit="seconds", low=1, high=80_000
    )
    first_content_s_max: float = setting(
        60.0,
        "an attempt shows no content for this long: the next provider is tried",
        unit="seconds",
        low=0.1,
        high=3600,
    )
    hedge_share: float = setting(
        0.5,
        "part of first_content_s_max after which a second provider is tried beside the first, if one has room; 0: never",
        low=0,
        high=1,
    )
    idle_s_max: float = setting(
        30.0, "silence of a provider in the middle of an answer", unit="seconds", low=0.1, high=3600
    )
    attempts_max: int = setting(3, "providers tried for one request", unit="attempts", low=1, high=8)
    output_tokens_default: int = setting(
        1024, "output bound of a request that names none", unit="tokens", low=1, high=1_048_576
    )
    pinned_models: str = setting(
        "",
        "models that stay loaded on at least so many providers: `MODEL=COUNT`, several with commas",
        pattern=rf"({_PIN}(\s*,\s*{_PIN})*)?",
        default_text="none",
    )
    model_dwell_s: float = setting(
        300.0, "a model that a provider has loaded or used stays loaded this long", unit="seconds", low=1, high=86_400
    )
    platform_fee_bps: int = setting(
        0, "the network's share of what a request costs", unit="basis points", low=0, high=10_000
    )
    provider_share_bps: int = setting(
        10_000, "the provider's part of what is left after the fee", unit="basis points", low=0, high=10_000
    )

    def pins(self) -> dict[ModelId, int]:
        """Return the pinned models with the least number of providers of each; of a model named twice the last counts."""
        pairs = (pin.strip().rpartition("=") for pin in self.pinned_models.split(",") if pin.strip())
        return {ModelId(model): int(count) for model, _, count in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What is asked of providers."""

    tools_agent_version_min: str = setting(
        "",
        "providers with an older agent are not believed to call tools or to keep a JSON schema; empty sets no floor",
        pattern=r"(\d{1,9}(\.\d{1,9}){0,7}[0-9A-Za-z.+_-]{0,32})?",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is written about the process itself; never content."""

    level: str = setting(
        "info", "least severity that is written", flag="--log-level", choices=("debug", "info", "warning", "error")
    )
    format: str = setting(
        "console", "lines for people or one JSON object a line", flag="--log-format", choices=("console", "json")
    )
    access: bool = setting(False, "write one line a request: method, route, status, duration")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """Everything an operator can choose. Load it with `load_settings`; secrets never show in its `repr`."""

    home: Path = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        Path(),
        "directory of the coordinator's files, made with mode 0700",
        flag="--home",
        default_text="the platform's data directory for hushnet",
    )
    database: Secret = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        NO_SECRET,
        "`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`",
        flag="--database",
        default_text=f"SQLite, `{DATABASE_FILE}` in home",
        pattern=r"((sqlite:///|postgresql://)\S{1,2000})?",
    )
    network: str = setting(
        "",
        "name that key statements are bound to",
        flag="--network",
        pattern=r"([a-z0-9][a-z0-9.-]{0,62})?",
        default_text=f"`{NETWORK_LOOPBACK}` on loopback, else `{NETWORK_PUBLIC}`",
    )
    workers: int = setting(
        1,
        "processes that share both listeners and the work; more than one needs Postgres",
        unit="processes",
        flag="--workers",
        low=1,
        high=64,
    )
    http: HttpSettings = field(default_factory=HttpSettings)
    link: LinkSettings = field(default_factory=LinkSettings)
    price: PriceSettings = field(default_factory=PriceSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    budgets: BudgetSettings = field(default_factory=BudgetSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    pricing: PricingSettings = field(default_factory=PricingSettings)
    incentives: IncentiveSettings = field(default_factory=IncentiveSettings)
    fleet: FleetSettings = field(default_factory=FleetSettings)
    x402: X402Settings = field(default_factory=X402Settings)
    coins: CoinSettings = field(default_factory=CoinSettings)
    payouts: PayoutSettings = field(default_factory=PayoutSettings)
    stripe: StripeSettings = field(default_factory=StripeSettings)
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        """Fill in what depends on other settings, and check what no single setting can say."""
        if self.price.cached > self.price.input:
            raise ConfigurationError(
                "setting price.cached is above price.input",
                hint="a cached input token never costs more than a fresh one",
            )
        if self.x402.is_on and not (self.x402.pay_to and self.x402.node.reveal()):
            raise ConfigurationError(
                "setting x402.facilitator needs x402.pay_to and x402.node",
                hint="pay per use has to know whom to have paid, and to see on the chain that it was",
            )
        if self.payouts.stripe and not (self.stripe.is_on and self.stripe.connect_secrets):
            raise ConfigurationError(
                "setting payouts.stripe needs stripe.secret_key and stripe.connect_webhook_secrets",
                hint="make an endpoint for /v1/webhooks/stripe-connect at Stripe and copy its signing secret",
            )
        if self.home == Path():
            object.__setattr__(self, "home", default_home())
        if not self.database.reveal():
            object.__setattr__(self, "database", Secret(f"sqlite:///{self.home / DATABASE_FILE}"))
        if self.workers > 1 and self.database.reveal().startswith("sqlite:"):
            raise ConfigurationError(
                f"{self.workers} workers can't share a SQLite database: one process writes it",
                code="workers_need_postgres",
                hint="set the database to postgresql://USER:PASSWORD@HOST/NAME (--database), or workers to 1",
            )
        if not self.network:
            name = NETWORK_LOOPBACK if is_loopback(self.http.host) else NETWORK_PUBLIC
            object.__setattr__(self, "network", name)


def default_home() -> Path:
    """Return the platform's data directory for hushnet."""
    return resolve_home(None, {})


def is_loopback(host: str) -> bool:
    """Say whether `host` can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
