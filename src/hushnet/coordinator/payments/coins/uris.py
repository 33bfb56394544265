"""Payment URIs that wallets open: BIP 21 and its relatives, EIP-681 for native coins.

Tokens have none here: an EIP-681 transfer names the token's contract, and none is shipped.
"""

from __future__ import annotations

from hushnet.coordinator.payments.coins.addresses import Destination
from hushnet.coordinator.payments.coins.assets import CHAIN_IDS, Family, Pair
from hushnet.coordinator.payments.coins.units import format_units

_NATIVE = frozenset({"BTC", "BCH", "ETH", "SOL", "POL", "BNB", "XRP", "ADA", "DOGE"})


def payment_uri(pair: Pair, to: Destination, units: int) -> str:
    """Return the URI that asks for exactly `units`, or an empty text where the pair has no such form."""
    if pair.asset not in _NATIVE:
        return ""
    amount = format_units(units, pair.scale)
    match pair.family:
        case Family.EVM:
            return f"ethereum:{to.address}@{CHAIN_IDS[pair.network]}?value={units * 10 ** (pair.decimals - pair.scale)}"
        case Family.BITCOIN_CASH:
            return f"{to.address}?amount={amount}"
        case Family.CARDANO:
            return f"web+cardano:{to.address}?amount={amount}"
        case Family.RIPPLE:
            tag = "" if to.tag is None else f"&dt={to.tag}"
            return f"ripple:{to.address}?amount={amount}{tag}"
        case _:
            return f"{pair.network}:{to.address}?amount={amount}"
