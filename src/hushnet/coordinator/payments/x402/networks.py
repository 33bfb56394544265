"""The networks whose USDC is taken, under the names that x402 gives them: CAIP-2 in version 2, words in version 1.

Contract addresses and signing domains are Circle's; the official package x402 2.25 lists the same (`default_assets.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Network:
    """One chain and its USDC: `name` and `version` are of the token's EIP-712 domain."""

    caip2: str
    word: str
    chain_id: int
    usdc: str
    name: str
    version: str = "2"


_NETWORKS: Final = (
    Network("eip155:8453", "base", 8453, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin"),
    Network("eip155:84532", "base-sepolia", 84532, "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC"),
    Network("eip155:137", "polygon", 137, "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USD Coin"),
    Network("eip155:43114", "avalanche", 43114, "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USD Coin"),
)
NETWORKS: Final = {network.caip2: network for network in _NETWORKS}
"""By CAIP-2 name."""

PERMIT2: Final = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
UPTO_PROXY: Final = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002"
"""Who may spend what an `upto` payment permits: x402's own contract, the same address on every network."""
