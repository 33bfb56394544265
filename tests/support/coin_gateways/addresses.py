"""Valid addresses of every pair, as many as a test wants."""

from __future__ import annotations

import bip_utils

from hushnet.coordinator.payments.coins.addresses import Destination, check_address
from hushnet.coordinator.payments.coins.assets import Family, Pair

_SOL = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z"
_XRP = "r9cZA1mLK5R5Am25ArfXFmqgNwjZgnfk59"


def address_of(pair: Pair, number: int) -> Destination:
    """Return the destination `number` of a pair; Solana has one only, and XRP differs by its tag."""
    body = number.to_bytes(20, "big")
    match pair.family:
        case Family.BITCOIN:
            text = bip_utils.Base58Encoder.CheckEncode(b"\x00" + body)
        case Family.DOGECOIN:
            text = bip_utils.Base58Encoder.CheckEncode(b"\x1e" + body)
        case Family.BITCOIN_CASH:
            text = bip_utils.BchBech32Encoder.Encode("bitcoincash", b"\x00", body)
        case Family.EVM:
            text = "0x" + (body[:-1] + bytes([number % 255 + 1])).hex()
        case Family.CARDANO:
            text = bip_utils.Bech32Encoder.Encode("addr", b"\x61" + body + bytes(8))
        case Family.SOLANA:
            text = _SOL
        case Family.RIPPLE:
            return check_address(pair, _XRP, number)
    return check_address(pair, text)
