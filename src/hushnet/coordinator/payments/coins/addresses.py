"""Checks of addresses, per coin and network, on mainnets only; what passes is written in the one form that is stored.

Checksums are verified with bip-utils, which is imported at the first check. An address that is valid on another network
is refused wherever its text can tell. XRP is paid to an address *and* a destination tag: give the tag, or an X-address,
which carries the tag or says that there is none.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hushnet.coordinator.payments.coins.assets import Family, Pair
from hushnet.foundation.errors import RequestError

LENGTH_MAX: Final = 128
"""The longest one, a Cardano address of the Byron era, has 114."""
TAG_MAX: Final = 2**32 - 1
_TEXT: Final = re.compile(r"[0-9A-Za-z:]+", re.ASCII)
_EVM: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_EVM_NOBODY: Final = "0x" + "0" * 40
_SOLANA_SYSTEM: Final = bytes(32)
_CASH_PREFIX: Final = "bitcoincash:"
_CASH_KEY, _CASH_SCRIPT = b"\x00", b"\x08"
_TAPROOT_BYTES: Final = 32
_X_PREFIX: Final = b"\x05\x44"
_X_BYTES: Final = 31
_SHELLEY_BASE: Final = frozenset({0, 1, 2, 3})
_SHELLEY_ENTERPRISE: Final = frozenset({6, 7})
_BYRON_STARTS: Final = ("Ae2", "DdzFF")


class AddressError(RequestError):
    """An address is not one of its coin on its network; the message never shows it."""

    code = "bad_address"
    default_hint = "copy it again from the wallet, and check the network"


class Destination(NamedTuple):
    """Where coins go: the address in its stored form, and a destination tag where the network has them."""

    address: str
    tag: int | None = None


def check_address(pair: Pair, address: str, tag: int | None = None) -> Destination:
    """Return the destination in its stored form; raises `AddressError` (`bad_address`, `missing_tag`, `bad_tag`)."""
    if not 20 <= len(address) <= LENGTH_MAX or _TEXT.fullmatch(address) is None:
        raise AddressError(f"that is not an address of {pair.name}")
    if tag is not None and (type(tag) is not int or not 0 <= tag <= TAG_MAX):
        raise AddressError("a destination tag is a number from 0 to 4294967295", code="bad_tag", hint="")
    try:
        if pair.family is Family.RIPPLE:
            return _ripple(address, tag)
        stored = _CHECKS[pair.family](address)
    except AddressError:
        raise
    except Exception:  # the decoders raise what they like on hostile text; whatever it is, it is no address
        raise AddressError(f"that is not an address of {pair.name}") from None
    if tag is not None:
        raise AddressError(f"{pair.network} has no destination tags", code="bad_tag", hint="leave the tag out")
    return Destination(stored)


def _library() -> Any:
    return importlib.import_module("bip_utils")


def _bitcoin(address: str) -> str:
    library = _library()
    if address[:3].lower() != "bc1":
        return _base58(address, key=b"\x00", script=b"\x05")
    version, program = library.SegwitBech32Decoder.Decode("bc", address)
    if version not in (0, 1) or (version == 1 and len(program) != _TAPROOT_BYTES):
        raise ValueError("a witness version that nobody can spend yet")
    return address.lower()


def _dogecoin(address: str) -> str:
    return _base58(address, key=b"\x1e", script=b"\x16")


def _base58(address: str, *, key: bytes, script: bytes) -> str:
    payload = _library().Base58Decoder.CheckDecode(address)
    if len(payload) != 21 or payload[:1] not in (key, script):
        raise ValueError("another network's version")
    return address


def _bitcoin_cash(address: str) -> str:
    """Return the prefixed form; an address in Bitcoin's old form is refused, for it says nothing of its network."""
    text = address.lower() if address == address.upper() else address
    text = text if text.startswith(_CASH_PREFIX) else _CASH_PREFIX + text
    version, payload = _library().BchBech32Decoder.Decode(_CASH_PREFIX.rstrip(":"), text)
    if version not in (_CASH_KEY, _CASH_SCRIPT) or len(payload) != 20:
        raise ValueError("a version of cashaddr that is not paid to")
    return text


def _evm(address: str) -> str:
    """Return the EIP-55 form. Mixed case must be that form; lower case carries no checksum and is taken as it is."""
    if _EVM.fullmatch(address) is None or address.lower() == _EVM_NOBODY:
        raise ValueError("not an account")
    digest = _library().Kekkak256.QuickDigest(address[2:].lower().encode()).hex()
    summed = "0x" + "".join(
        letter.upper() if int(nibble, 16) >= 8 else letter
        for letter, nibble in zip(address[2:].lower(), digest, strict=False)
    )
    if address not in (summed, address.lower()):
        raise ValueError("the checksum is wrong")
    return summed


def _solana(address: str) -> str:
    """Take wallets only: a point on the curve. Accounts of programs are off it, and coins sent there may be lost."""
    if _library().SolAddrDecoder.DecodeAddr(address) == _SOLANA_SYSTEM:
        raise ValueError("the system program")
    return address


def _cardano(address: str) -> str:
    library = _library()
    if address.startswith(_BYRON_STARTS):
        library.AdaByronAddrDecoder.DecodeAddr(address)
        return address
    payload = library.Bech32Decoder.Decode("addr", address)
    kind, network = payload[0] >> 4, payload[0] & 0x0F
    wanted = 57 if kind in _SHELLEY_BASE else 29 if kind in _SHELLEY_ENTERPRISE else 0
    if network != 1 or len(payload) != wanted:
        raise ValueError("not a payment address of the main network")
    return address.lower()


def _ripple(address: str, tag: int | None) -> Destination:
    library = _library()
    alphabet = library.Base58Alphabets.RIPPLE
    if address.startswith("r"):
        library.XrpAddrDecoder.DecodeAddr(address)
        if tag is None:
            raise AddressError(
                "XRP needs a destination tag",
                code="missing_tag",
                hint="give the tag; a wallet of your own without one has an X-address that says so",
            )
        return Destination(address, tag)
    payload = library.Base58Decoder.CheckDecode(address, alphabet)
    inner = _x_address_tag(payload)
    if tag is not None and tag != inner:
        raise AddressError("the X-address carries another destination tag", code="bad_tag", hint="leave the tag out")
    return Destination(library.Base58Encoder.CheckEncode(b"\x00" + payload[2:22], alphabet), inner)


def _x_address_tag(payload: bytes) -> int | None:
    """Read the tag of an X-address of the main network (XLS-5): flag 1 carries one, flag 0 says there is none."""
    if len(payload) != _X_BYTES or payload[:2] != _X_PREFIX or payload[22] not in (0, 1):
        raise ValueError("not an X-address of the main network")
    value = int.from_bytes(payload[23:31], "little")
    if value > TAG_MAX or (payload[22] == 0 and value != 0):
        raise ValueError("a tag beyond 32 bits")
    return value if payload[22] == 1 else None


_CHECKS: Final[dict[Family, Callable[[str], str]]] = {
    Family.BITCOIN: _bitcoin,
    Family.BITCOIN_CASH: _bitcoin_cash,
    Family.DOGECOIN: _dogecoin,
    Family.EVM: _evm,
    Family.SOLANA: _solana,
    Family.CARDANO: _cardano,
}
