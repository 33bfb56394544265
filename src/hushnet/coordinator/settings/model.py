"""The tree of settings: every field carries its default, bounds, unit and meaning, and nothing is said twice."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hushnet.coordinator.settings.coins import CoinSettings
from hushnet.coordinator.settings.declare import NO_SECRET, setting
from hushnet.coordinator.settings.payouts import PayoutSettings
from hushnet.coordinator.settings.stripe import StripeSettings
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import resolve_home
from hushnet.foundation.ids import ModelId
from hushnet.foundation.money import (
    BASIS_POINTS_ONE,
    PRICE_MICRO_USD_MAX,
    TIER_BASIS_POINTS_MAX,
    TRANSFER_MICRO_USD_MAX,
    Price,
)
from hushnet.foundation.redaction import Secret

NETWORK_LOOPBACK: Final = "hushnet-local"
NETWORK_PUBLIC: Final = "hushnet-main"
DATABASE_FILE: Final = "coordinator.db"
LINK_PATH: Final = "/v1/provider/link"
TIERS: Final = ("self_signed", "measured", "hardware")
"""The trust tiers that can be served at, weakest first."""
_TIER_BPS: Final = rf"({'|'.join(TIERS)})=[0-9]{{1,5}}"
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
class BudgetSettings:
    """Budgets in memory, and how many requests an account may name with an `Idempotency-Key`."""

    cache_s: float = setting(
        10.0,
        "which budgets a key has is read again after this (a change by any worker acts at once; a new ceiling does anyway)",
        unit="seconds",
        low=0,
        high=300,
    )
    keys_cached_max: int = setting(
        10_000, "API keys whose budgets are remembered", unit="keys", low=16, high=10_000_000
    )
    request_keys_max: int = setting(
        100_000,
        "requests of one account within a day that carry an Idempotency-Key",
        unit="requests",
        low=1,
        high=10_000_000,
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
class PricingSettings:
    """What a provider's trust tier makes of prices and shares, and what referrers get."""

    referral_bps: int = setting(
        0,
        "part of the network's fee that goes to whoever referred the consumer",
        unit="basis points",
        low=0,
        high=5_000,
    )
    tier_price_bps: str = setting(
        "",
        "what a tier multiplies the price with: `measured=11000,hardware=12500`; up to 50000, unnamed tiers 10000",
        pattern=rf"({_TIER_BPS}(\s*,\s*{_TIER_BPS})*)?",
        unit="basis points",
        default_text="every tier 10000",
    )
    tier_share_bps: str = setting(
        "",
        "the provider's part after the fee by tier, the same way; unnamed tiers get `serving.provider_share_bps`",
        pattern=rf"({_TIER_BPS}(\s*,\s*{_TIER_BPS})*)?",
        unit="basis points",
        default_text="every tier the same",
    )

    def __post_init__(self) -> None:
        """Check the numbers that stand in texts."""
        for name, text, high in (
            ("tier_price_bps", self.tier_price_bps, TIER_BASIS_POINTS_MAX),
            ("tier_share_bps", self.tier_share_bps, BASIS_POINTS_ONE),
        ):
            if any(bps > high for bps in by_tier(text, 0)):
                raise ConfigurationError(f"setting pricing.{name} has a number above {high}", code="bad_setting")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncentiveSettings:
    """What is given rather than bought."""

    reward_pool: int = setting(
        0,
        "what machines that stand by may get in a calendar month, all together; 0 is off",
        unit="micro-USD",
        low=0,
        high=TRANSFER_MICRO_USD_MAX,
    )
    reward_trust: str = setting("measured", "least trust tier that is rewarded for standing by", choices=TIERS)
    reward_floors: str = setting(
        "24=10,32=12,48=16,64=18,96=22,128=26,192=30,512=40",
        "dollars a month for a machine that always stands by, by GiB of memory: `GIB=USD`, several with commas",
        pattern=r"[1-9][0-9]{0,4}=[0-9]{1,6}(\s*,\s*[1-9][0-9]{0,4}=[0-9]{1,6})*",
    )
    adjustment_limit: int = setting(
        100_000_000,
        "largest adjustment of a balance that one operator's key may make; above, a second one approves",
        unit="micro-USD",
        low=0,
        high=TRANSFER_MICRO_USD_MAX,
    )

    def floors(self) -> tuple[tuple[int, int], ...]:
        """Return (GiB, micro-USD a month) of each class of machines."""
        pairs = (pair.strip().split("=") for pair in self.reward_floors.split(","))
        return tuple((int(gib), int(usd) * 1_000_000) for gib, usd in pairs)


def by_tier(text: str, unnamed: int) -> tuple[int, ...]:
    """Read `TIER=NUMBER,…` as one number for each trust tier, weakest first; of a tier named twice the last counts."""
    named = dict(pair.strip().split("=") for pair in text.split(",") if pair.strip())
    return tuple(int(named.get(tier, unnamed)) for tier in ("none", *TIERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What is asked of providers."""

    tools_agent_version_min: str = setting(
        "",
        "providers with an older agent are not believed to call tools or to keep a JSON schema; empty sets no floor",
        pattern=r"(\d{1,9}(\.\d{1,9}){0,7}[0-9A-Za-z.+_-]{0,32})?",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class X402Settings:
    """Pay per use: requests without a key pay for themselves in USDC. Off until a facilitator is named."""

    facilitator: str = setting(
        "",
        "URL of the x402 facilitator that verifies and settles payments",
        pattern=r"(https?://\S{1,2000})?",
        default_text="none: pay per use is off",
    )
    facilitator_token: Secret = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        NO_SECRET, "bearer token for the facilitator", default_text="none", pattern=r"\S{0,4096}"
    )
    node: Secret = setting(  # noqa: RUF009 - `setting` makes a dataclass field
        NO_SECRET,
        "URL of a JSON-RPC node of the network: what it shows decides whether a payment was made",
        pattern=r"(https?://\S{1,2000})?",
        default_text="none",
    )
    pay_to: str = setting(
        "", "address that is paid", pattern=r"(0x[0-9a-fA-F]{40})?", default_text="none: it has to be set"
    )
    network: str = setting(
        "eip155:8453",
        "network (CAIP-2) whose USDC is taken: Base, Base Sepolia, Polygon, Avalanche",
        choices=("eip155:8453", "eip155:84532", "eip155:137", "eip155:43114"),
    )
    window_s: int = setting(
        120, "how long a payment may be valid; after it, its fate is certain", unit="seconds", low=30, high=3600
    )
    node_blocks_back: int = setting(
        9_000, "how far back the node's logs are searched; nodes bound it", unit="blocks", low=100, high=1_000_000
    )
    verify_s_max: float = setting(5.0, "wait for a verification or the node", unit="seconds", low=0.1, high=30)
    settle_s_max: float = setting(20.0, "wait for a settlement", unit="seconds", low=0.1, high=40)
    requests_per_s: float = setting(
        50.0,
        "sustained rate of requests without a key, all together, counted by each worker for itself; 0 sets no limit",
        unit="requests per second",
        low=0,
        high=1_000_000,
    )
    burst: int = setting(100, "requests without a key at once", unit="requests", low=1, high=1_000_000)
    body_bytes_max: int = setting(2_097_152, "body of a request without a key", unit="bytes", low=1024, high=67_108_864)
    upto_facilitator: str = setting(
        "",
        "address of the facilitator that settles `upto` payments: what was used, after serving",
        pattern=r"(0x[0-9a-fA-F]{40})?",
        default_text="none: only `exact` is taken",
    )
    upto_max: int = setting(
        100_000, "most that is risked on one `upto` request", unit="micro-USD", low=1, high=1_000_000_000
    )

    @property
    def is_on(self) -> bool:
        return bool(self.facilitator)


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
