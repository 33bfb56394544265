"""The coins that can come in and go out: sixteen pairs of an asset and the network it is on (design/ledger.md section 1).

A pair is the unit of everything here: USDC on Base and USDC on Polygon are different money. Amounts are integers at the
pair's scale; the chain may divide its coin further, and what is finer than the scale is floored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from hushnet.foundation.errors import RequestError


class AssetError(RequestError):
    """There is no such pair of an asset and a network, or it is not offered here."""

    code = "unsupported_coin"
    default_hint = "`hush coins` lists what is supported; give the network where a coin is on several"


class Family(Enum):
    """How a network writes its addresses."""

    BITCOIN = "bitcoin"
    BITCOIN_CASH = "bitcoin-cash"
    DOGECOIN = "dogecoin"
    EVM = "evm"
    SOLANA = "solana"
    RIPPLE = "ripple"
    CARDANO = "cardano"


@dataclass(frozen=True, slots=True)
class Pair:
    """One asset on one network.

    `scale`: decimal digits of our units; `decimals`: those of the chain. `low` and `high` bound a believable rate in
    micro-USD per whole coin: wide enough for years, narrow enough that dollars are never taken for coins.
    """

    asset: str
    network: str
    scale: int
    decimals: int
    family: Family
    low: int
    high: int

    @property
    def name(self) -> str:
        """The pair's name in settings and in the chart of accounts: `USDC.base`."""
        return f"{self.asset}.{self.network}"


def _cents(low: int, high: int) -> tuple[int, int]:
    return low * 10_000, high * 10_000


_STABLE: Final = _cents(90, 110)
_BTC, _BCH, _DOGE = _cents(100_000, 10**9), _cents(1_000, 10**7), _cents(1, 10**5)
_ETH, _SOL, _POL, _BNB = _cents(5_000, 10**8), _cents(100, 10**7), _cents(1, 10**5), _cents(1_000, 10**7)
_XRP, _ADA = _cents(1, 10**6), _cents(1, 10**5)

PAIRS: Final = (
    Pair("BTC", "bitcoin", 8, 8, Family.BITCOIN, *_BTC),
    Pair("BCH", "bitcoin-cash", 8, 8, Family.BITCOIN_CASH, *_BCH),
    Pair("ETH", "ethereum", 9, 18, Family.EVM, *_ETH),
    Pair("SOL", "solana", 9, 9, Family.SOLANA, *_SOL),
    Pair("POL", "polygon", 9, 18, Family.EVM, *_POL),
    Pair("BNB", "bsc", 9, 18, Family.EVM, *_BNB),
    Pair("XRP", "ripple", 6, 6, Family.RIPPLE, *_XRP),
    Pair("ADA", "cardano", 6, 6, Family.CARDANO, *_ADA),
    Pair("DOGE", "dogecoin", 8, 8, Family.DOGECOIN, *_DOGE),
    Pair("USDT", "ethereum", 6, 6, Family.EVM, *_STABLE),
    Pair("USDT", "polygon", 6, 6, Family.EVM, *_STABLE),
    Pair("USDT", "solana", 6, 6, Family.SOLANA, *_STABLE),
    Pair("USDC", "ethereum", 6, 6, Family.EVM, *_STABLE),
    Pair("USDC", "polygon", 6, 6, Family.EVM, *_STABLE),
    Pair("USDC", "solana", 6, 6, Family.SOLANA, *_STABLE),
    Pair("USDC", "base", 6, 6, Family.EVM, *_STABLE),
)
"""In the order of the chart of accounts, which never changes."""

_BY_NAME: Final = {pair.name: pair for pair in PAIRS}
CHAIN_IDS: Final = {"ethereum": 1, "polygon": 137, "bsc": 56, "base": 8453}
"""EIP-155 ids of the networks that share Ethereum's addresses."""


def pair_of(asset: str, network: str) -> Pair:
    """Return the pair; raises `AssetError` when there is none of these two."""
    pair = _BY_NAME.get(f"{asset}.{network}")
    if pair is None:
        raise AssetError("there is no such coin on such a network")
    return pair


def pair_named(name: str) -> Pair:
    """Return the pair called `ASSET.network`; raises `AssetError`."""
    asset, _, network = name.partition(".")
    return pair_of(asset, network)


def find_pair(asset: str, network: str = "") -> Pair:
    """Return the pair for what a person typed; the network may be left out where the asset has only one.

    Raises `AssetError` for an unknown one, and for an asset on several networks of which none is named.
    """
    found = [pair for pair in PAIRS if pair.asset == asset.upper() and network.lower() in ("", pair.network)]
    if len(found) == 1:
        return found[0]
    if found:
        networks = ", ".join(pair.network for pair in found)
        raise AssetError(f"{found[0].asset} is on several networks: {networks}", hint="name the network")
    raise AssetError("there is no such coin on such a network")
